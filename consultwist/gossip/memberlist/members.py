"""The member table: what is believed about whom (SWIM, section 4.2).

Every claim carries the incarnation that its subject had. A higher incarnation wins;
at equal incarnations dead beats suspect beats alive. Only a member itself raises its
incarnation, to refute a claim or to announce a change. A claim that changed nothing is
not passed on.

Members that have left stay in the table, unlike dead ones, until every other member
must have noticed on its own: what is still told about them from the other side of a
partition must not bring them back.
"""

import enum
import random
from collections.abc import Callable, Iterator

from consultwist.gossip.address import Address, canonical, ip_text
from consultwist.gossip.memberlist.messages import U32_MAX, Alive, Dead, Suspect
from consultwist.wire.struct import Struct

#: Three times the largest pools that have been published.
MEMBERS_MAX = 100_000


class State(enum.IntEnum):
    """What is believed about a member; the numbers are those of push/pull."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


_ALIVE, _SUSPECT, _DEAD, _LEFT = (int(state) for state in State)


class Member(Struct):
    """What is known about one member; replaced, never changed."""

    name: str = ""
    ip: bytes = b""
    port: int = 0
    meta: bytes = b""
    vsn: bytes = b""
    incarnation: int = 0
    state: int = _DEAD
    changed_at: float = 0.0

    @property
    def address(self) -> Address:
        """Where packets to this member go."""
        return ip_text(self.ip), self.port

    @property
    def protocol_max(self) -> int:
        """The newest memberlist protocol that this member speaks."""
        return self.vsn[1] if len(self.vsn) > 1 else 0

    @property
    def is_gone(self) -> bool:
        """Whether the member is dead or has left."""
        return self.state >= _DEAD


class Verdict(enum.Enum):
    """What a claim turned out to be."""

    IGNORED = enum.auto()
    CONFLICT = enum.auto()
    FULL = enum.auto()
    REFUTE = enum.auto()
    REFRESHED = enum.auto()
    UPDATED = enum.auto()
    JOINED = enum.auto()
    SUSPECTED = enum.auto()
    ACCUSED_AGAIN = enum.auto()
    DIED = enum.auto()
    LEFT = enum.auto()


class MemberTable:
    """Every member by name, and the order in which they are probed.

    Args:
        name: our own name.
        rng: the source of randomness.
        dead_reclaim_s: after this long another address may take a dead member's
            name; 0 means never.
        gossip_to_the_dead_s: how long gossip is still sent to the dead.
    """

    def __init__(
        self,
        name: str,
        rng: random.Random,
        dead_reclaim_s: float,
        gossip_to_the_dead_s: float,
    ) -> None:
        self.name = name
        self.is_leaving = False
        self._rng = rng
        self._dead_reclaim_s = dead_reclaim_s
        self._gossip_to_the_dead_s = gossip_to_the_dead_s
        self._members: dict[str, Member] = {}
        self._order: list[str] = []
        self._next = 0
        self._left_count = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __len__(self) -> int:
        """Count the members that the formulas know: all but those that left."""
        return len(self._members) - self._left_count

    def get(self, name: str) -> Member | None:
        """Return a member, or None."""
        return self._members.get(name)

    @property
    def others(self) -> int:
        """How many other members have not left; the dead of late count."""
        return len(self) - (self.me.state != _LEFT)

    @property
    def has_history(self) -> bool:
        """Whether there is anyone in the table but ourselves."""
        return len(self._members) > 1

    @property
    def me(self) -> Member:
        """Ourselves."""
        return self._members[self.name]

    # --- claims -----------------------------------------------------------------

    def is_news(self, alive: Alive) -> bool:
        """Return whether an alive message can change anything; cheap."""
        known = self._members.get(alive.node)
        if known is None:
            return alive.incarnation > 0
        if alive.node == self.name:
            return alive.incarnation >= known.incarnation and not self.is_leaving
        return (
            alive.incarnation > known.incarnation
            or alive.port != known.port
            or canonical(alive.addr) != known.ip
        )

    def alive(self, alive: Alive, now: float) -> Verdict:
        """Weigh the claim that a member is alive; call `is_news` before."""
        known = self._members.get(alive.node)
        if known is None:
            if len(self._members) >= MEMBERS_MAX:
                return Verdict.FULL
            self._enlist(alive.node)
        elif (canonical(alive.addr), alive.port) != (known.ip, known.port):
            if not self._may_move(known, now):
                return Verdict.CONFLICT
        elif alive.node == self.name:
            mine = (known.incarnation, known.meta, known.vsn)
            same = mine == (alive.incarnation, alive.meta or b"", alive.vsn)
            return Verdict.IGNORED if same else Verdict.REFUTE
        return self._accept(alive, known, now)

    def _may_move(self, known: Member, now: float) -> bool:
        if known.state == _LEFT:
            return True
        age_s = now - known.changed_at
        return known.state == _DEAD and 0 < self._dead_reclaim_s < age_s

    def _accept(self, alive: Alive, known: Member | None, now: float) -> Verdict:
        was_gone = known is None or known.is_gone
        has_same_state = known is not None and known.state == _ALIVE
        self._store(
            Member(
                name=alive.node,
                ip=canonical(alive.addr),
                port=alive.port,
                meta=alive.meta or b"",
                vsn=alive.vsn or b"",
                incarnation=alive.incarnation,
                state=_ALIVE,
                changed_at=known.changed_at if known and has_same_state else now,
            )
        )
        if was_gone:
            return Verdict.JOINED
        if known is not None and known.meta != (alive.meta or b""):
            return Verdict.UPDATED
        return Verdict.REFRESHED

    def suspect(self, claim: Suspect, now: float) -> Verdict:
        """Weigh the claim that a member did not answer."""
        known = self._members.get(claim.node)
        if known is None or claim.incarnation < known.incarnation:
            return Verdict.IGNORED
        if known.state == _SUSPECT:
            return Verdict.ACCUSED_AGAIN
        if known.state != _ALIVE:
            return Verdict.IGNORED
        if claim.node == self.name:
            return Verdict.IGNORED if self.is_leaving else Verdict.REFUTE
        self._change(known, _SUSPECT, claim.incarnation, now)
        return Verdict.SUSPECTED

    def dead(self, claim: Dead, now: float) -> Verdict:
        """Weigh the claim that a member is dead, or has left if it says so itself."""
        known = self._members.get(claim.node)
        if known is None or claim.incarnation < known.incarnation or known.is_gone:
            return Verdict.IGNORED
        if claim.node == self.name and not self.is_leaving:
            return Verdict.REFUTE
        if claim.node == claim.from_:
            self._change(known, _LEFT, claim.incarnation, now)
            return Verdict.LEFT
        self._change(known, _DEAD, claim.incarnation, now)
        return Verdict.DIED

    def raise_incarnation(self, at_least: int) -> int:
        """Return the incarnation for our next announcement; 0 if there is none left.

        Nobody but an attacker comes near the end of the numbers.
        """
        number = max(self.me.incarnation, at_least) + 1
        return number if number <= U32_MAX else 0

    # --- the table --------------------------------------------------------------

    def announce(self, member: Member) -> None:
        """Store ourselves, as we are about to tell the others."""
        assert member.name == self.name
        if member.name not in self._members:
            self._enlist(member.name)
        self._store(member)

    def _store(self, member: Member) -> None:
        old = self._members.get(member.name)
        if old is not None and old.state == _LEFT:
            self._left_count -= 1
        if member.state == _LEFT:
            self._left_count += 1
        self._members[member.name] = member

    def _change(self, known: Member, state: int, incarnation: int, now: float) -> None:
        self._store(
            Member(
                name=known.name,
                ip=known.ip,
                port=known.port,
                meta=known.meta,
                vsn=known.vsn,
                incarnation=incarnation,
                state=state,
                changed_at=now,
            )
        )

    def _enlist(self, name: str) -> None:
        """Insert at a random place of the probe order, so that seeds differ."""
        order = self._order
        at = int(self._rng.random() * (len(order) + 1))
        order.append(name)
        order[at], order[-1] = order[-1], order[at]

    # --- choosing ---------------------------------------------------------------

    def next_to_probe(self, now: float, keep_left_s: float) -> Member | None:
        """Return the next member in order that is neither gone nor ourselves.

        At the end of the order the dead of long ago are forgotten and the rest is
        shuffled (SWIM, section 4.3: round-robin probe target selection).
        """
        # The rest of this round, the turn, and at most one whole round more.
        for _ in range(2 * len(self._order) + 1):
            if self._next >= len(self._order):
                self._purge(now, keep_left_s)
                self._rng.shuffle(self._order)
                self._next = 0
                continue
            member = self._members[self._order[self._next]]
            self._next += 1
            if not member.is_gone and member.name != self.name:
                return member
        return None

    def _purge(self, now: float, keep_left_s: float) -> None:
        keep_s = {_DEAD: self._gossip_to_the_dead_s, _LEFT: keep_left_s}
        old = [
            member
            for member in self._members.values()
            if member.is_gone and now - member.changed_at > keep_s[member.state]
        ]
        if not old:
            return
        for member in old:
            if member.name != self.name:
                del self._members[member.name]
                self._left_count -= member.state == _LEFT
        self._order = [name for name in self._order if name in self._members]

    def pick(self, count: int, accept: Callable[[Member], bool]) -> list[Member]:
        """Return up to `count` random members that are accepted; never ourselves."""
        order = self._order
        if len(order) <= 3 * count:
            chosen = order.copy()
            self._rng.shuffle(chosen)
        else:
            # As memberlist: draw, at most three times as often as there are members.
            chosen = []
        found: list[Member] = []
        for draw in range(len(chosen) or 3 * len(order)):
            name = chosen[draw] if chosen else self._draw()
            member = self._members[name]
            if name != self.name and member not in found and accept(member):
                found.append(member)
                if len(found) == count:
                    break
        return found

    def _draw(self) -> str:
        return self._order[int(self._rng.random() * len(self._order))]

    def hears_gossip(self, now: float, member: Member) -> bool:
        """Return whether gossip goes to a member: not once it has left."""
        if member.state == _DEAD:
            return now - member.changed_at < self._gossip_to_the_dead_s
        return member.state < _DEAD


def is_alive(member: Member) -> bool:
    """Return whether a member is alive and not even suspect."""
    return member.state == _ALIVE
