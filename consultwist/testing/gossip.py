"""Pools of production gossip cores over the simulated network, by the thousand."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from consultwist.errors import WireError
from consultwist.gossip.address import Address, ip_bytes
from consultwist.gossip.config import CONSUL_LAN, CONSUL_SERF, PoolConfig
from consultwist.gossip.memberlist import actions as ml
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.members import Member, State
from consultwist.gossip.memberlist.stream import (
    Compressed,
    StreamMessage,
    StreamReader,
    StreamRefused,
    inflate,
)
from consultwist.gossip.memberlist.timings import Timings
from consultwist.gossip.serf import actions as sa
from consultwist.gossip.serf.core import Serf
from consultwist.gossip.serf.members import MemberStatus, PoolMember, decode_tags
from consultwist.testing.clock import SimClock
from consultwist.testing.network import Network

#: What a slow member's sockets hold before they overflow, in packets.
_BACKLOG_MAX = 2048

_PORT = 8301


@attrs.define(eq=False)
class _Stream:
    """One simulated connection: who asked, under which number, until when."""

    caller: "SimMember"
    number: int
    ends_at: float


class SimMember:
    """One Serf core, driven by the simulated world."""

    def __init__(self, pool: "SimPool", config: PoolConfig, host: str) -> None:
        self.pool = pool
        self.config = config
        self.name = config.name
        self.address: Address = (host, config.bind_port)
        self.events: list[tuple[float, Any]] = []
        self.packets = 0
        self.bytes = 0
        self.turns = 0
        self.is_up = False
        #: How late this member takes what has arrived, at most; timers run on time.
        self.lag_max_s = 0.0
        self._stalled_until = 0.0
        self._backlog: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._armed_for: float | None = None
        self._joining: set[int] = set()
        self.core = self._new_core()
        self._performers: dict[type, Callable[[Any], None]] = {
            ml.SendPacket: self._send,
            ml.OpenStream: self._open,
            ml.AnswerStream: self._answer,
            ml.CloseStream: lambda _action: None,
        }

    def _new_core(self) -> Serf:
        keyring = Keyring(self.config.keys, self.pool.rng.randbytes)
        return Serf(self.config, self.address, keyring, self.pool.member_rng())

    # --- life -------------------------------------------------------------------

    def start(self) -> None:
        """Become a member of a pool of one."""
        self.is_up = True
        self.pool.network.attach(self.address, self._packet)
        self.core.start(self.now)
        self.flush()

    def crash(self) -> None:
        """Vanish without a word."""
        self.is_up = False
        self._armed_for = None
        self.pool.network.detach(self.address)

    def restart(self) -> None:
        """Come back as a new process that remembers nothing."""
        self.core = self._new_core()
        self._backlog.clear()
        self._joining.clear()
        self.start()

    def stall(self, seconds: float) -> None:
        """Do nothing for a while, like a starved process; then do it all.

        Timers come first and what has arrived meanwhile after them: the worst order,
        since answers that were in time now come too late.
        """
        self._stalled_until = self.now + seconds
        self.pool.clock.at(self._stalled_until, self._resume)

    def _resume(self) -> None:
        if self.now < self._stalled_until or not self.is_up:
            return
        backlog, self._backlog = self._backlog, []
        self._turn()
        for function, arguments in backlog:
            function(*arguments)

    @property
    def now(self) -> float:
        """The virtual time."""
        return self.pool.clock.seconds()

    def _is_late(self, function: Callable[..., None], *arguments: Any) -> bool:
        """Put off what has arrived if we stand still or lag behind."""
        if self.now < self._stalled_until:
            if len(self._backlog) < _BACKLOG_MAX:
                self._backlog.append((function, arguments))
            return True
        if self.lag_max_s:
            due = self.now + self.lag_max_s * self.pool.rng.random()
            self.pool.clock.at(due, self._catch_up, function, arguments)
            return True
        return False

    def _catch_up(
        self, function: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        lag_s, self.lag_max_s = self.lag_max_s, 0.0
        if self.is_up:
            function(*arguments)
        self.lag_max_s = lag_s

    # --- what a driver does -----------------------------------------------------

    def _packet(self, data: bytes, source: Address) -> None:
        if not self._is_late(self._packet, data, source):
            self.core.receive_packet(data, source, self.now)
            self.flush()

    def _timer(self, due: float) -> None:
        if self.is_up and self._armed_for == due and self.now >= self._stalled_until:
            self._turn()

    def _turn(self) -> None:
        self._armed_for = None
        self.turns += 1
        self.core.handle_timer(self.now)
        self.flush()

    def flush(self) -> None:
        """Perform the core's actions and arm its timer."""
        performers = self._performers
        while actions := self.core.take_actions():
            for action in actions:
                performer = performers.get(type(action))
                if performer is not None:
                    performer(action)
                else:
                    self.pool.heard(self, action)
        due = self.core.next_timer()
        if due is not None and due != self._armed_for:
            self._armed_for = due
            self.pool.clock.at(max(due, self.now), self._timer, due)

    def _send(self, action: ml.SendPacket) -> None:
        self.packets += 1
        self.bytes += len(action.data)
        self.pool.network.send(action.data, self.address, action.address)

    def _open(self, action: ml.OpenStream) -> None:
        stream = _Stream(self, action.stream, self.now + action.timeout_s)
        self.bytes += len(action.data)
        network, target = self.pool.network, self.pool.at(action.address)
        if target is None or not network.connects(self.address[0], action.address[0]):
            self.pool.clock.at(stream.ends_at, self._failed, stream.number)
        elif not target.is_up:
            network.later(self._failed, stream.number)
        else:
            network.later(target._accept, stream, action.data)

    def _failed(self, number: int) -> None:
        if self.is_up and not self._is_late(self._failed, number):
            self.core.stream_failed(number, "i/o timeout", self.now)
            self.flush()

    def _accept(self, stream: _Stream, data: bytes) -> None:
        if not self.is_up or self._is_late(self._accept, stream, data):
            return
        try:
            request = self._read(data, is_dialing=False)
        except StreamRefused as refusal:
            self.core.refuse_request(stream, str(refusal), self.now)
        except WireError:
            return
        else:
            source = (stream.caller.address[0], 0)
            self.core.receive_request(stream, request, source, self.now)
        self.flush()

    def _answer(self, action: ml.AnswerStream) -> None:
        stream = action.stream
        assert isinstance(stream, _Stream)
        self.bytes += len(action.data)
        self.pool.network.later(stream.caller._answered, stream, action.data)

    def _answered(self, stream: _Stream, data: bytes) -> None:
        if not self.is_up or self._is_late(self._answered, stream, data):
            return
        if self.now > stream.ends_at:
            self._failed(stream.number)
            return
        try:
            answer = self._read(data, is_dialing=True)
        except WireError as error:
            self.core.stream_failed(stream.number, str(error), self.now)
        else:
            self.core.stream_answered(stream.number, answer, self.now)
        self.flush()

    def _read(self, data: bytes, *, is_dialing: bool) -> StreamMessage:
        codec = self.core.memberlist.codec
        message = StreamReader(codec, is_dialing=is_dialing).feed(data)
        assert message is not None
        return inflate(message) if isinstance(message, Compressed) else message

    # --- shorthand for tests ----------------------------------------------------

    def join(self, other: "SimMember") -> None:
        """Join at another member; the intent follows when the exchange is over."""
        stream = self.core.exchange(other.address, self.now, ignore_old=True)
        self._joining.add(stream)
        self.flush()

    def exchange_ended(self, action: ml.ExchangeEnded) -> None:
        """Announce ourselves after a join, as GossipNode does."""
        if action.stream in self._joining:
            self._joining.discard(action.stream)
            if action.error is None:
                self.core.announce_join(self.now)

    def statuses(self) -> dict[str, int]:
        """Return every member's status as this one sees it."""
        return {member.name: member.status for member in self.core.members}

    def status_of(self, name: str) -> int:
        """Return a member's status; 0 where it is unknown."""
        member = self.core.members.get(name)
        return member.status if member else 0


