"""A simulated Raft cluster: servers, network, disks and time, from one seed.

Messages really are encoded and decoded; disks lose what was not durable when a server
crashes. After every event the promises of Raft are checked (`Checker`).
"""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import msgpack
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from consultwist.interfaces import IRaftFSM
from consultwist.raft.actions import RoleName
from consultwist.raft.codec import (
    RequestDecoder,
    ResponseDecoder,
    SnapshotBytes,
    encode_request,
    encode_response,
)
from consultwist.raft.configuration import Server
from consultwist.raft.interfaces import IRaftReceiver, IRaftTransport, IReplyTo
from consultwist.raft.messages import (
    Entry,
    InstallSnapshot,
    Message,
    Request,
)
from consultwist.raft.node import Identity, RaftNode
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.memory import MemoryDisk, MemoryStorage
from consultwist.testing.clock import SimClock

#: How long a simulated peer waits for an answer.
_TIMEOUT_S = 2.0


@implementer(IRaftFSM)
class RecordingFSM:
    """A state machine whose state is the list of commands it was given."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, bytes]] = []

    def apply_batch(self, entries: Iterable[Any]) -> list[Any]:
        """Remember the commands; the result of each is its index."""
        results = []
        for entry in entries:
            assert not self.applied or entry.index > self.applied[-1][0]
            self.applied.append((entry.index, entry.data))
            results.append(entry.index)
        return results

    def snapshot(self) -> Iterator[bytes]:
        """Return the list in two chunks."""
        packed: bytes = msgpack.packb(self.applied)
        return iter([packed[: len(packed) // 2], packed[len(packed) // 2 :]])

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Take the list over."""
        plain = msgpack.unpackb(b"".join(chunks), use_list=False)
        self.applied = list(plain)


@attrs.define
class RaftWeather:
    """How messages fare: the share that is lost, and how long the others take."""

    loss: float = 0.0
    delay_min_s: float = 0.001
    delay_max_s: float = 0.005


class RaftNetwork:
    """Brings messages from server to server."""

    def __init__(self, clock: SimClock, rng: random.Random) -> None:
        self.clock = clock
        self.rng = rng
        self.weather = RaftWeather()
        self.transports: dict[str, MemoryTransport] = {}
        self.trace: list[str] | None = None
        self._groups: dict[str, int] = {}

    def partition(self, *groups: list[str]) -> None:
        """Let addresses reach only those of their group; the rest is a group, too."""
        self._groups = {
            address: number
            for number, group in enumerate(groups, 1)
            for address in group
        }

    def heal(self) -> None:
        """End all partitions."""
        self._groups = {}

    def connects(self, one: str, other: str) -> bool:
        """Tell whether messages come through."""
        return self._groups.get(one, 0) == self._groups.get(other, 0)

    def carry(self, one: str, other: str, arrive: Callable[[], None]) -> None:
        """Let a message arrive later, or never."""
        weather = self.weather
        if self.rng.random() < weather.loss or not self.connects(one, other):
            return
        spread_s = weather.delay_max_s - weather.delay_min_s
        delay_s = weather.delay_min_s + spread_s * self.rng.random()
        self.clock.at(self.clock.monotonic() + delay_s, arrive)


@implementer(IReplyTo)
class _Reply:
    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self._answer = answer

    def answer(self, response: Message | None, error: str = "") -> None:
        """Send the answer back."""
        self._answer(encode_response(response, error))


