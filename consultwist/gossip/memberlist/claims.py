"""What is claimed about members, and what follows from it.

The member table weighs a claim; here its verdict is carried out: what was news is
passed on and told to the layer above, suspicions are timed, and what is claimed against
ourselves is refuted with a higher incarnation.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from consultwist.gossip.address import ip_text
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.actions import (
    Change,
    MemberChanged,
    NameConflict,
    Note,
)
from consultwist.gossip.memberlist.members import Member, State, Verdict
from consultwist.gossip.memberlist.messages import Alive, Dead, Suspect
from consultwist.gossip.memberlist.parts import Parts
from consultwist.gossip.memberlist.push_pull import vsn_is_sane
from consultwist.gossip.memberlist.suspicion import (
    Suspicion,
    suspicion_timeout_s,
    wanted_confirmations,
)
from consultwist.gossip.schedule import Alarm


class Claims:
    """Weighs claims and carries out the verdicts.

    Args:
        parts: what the Memberlist shares.
        wake: called when there is something to spread.
        watch: called when there is a new member.
    """

    def __init__(
        self,
        parts: Parts,
        wake: Callable[[float], None],
        watch: Callable[[float], None],
    ) -> None:
        self._parts = parts
        self._table = parts.table
        self._wake = wake
        self._watch = watch
        self._suspicions: dict[str, tuple[Suspicion, Alarm]] = {}
        self.last_broadcast = 0

    def alive(self, alive: Alive, now: float) -> None:
        """Weigh the claim that a member is alive."""
        if not alive.port:
            alive = msgspec.structs.replace(alive, port=self._table.me.port)
        if not self._table.is_news(alive):
            return
        if not vsn_is_sane(alive.vsn):
            self._parts.counters["gossip: alive without versions"] += 1
            return
        if not messages.acceptable(alive.node, alive.addr, alive.meta):
            self._parts.counters["gossip: alive with odd sizes"] += 1
            return
        if not self._parts.upper.allows(ip_text(alive.addr)):
            self._parts.counters["gossip: address not allowed"] += 1
            return
        if alive.node != self._table.name and self._is_refused(alive):
            return
        known = self._table.get(alive.node)
        verdict = self._table.alive(alive, now)
        if verdict is Verdict.REFUTE:
            self._refute(alive.incarnation, now)
        elif verdict is Verdict.CONFLICT:
            assert known is not None
            self._parts.outbox.add(NameConflict(known, alive))
        elif verdict is Verdict.FULL:
            self._parts.counters["gossip: too many members"] += 1
        elif verdict is not Verdict.IGNORED:
            self._accepted(alive, verdict, now)

    def _is_refused(self, alive: Alive) -> bool:
        problem = self._parts.upper.admit((messages.node_state_of(alive),))
        if problem is None:
            return False
        self._parts.counters["gossip: member refused"] += 1
        self._note("debug", "refused {name}: {problem}", alive.node, problem=problem)
        return True

    def _accepted(self, alive: Alive, verdict: Verdict, now: float) -> None:
        self._end_suspicion(alive.node)
        self._spread(messages.ALIVE, alive, now)
        member = self._table.get(alive.node)
        assert member is not None
        if verdict is Verdict.JOINED:
            self._parts.outbox.add(MemberChanged(Change.JOINED, member))
            self._watch(now)
        elif verdict is Verdict.UPDATED:
            self._parts.outbox.add(MemberChanged(Change.UPDATED, member))

    def accuse(self, member: Member, now: float) -> None:
        """Suspect a member that failed our probe."""
        self._note("info", "suspect {name} has failed, no acks received", member.name)
        me = self._table.name
        claim = Suspect(incarnation=member.incarnation, node=member.name, from_=me)
        self.suspect(claim, now)

    def suspect(self, claim: Suspect, now: float) -> None:
        """Weigh the claim that a member did not answer."""
        verdict = self._table.suspect(claim, now)
        if verdict is Verdict.REFUTE:
            self._refute(claim.incarnation, now)
        elif verdict is Verdict.ACCUSED_AGAIN:
            self._confirm(claim, now)
        elif verdict is Verdict.SUSPECTED:
            members, timings = len(self._table), self._parts.timings
            minimum_s = suspicion_timeout_s(
                timings.suspicion_mult, members, timings.probe_interval_s
            )
            suspicion = Suspicion(
                started_at=now,
                wanted=wanted_confirmations(timings.suspicion_mult, members),
                minimum_s=minimum_s,
                maximum_s=timings.suspicion_max_mult * minimum_s,
                accusers=[claim.from_],
            )
            self._time(claim.node, suspicion)
            self._spread(messages.SUSPECT, claim, now)

    def _confirm(self, claim: Suspect, now: float) -> None:
        running = self._suspicions.get(claim.node)
        if running is None or not running[0].confirm(claim.from_):
            return
        running[1].cancel()
        self._time(claim.node, running[0])
        self._spread(messages.SUSPECT, claim, now)

    def _time(self, name: str, suspicion: Suspicion) -> None:
        expire = partial(self._expire, name)
        alarm = self._parts.schedule.at(suspicion.deadline(), expire)
        self._suspicions[name] = (suspicion, alarm)

    def _expire(self, name: str, now: float) -> None:
        self._suspicions.pop(name)
        member = self._table.get(name)
        if member is None or member.state != State.SUSPECT:
            return
        self._note("info", "marking {name} as failed, suspect timeout reached", name)
        claim = Dead(incarnation=member.incarnation, node=name, from_=self._table.name)
        self.dead(claim, now)

    def _end_suspicion(self, name: str) -> None:
        running = self._suspicions.pop(name, None)
        if running is not None:
            running[1].cancel()

    def dead(self, claim: Dead, now: float) -> None:
        """Weigh the claim that a member is dead or has left."""
        verdict = self._table.dead(claim, now)
        if verdict is Verdict.REFUTE:
            self._refute(claim.incarnation, now)
        elif verdict in (Verdict.DIED, Verdict.LEFT):
            self._end_suspicion(claim.node)
            self._spread(messages.DEAD, claim, now)
            member = self._table.get(claim.node)
            assert member is not None
            change = Change.DIED if verdict is Verdict.DIED else Change.LEFT
            self._parts.outbox.add(MemberChanged(change, member))

    def _refute(self, accused: int, now: float) -> None:
        number = self._table.raise_incarnation(accused)
        if not number:
            self._parts.counters["gossip: accusation beyond the last incarnation"] += 1
            return
        self._parts.awareness.change(1)
        self.announce(now, incarnation=number)

    def broadcast_me(self, now: float) -> None:
        """Tell the pool what we are now."""
        me = self._table.me
        alive = Alive(
            incarnation=me.incarnation,
            node=me.name,
            addr=me.ip,
            port=me.port,
            meta=me.meta,
            vsn=me.vsn,
        )
        self._spread(messages.ALIVE, alive, now)

    def _spread(self, kind: int, claim: Alive | Suspect | Dead, now: float) -> None:
        message = messages.encode(kind, claim)
        self.last_broadcast = self._parts.queue.queue(message, claim.node)
        self._wake(now)

    def _note(self, level: str, text: str, name: str, **fields: object) -> None:
        self._parts.outbox.add(Note(level, text, {"name": name, **fields}))

    def announce(self, now: float, **changes: object) -> None:
        """Change what is known about ourselves and tell the pool."""
        table = self._table
        table.announce(msgspec.structs.replace(table.me, **changes))
        self.broadcast_me(now)