class SimPool:
    """Many members, one clock, one network.

    Args:
        seed: decides everything.
        timings: of all members, unless a member is given its own.
    """

    def __init__(self, seed: int, timings: Timings = CONSUL_LAN) -> None:
        self.seed = seed
        self.rng = random.Random(seed)  # noqa: S311 - a simulation
        self.clock = SimClock()
        self.network = Network(self.clock, random.Random(seed + 1))  # noqa: S311
        self.members: list[SimMember] = []
        self.listeners: list[Callable[[SimMember, Any], None]] = []
        self.counts: Counter[str] = Counter()
        self._timings = timings
        self._by_address: dict[Address, SimMember] = {}

    def member_rng(self) -> random.Random:
        """Return a source of randomness for one member."""
        return random.Random(self.rng.getrandbits(64))  # noqa: S311

    def at(self, address: Address) -> SimMember | None:
        """Return the member with an address."""
        return self._by_address.get(address)

    def add(self, **changes: Any) -> SimMember:
        """Add a member; it is not started."""
        number = len(self.members)
        config = attrs.evolve(
            PoolConfig(
                name=f"m{number}",
                bind_port=_PORT,
                timings=self._timings,
                serf=CONSUL_SERF,
            ),
            **changes,
        )
        host = f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}"
        member = SimMember(self, config, host)
        self.members.append(member)
        self._by_address[member.address] = member
        return member

    def heard(self, member: SimMember, action: Any) -> None:
        """Take what a core tells the application."""
        self.counts[type(action).__name__] += 1
        if isinstance(action, ml.ExchangeEnded):
            member.exchange_ended(action)
        for listener in self.listeners:
            listener(member, action)

    # --- whole pools ------------------------------------------------------------

    def grow(self, count: int, **changes: Any) -> None:
        """Start members one after the other, each joining at the first."""
        for _ in range(count):
            member = self.add(**changes)
            member.start()
            if len(self.members) > 1:
                member.join(self.members[0])

    def populate(self, count: int, **changes: Any) -> None:
        """Start a pool in which everybody knows everybody already."""
        fresh = [self.add(**changes) for _ in range(count)]
        nodes: dict[str, Member] = {}
        known: dict[str, PoolMember] = {}
        for member in fresh:
            me = member.core.memberlist._me
            node = Member(
                name=me.name,
                ip=ip_bytes(member.address[0]),
                port=me.port,
                meta=me.meta,
                vsn=me.vsn,
                incarnation=1,
                state=int(State.ALIVE),
            )
            nodes[me.name] = node
            known[me.name] = PoolMember(
                name=me.name,
                ip=node.ip,
                port=node.port,
                tags=decode_tags(node.meta),
                status=int(MemberStatus.ALIVE),
                vsn=node.vsn,
                status_time=1,
            )
        names = list(nodes)
        for member in fresh:
            self._acquaint(member, nodes, known, names)

    def _acquaint(
        self,
        member: SimMember,
        nodes: dict[str, Member],
        known: dict[str, PoolMember],
        names: list[str],
    ) -> None:
        member.is_up = True
        self.network.attach(member.address, member._packet)
        core = member.core
        table = core.memberlist.table
        table._members = dict(nodes)
        table._order = names.copy()
        self.rng.shuffle(table._order)
        core.members._members = dict(known)
        core._parts.clock.witness(1)
        core.memberlist._watch(self.clock.seconds())
        member.flush()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def up(self) -> list[SimMember]:
        """Return the members that run."""
        return [member for member in self.members if member.is_up]

    def agree(self, name: str, status: MemberStatus) -> bool:
        """Return whether every running member sees another one in a status."""
        return all(
            member.status_of(name) == status
            for member in self.up()
            if member.name != name
        )

    def has_converged(self) -> bool:
        """Return whether every running member sees every running member alive."""
        names = [member.name for member in self.up()]
        return all(
            member.status_of(name) == MemberStatus.ALIVE
            for member in self.up()
            for name in names
        )