@implementer(IRaftTransport)
class MemoryTransport:
    """One server's access to a `RaftNetwork`."""

    receiver: IRaftReceiver

    def __init__(self, network: RaftNetwork, address: str) -> None:
        self._network = network
        self._address = address
        self._open: dict[int, Request] = {}
        self._is_closed = False
        network.transports[address] = self

    def start(self, receiver: IRaftReceiver) -> None:
        """Begin; requests and outcomes go to the receiver."""
        self.receiver = receiver

    def send(self, ticket: int, peer: Server, request: Request) -> None:
        """Send a request; its outcome is told to the receiver, exactly once."""
        self._call(ticket, peer.address, request, encode_request(request))

    def send_snapshot(
        self, ticket: int, peer: Server, request: InstallSnapshot, source: Any
    ) -> None:
        """Send a snapshot whole."""
        content = b"".join(source.chunks())
        source.close()
        self._call(ticket, peer.address, request, encode_request(request) + content)

    def _call(self, ticket: int, address: str, request: Request, data: bytes) -> None:
        network = self._network
        self._open[ticket] = request
        if network.trace is not None:
            network.trace.append(f"{self._address}>{address} {request.describe()}")
        network.carry(
            self._address, address, lambda: self._deliver(ticket, address, data)
        )
        due = network.clock.monotonic() + _TIMEOUT_S
        network.clock.at(due, self._fail, ticket)

    def _deliver(self, ticket: int, address: str, data: bytes) -> None:
        network = self._network
        target = network.transports.get(address)
        if target is None or target._is_closed:
            # A process that is gone refuses at once, as its system does for it.
            network.carry(address, self._address, lambda: self._fail(ticket))
            return
        target._receive(
            data,
            lambda answer: network.carry(
                address, self._address, lambda: self._answered(ticket, answer)
            ),
        )

    def _receive(self, data: bytes, answer: Callable[[bytes], None]) -> None:
        items = list(RequestDecoder().feed(data))
        request = items[0]
        assert isinstance(request, Request)
        if not isinstance(request, InstallSnapshot):
            self.receiver.request_received(request, _Reply(answer))
            return
        sink = self.receiver.snapshot_started(request)
        for item in items[1:]:
            assert isinstance(item, SnapshotBytes)
            sink.write(item.data)
        self.receiver.snapshot_received(request, sink, _Reply(answer))

    def _answered(self, ticket: int, data: bytes) -> None:
        request = self._open.pop(ticket, None)
        if request is None or self._is_closed:
            return
        ((error, raw),) = ResponseDecoder().feed(data)
        if error:
            self.receiver.request_failed(ticket, unsupported=False)
        else:
            response = request.response.from_raw(raw)
            self.receiver.response_received(ticket, response)

    def _fail(self, ticket: int) -> None:
        if self._open.pop(ticket, None) is not None and not self._is_closed:
            self.receiver.request_failed(ticket, unsupported=False)

    def keep(self, addresses: list[str]) -> None:
        """Keep nothing: there are no streams."""

    def probe(self, address: str) -> None:
        """Tell the receiver if the address has no server."""
        network = self._network

        def look() -> None:
            target = network.transports.get(address)
            if (target is None or target._is_closed) and not self._is_closed:
                self.receiver.peer_refused(address)

        network.carry(self._address, address, look)

    def lose_streams(self) -> None:
        """Let the other servers see that this server's streams ended."""
        for address, transport in self._network.transports.items():
            if not transport._is_closed:
                self._network.carry(
                    self._address,
                    address,
                    lambda to=transport: to.stream_lost(self._address),  # type: ignore[misc]  # a default binds the loop's variable
                )

    def stream_lost(self, address: str) -> None:
        """Tell the receiver that a peer's streams ended."""
        if not self._is_closed:
            self.receiver.stream_lost(address)

    def close(self) -> "Deferred[None]":
        """Send and take nothing any more."""
        self._is_closed = True
        return succeed(None)


@attrs.define
class SimServer:
    """A server of the simulated cluster; its disk survives crashes."""

    server: Server
    disk: MemoryDisk = attrs.field(factory=MemoryDisk)
    node: RaftNode | None = None
    fsm: RecordingFSM = attrs.field(factory=RecordingFSM)
    storage: MemoryStorage | None = None
    transport: MemoryTransport | None = None

    @property
    def running(self) -> RaftNode:
        """The node, which must be running."""
        assert self.node is not None
        return self.node


