"""Joining, leaving, failing: what memberlist finds and what members intend.

A graceful leave is two messages: the intent first, then memberlist's own "dead from
itself"; afterwards the member stays up for a while, so that nobody marks it failed
before the news is everywhere.
"""

import math

from consultwist.errors import BadRequest
from consultwist.gossip.memberlist.actions import (
    Change,
    MemberChanged,
    NameConflict,
    Note,
)
from consultwist.gossip.schedule import Alarm
from consultwist.gossip.serf import messages
from consultwist.gossip.serf.actions import (
    LeaveEnded,
    MemberEvent,
    MemberEventKind,
    Remember,
)
from consultwist.gossip.serf.events import Coalescer
from consultwist.gossip.serf.members import (
    MemberStatus,
    Outcome,
    PoolMember,
)
from consultwist.gossip.serf.messages import JoinIntent, LeaveIntent
from consultwist.gossip.serf.parts import SerfParts
from consultwist.gossip.serf.snapshot import alive_line, not_alive_line

_Held = tuple[MemberEventKind, PoolMember]


class Membership:
    """Keeps Serf's members in step with memberlist and with intents."""

    def __init__(self, parts: SerfParts) -> None:
        self._parts = parts
        self.status = MemberStatus.ALIVE
        self._waiting_for: int | None = None
        self._leave_alarm: Alarm | None = None
        self._reap_alarm: Alarm | None = None
        self._reconnect_alarm: Alarm | None = None
        self._delivered: dict[str, MemberEventKind] = {}
        serf = parts.config.serf
        self._coalescer: Coalescer[_Held] | None = None
        if serf.coalesce_period_s > 0 and serf.quiescent_period_s > 0:
            self._coalescer = Coalescer(
                parts.schedule,
                serf.coalesce_period_s,
                serf.quiescent_period_s,
                lambda held, item: held.update({item[1].name: item}),
                self._deliver_held,
            )

    # --- from memberlist --------------------------------------------------------

    def changed(self, action: MemberChanged, now: float) -> None:
        """Follow a change in memberlist's table."""
        members, node = self._parts.members, action.member
        if action.change is Change.JOINED:
            member = members.joined(node)
            self._parts.outbox.add(Remember(alive_line(member.name, member.address)))
            self._emit(MemberEventKind.JOIN, member, now)
        elif action.change is Change.UPDATED:
            updated = members.updated(node)
            if updated is not None:
                self._emit(MemberEventKind.UPDATE, updated, now)
        else:
            gone = members.gone(node.name, now)
            if gone is not None:
                self._gone(gone, now)

    def _gone(self, member: PoolMember, now: float) -> None:
        has_left = member.status == MemberStatus.LEFT
        kind = MemberEventKind.LEAVE if has_left else MemberEventKind.FAILED
        self._parts.outbox.add(Remember(not_alive_line(member.name)))
        self._emit(kind, member, now)
        self._plan(now)

    def conflict(self, action: NameConflict) -> None:
        """Report that two members claim one name."""
        claim = action.claim
        is_mine = claim.node == self._parts.config.name
        self._parts.count("serf: name conflict")
        fields: dict[str, object] = {
            "name": claim.node,
            "claim": f"{claim.addr.hex()}:{claim.port}",
            "existing": f"{action.existing.address}",
        }
        text = "name conflict for {name}: {existing} is also claimed by {claim}"
        self._parts.outbox.add(Note("error" if is_mine else "warn", text, fields))

    # --- intents ----------------------------------------------------------------

    def receive_leave(self, message: bytes, now: float) -> None:
        """Take a leave intent and pass it on if it was news."""
        intent = messages.decode(LeaveIntent, message[1:])
        if self.apply_leave(intent, now):
            self._parts.spread(self._parts.intent_queue, message, now)

    def receive_join(self, message: bytes, now: float) -> None:
        """Take a join intent and pass it on if it was news."""
        intent = messages.decode(JoinIntent, message[1:])
        if self.apply_join(intent, now):
            self._parts.spread(self._parts.intent_queue, message, now)

    def apply_leave(self, intent: LeaveIntent, now: float) -> bool:
        """Carry out a leave intent; return whether it was news."""
        parts = self._parts
        parts.clock.witness(intent.l_time)
        is_leaving = self.status != MemberStatus.ALIVE
        outcome = parts.members.leave_intent(
            intent.node, intent.l_time, now, are_we_leaving=is_leaving
        )
        if outcome is Outcome.REFUTE:
            self.announce_join(now)
            return False
        if outcome is Outcome.IGNORED:
            return False
        member = parts.members.get(intent.node)
        if member is None:
            self._plan(now)
            return True
        if outcome is Outcome.NOW_LEFT:
            self._gone(member, now)
        if intent.prune:
            self._prune(member, now)
        return True

    def _prune(self, member: PoolMember, now: float) -> None:
        """Erase a member: at once if it is gone, else when it should have left."""
        name = member.name
        if member.status == MemberStatus.LEFT:
            self._erase(name, now)
            return
        serf = self._parts.config.serf
        wait_s = serf.broadcast_timeout_s + serf.leave_propagate_s
        self._parts.schedule.at(now + wait_s, lambda at: self._prune_later(name, at))

    def _prune_later(self, name: str, now: float) -> None:
        member = self._parts.members.get(name)
        if member is not None and member.status == MemberStatus.LEFT:
            self._erase(name, now)

    def apply_join(self, intent: JoinIntent, now: float) -> bool:
        """Carry out a join intent; return whether it was news."""
        parts = self._parts
        parts.clock.witness(intent.l_time)
        outcome = parts.members.join_intent(intent.node, intent.l_time, now)
        if parts.members.has_intents:
            self._plan(now)
        return outcome is Outcome.NEWS

    def announce_join(self, now: float) -> None:
        """Tell the pool that we want to be here."""
        clock = self._parts.clock
        intent = JoinIntent(l_time=clock.time, node=self._parts.config.name)
        clock.witness(clock.time)
        self.apply_join(intent, now)
        message = messages.encode(messages.JOIN, intent)
        self._parts.spread(self._parts.intent_queue, message, now)

    # --- leaving ----------------------------------------------------------------

    def leave(self, now: float) -> None:
        """Begin a graceful leave; `LeaveEnded` tells when we may stop.

        Raises:
            BadRequest: where we are leaving already.
        """
        if self.status != MemberStatus.ALIVE:
            raise BadRequest("Leave already in progress")
        self.status = MemberStatus.LEAVING
        self._parts.outbox.add(Remember("leave\n"))
        number = self._announce_leave(self._parts.config.name, prune=False, now=now)
        if not self._has_company():
            self._leave_memberlist(now)
            return
        self._waiting_for = number
        due = now + self._parts.config.serf.broadcast_timeout_s
        self._leave_alarm = self._parts.schedule.at(due, self._leave_memberlist)

    def _announce_leave(self, name: str, *, prune: bool, now: float) -> int | None:
        """Spread a leave intent; returns its number in the queue."""
        clock = self._parts.clock
        intent = LeaveIntent(l_time=clock.time, node=name, prune=prune)
        clock.increment()
        self.apply_leave(intent, now)
        if not self._has_company():
            return None
        message = messages.encode(messages.LEAVE, intent)
        return self._parts.spread(self._parts.intent_queue, message, now)

    def _has_company(self) -> bool:
        name = self._parts.config.name
        return any(m.is_alive for m in self._parts.members if m.name != name)

    def check_leave(self, now: float) -> None:
        """Go on with a leave whose intent has been spread."""
        number = self._waiting_for
        if number is not None and number not in self._parts.intent_queue:
            self._leave_memberlist(now)

    def _leave_memberlist(self, now: float) -> None:
        self._waiting_for = None
        if self._leave_alarm is not None:
            self._leave_alarm.cancel()
        timeout_s = self._parts.config.serf.broadcast_timeout_s
        self._parts.memberlist.leave(now, timeout_s)

    def leave_spread(self, now: float) -> None:
        """Stay up for a while after memberlist's leave is out."""
        delay_s = self._parts.config.serf.leave_propagate_s
        due = now + (delay_s if self._has_company() else 0.0)
        self._parts.schedule.at(due, self._end_leave)

    def _end_leave(self, _now: float) -> None:
        self.status = MemberStatus.LEFT
        self._parts.memberlist.stop()
        self._parts.outbox.add(LeaveEnded())

    def force_leave(self, name: str, *, prune: bool, now: float) -> None:
        """Have a failed member taken as left; an alive one will refute it."""
        self._announce_leave(name, prune=prune, now=now)

    # --- forgetting and reconnecting --------------------------------------------

    def _plan(self, now: float) -> None:
        """Arm the timers that only run while there is someone to reap or regain."""
        parts, serf = self._parts, self._parts.config.serf
        members = parts.members
        if self._reap_alarm is None and (
            members.failed or members.left or members.has_intents
        ):
            due = now + serf.reap_interval_s
            self._reap_alarm = parts.schedule.at(due, self._reap)
        if self._reconnect_alarm is None and members.failed:
            due = now + serf.reconnect_interval_s
            self._reconnect_alarm = parts.schedule.at(due, self._reconnect)

    def _reap(self, now: float) -> None:
        self._reap_alarm = None
        serf, members = self._parts.config.serf, self._parts.members
        members.expire_intents(now)
        for member in members.expired(
            now, serf.reconnect_timeout_s, serf.tombstone_timeout_s
        ):
            self._erase(member.name, now)
        self._plan(now)

    def _erase(self, name: str, now: float) -> None:
        member = self._parts.members.erase(name)
        if member is None:
            return
        self._parts.coordinates.forget(name)
        self._delivered.pop(name, None)
        self._emit(MemberEventKind.REAP, member, now)

    def _reconnect(self, now: float) -> None:
        self._reconnect_alarm = None
        members = self._parts.members
        failed = list(members.failed)
        if failed and self.status == MemberStatus.ALIVE:
            chance = len(failed) / max(1, members.count_alive())
            if self._parts.rng.random() <= chance:
                name = failed[math.floor(self._parts.rng.random() * len(failed))]
                member = members.get(name)
                assert member is not None
                self._parts.memberlist.exchange(member.address, join=True)
        self._plan(now)

    # --- events -----------------------------------------------------------------

    def _emit(self, kind: MemberEventKind, member: PoolMember, now: float) -> None:
        if self._coalescer is None:
            self._parts.outbox.add(MemberEvent(kind, (member,)))
        else:
            self._coalescer.add((kind, member), now)

    def _deliver_held(self, held: dict[str, _Held], _now: float) -> None:
        by_kind: dict[MemberEventKind, list[PoolMember]] = {}
        for kind, member in held.values():
            is_repeated = self._delivered.get(member.name) is kind
            if is_repeated and kind is not MemberEventKind.UPDATE:
                continue
            self._delivered[member.name] = kind
            by_kind.setdefault(kind, []).append(member)
        for kind, members in by_kind.items():
            self._parts.outbox.add(MemberEvent(kind, tuple(members)))