class Awaited:
    """Measures how long it takes until a share of the members know something.

    Args:
        pool: the pool.
        matches: whether what a member was told is what we wait for.
        witnesses: who has to know.
    """

    def __init__(
        self,
        pool: SimPool,
        matches: Callable[[Any], bool],
        witnesses: Iterable[SimMember],
    ) -> None:
        self._pool = pool
        self._matches = matches
        self._missing = {member.name for member in witnesses}
        self._count = len(self._missing)
        self._began_at = pool.clock.seconds()
        self.times_s: list[float] = []
        pool.listeners.append(self._heard)

    def _heard(self, member: SimMember, action: Any) -> None:
        if member.name in self._missing and self._matches(action):
            self._missing.discard(member.name)
            self.times_s.append(member.now - self._began_at)

    def run(self, limit_s: float) -> bool:
        """Let time pass until all know; return False where the limit was reached."""
        done = self._pool.clock.run_while(lambda: bool(self._missing), limit_s)
        self._pool.listeners.remove(self._heard)
        return done

    def share_s(self, share: float) -> float:
        """Return after how long a share of the members knew; infinite for never."""
        needed = -int(-share * self._count // 1)
        if needed > len(self.times_s):
            return float("inf")
        return sorted(self.times_s)[needed - 1]


def member_event(kind: sa.MemberEventKind, name: str) -> Callable[[Any], bool]:
    """Return a test for an event about one member."""
    return lambda action: (
        isinstance(action, sa.MemberEvent)
        and action.kind is kind
        and any(member.name == name for member in action.members)
    )