class RaftCluster:
    """Servers with a network, and what checks them."""

    def __init__(
        self,
        seed: int,
        size: int = 3,
        settings: RaftSettings | None = None,
        fsync_max_s: float = 0.004,
    ) -> None:
        self.seed = seed
        self.clock = SimClock()
        self.rng = random.Random(seed)  # noqa: S311 - a simulation
        self.network = RaftNetwork(self.clock, self.rng)
        self.settings = settings or RaftSettings()
        self.checker = Checker()
        self._fsync_max_s = fsync_max_s
        self.servers = [self.new_server(number) for number in range(1, size + 1)]

    def new_server(self, number: int) -> SimServer:
        """Return a server that is not started; nor is it in the configuration."""
        return SimServer(Server(id=f"s{number}", address=f"10.0.0.{number}:8300"))

    def start(self, server: SimServer) -> None:
        """Start a server on its disk."""
        server.fsm = RecordingFSM()
        server.storage = MemoryStorage(
            self.clock, server.disk, lambda: self.rng.random() * self._fsync_max_s
        )
        server.transport = MemoryTransport(self.network, server.server.address)
        server.node = RaftNode(
            self.clock,
            self.clock,
            random.Random(self.rng.random()),  # noqa: S311 - a simulation
            identity=Identity(
                server_id=server.server.id, address=server.server.address
            ),
            settings=self.settings,
            storage=server.storage,
            transport=server.transport,
            fsm=server.fsm,
        )
        server.node.startService()

    def bootstrap(self) -> None:
        """Start all servers with one configuration."""
        members = [server.server for server in self.servers]
        for server in self.servers:
            self.start(server)
            server.running.bootstrap(members)

    def crash(self, server: SimServer) -> None:
        """End a server's process; of the batch being written a part may survive."""
        assert server.storage is not None
        assert server.transport is not None
        server.transport.close()
        server.transport.lose_streams()
        server.storage.crash(self.rng.randint(0, server.storage.under_way))
        node, server.node = server.running, None
        node.stopService()

    def run(self, seconds: float) -> None:
        """Let time pass; every event is followed by the checks."""
        end = self.clock.monotonic() + seconds
        passed = [False]
        self.clock.at(end, passed.__setitem__, 0, True)
        while not passed[0]:
            self.clock.step()
            self.checker.check(self)

    def run_until(self, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Let time pass until a condition holds, which it must within a limit."""
        end = self.clock.monotonic() + limit_s
        while not condition():
            assert self.clock.monotonic() < end, f"seed {self.seed}: no progress"
            self.clock.step()
            self.checker.check(self)

    @property
    def alive(self) -> list[SimServer]:
        """The servers that run."""
        return [server for server in self.servers if server.node is not None]

    @property
    def leader(self) -> SimServer | None:
        """The leader of the highest term."""
        leaders = [server for server in self.alive if server.running.is_leader]
        leaders.sort(key=lambda server: server.running.core.state.term)
        return leaders[-1] if leaders else None

    def elect(self) -> SimServer:
        """Let time pass until there is a leader."""
        self.run_until(lambda: self.leader is not None)
        leader = self.leader
        assert leader is not None
        return leader

    def commit(self, data: bytes, limit_s: float = 60.0) -> int:
        """Propose until it is committed; return its index."""
        results: list[Any] = []

        def attempt() -> None:
            leader = self.leader
            if leader is None:
                self.clock.callLater(0.05, attempt)
                return
            done = leader.running.propose(data)
            done.addCallbacks(
                results.append, lambda _: self.clock.callLater(0.05, attempt)
            )

        attempt()
        self.run_until(lambda: bool(results), limit_s)
        index: int = results[0]
        return index

    def settle(self, limit_s: float = 60.0) -> None:
        """Let time pass until all running servers have applied the same."""

        def is_settled() -> bool:
            leader = self.leader
            if leader is None:
                return False
            last = leader.running.core.state.log.last_index
            return all(
                server.running.core.state.log.applied_index == last
                for server in self.alive
            )

        self.run_until(is_settled, limit_s)


class Checker:
    """The promises of Raft (figure 3 of the paper), checked after every event."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.committed: dict[int, int] = {}
        self.commands: dict[int, bytes] = {}
        self.events = 0
        self._seen: dict[str, tuple[int, int, int]] = {}

    def check(self, cluster: RaftCluster) -> None:
        """Raise AssertionError where a promise is broken."""
        self.events += 1
        where = f"seed {cluster.seed}, {cluster.clock.monotonic():.4f} s"
        for server in cluster.alive:
            self._check_server(server, where)
        if self.events % 64 == 0:
            self._check_matching(cluster, where)

    def _check_server(self, server: SimServer, where: str) -> None:
        name = server.server.id
        core = server.running.core
        state = core.state
        if core.role is RoleName.LEADER:
            known = self.leaders.setdefault(state.term, name)
            assert known == name, f"{where}: {known} and {name} lead term {state.term}"
        log = state.log
        seen = (state.term, log.commit_index, len(server.fsm.applied))
        before = self._seen.get(name)
        if seen == before:
            return
        self._seen[name] = seen
        first = max(log.first_index, (before[1] if before else 0) + 1)
        if before is None or log.commit_index < before[1]:
            first = log.first_index
        self._check_committed(name, log, first, where)
        self._check_applied(server, before, where)

    def _check_committed(self, name: str, log: Any, first: int, where: str) -> None:
        for index in range(first, log.commit_index + 1):
            term = log.term(index)
            known = self.committed.setdefault(index, term)
            assert known == term, (
                f"{where}: {name} committed {index} of term {term}, "
                f"but of term {known} it was before"
            )

    def _check_applied(
        self, server: SimServer, before: tuple[int, int, int] | None, where: str
    ) -> None:
        applied = server.fsm.applied
        first = before[2] if before and before[2] <= len(applied) else 0
        for index, data in applied[first:]:
            known = self.commands.setdefault(index, data)
            name = server.server.id
            assert known == data, (
                f"{where}: {name} applied {data!r} at {index}, not {known!r}"
            )

    def _check_matching(self, cluster: RaftCluster, where: str) -> None:
        """If two logs agree on an entry's term, they agree on all before it."""
        logs = [server.running.core.state.log for server in cluster.alive]
        for place, one in enumerate(logs):
            for other in logs[place + 1 :]:
                first = max(one.first_index, other.first_index)
                agreed = False
                for index in range(
                    min(one.last_index, other.last_index), first - 1, -1
                ):
                    same = one.term(index) == other.term(index)
                    assert same or not agreed, f"{where}: logs differ at {index}"
                    agreed = agreed or same

    def check_end(self, cluster: RaftCluster, acknowledged: Iterable[bytes]) -> None:
        """What was acknowledged must be there, on every server, in the same order."""
        first = cluster.alive[0].fsm.applied
        for server in cluster.alive:
            assert server.fsm.applied == first, f"seed {cluster.seed}"
        commands = {data for _, data in first}
        lost = [data for data in acknowledged if data not in commands]
        assert not lost, f"seed {cluster.seed}: acknowledged and lost: {lost}"


def entry(index: int, term: int, data: bytes = b"x") -> Entry:
    """Return a command entry."""
    return Entry.make(index, term, 0, data)
