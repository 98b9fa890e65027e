"""Raft messages over streams."""

from typing import Any

import pytest
from twisted.internet.protocol import Protocol
from zope.interface import implementer
from zope.interface.verify import verifyObject

from consultwist.raft.codec import encode_request
from consultwist.raft.configuration import Server
from consultwist.raft.interfaces import IRaftReceiver, IRaftTransport, IReplyTo
from consultwist.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshot,
    InstallSnapshotResponse,
    Message,
    Request,
    RequestPreVote,
    RequestVote,
    RequestVoteResponse,
)
from consultwist.raft.storage.memory import MemoryDisk, MemorySink, MemorySource
from consultwist.raft.storage.snapshot_files import SnapshotMeta
from consultwist.raft.transport import RaftTransport
from consultwist.testing.clock import SimClock
from consultwist.testing.streams import StreamNetwork

PEER = Server(id="b", address="b:1")


@implementer(IRaftReceiver)
class Receiver:
    """Records everything; answers on demand."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, IReplyTo]] = []
        self.snapshots: list[bytes] = []
        self.aborted: list[InstallSnapshot] = []
        self.responses: list[tuple[int, Message]] = []
        self.failures: list[tuple[int, bool]] = []
        self.lost: list[str] = []
        self.refused: list[str] = []

    def request_received(self, request: Request, source: IReplyTo) -> None:
        self.requests.append((request, source))

    def snapshot_started(self, request: InstallSnapshot) -> Any:
        receiver = self

        class Sink(MemorySink):
            def abort(self) -> None:
                receiver.aborted.append(request)

        return Sink(MemoryDisk(), SnapshotMeta())

    def snapshot_received(
        self, request: InstallSnapshot, sink: Any, source: IReplyTo
    ) -> None:
        self.snapshots.append(b"".join(sink.chunks()))
        self.requests.append((request, source))

    def response_received(self, ticket: int, response: Message) -> None:
        self.responses.append((ticket, response))

    def request_failed(self, ticket: int, *, unsupported: bool) -> None:
        self.failures.append((ticket, unsupported))

    def stream_lost(self, address: str) -> None:
        self.lost.append(address)

    def peer_refused(self, address: str) -> None:
        self.refused.append(address)


class World:
    """Two transports, of servers a and b."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.network = StreamNetwork(self.clock)
        self.a, self.b = (self.make() for _ in range(2))
        self.near, self.far = Receiver(), Receiver()
        self.a.start(self.near)
        self.b.start(self.far)
        self.network.listen(PEER.address, self.b.server_protocol)

    def make(self) -> RaftTransport:
        return RaftTransport(self.clock, self.clock, self.network.connect)

    def pass_time(self, seconds: float = 0.1) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def world() -> World:
    return World()


def vote(term: int) -> RequestVote:
    return RequestVote(protocol_version=3, term=term, candidate=b"a:1")


def append(count: int, term: int = 1) -> AppendEntries:
    entries = [Entry.make(i, term, 0, b"x") for i in range(1, count + 1)]
    return AppendEntries(protocol_version=3, term=term, leader=b"a:1", entries=entries)


def test_the_interfaces_are_provided(world: World) -> None:
    """What the node relies on is there."""
    verifyObject(IRaftTransport, world.a)
    verifyObject(IRaftReceiver, world.near)


def test_a_request_is_answered(world: World) -> None:
    """The answer comes back under the ticket, as the kind that fits the request."""
    world.a.send(7, PEER, vote(3))
    world.pass_time()
    ((request, source),) = world.far.requests
    assert request == vote(3)
    source.answer(RequestVoteResponse(protocol_version=3, term=3, granted=True))
    world.pass_time()
    ((ticket, response),) = world.near.responses
    assert ticket == 7
    assert response == RequestVoteResponse(protocol_version=3, term=3, granted=True)


def test_requests_are_pipelined_and_answered_in_their_order(world: World) -> None:
    """An answer that is ready early waits for those before it."""
    for ticket in (1, 2, 3):
        world.a.send(ticket, PEER, append(ticket))
    world.pass_time()
    assert [len(r.entries or []) for r, _ in world.far.requests] == [1, 2, 3]  # type: ignore[attr-defined]  # they are AppendEntries
    sources = [source for _, source in world.far.requests]
    for number in (2, 0, 1):
        sources[number].answer(AppendEntriesResponse(last_log=number, success=True))
    world.pass_time()
    assert [ticket for ticket, _ in world.near.responses] == [1, 2, 3]
    assert [r.last_log for _, r in world.near.responses] == [0, 1, 2]  # type: ignore[attr-defined]  # they are of that kind


def test_heartbeats_do_not_wait_behind_entries(world: World) -> None:
    """They have a stream of their own, and so have votes."""
    world.a.send(1, PEER, append(1))
    world.a.send(2, PEER, AppendEntries(protocol_version=3, term=1, leader=b"a:1"))
    world.a.send(3, PEER, vote(1))
    world.pass_time()
    assert len(world.network.opened) == 3
    _, (_, heartbeat), _ = world.far.requests
    heartbeat.answer(AppendEntriesResponse(success=True))
    world.pass_time()
    assert [ticket for ticket, _ in world.near.responses] == [2]


def test_an_error_is_a_failure(world: World) -> None:
    """The structure behind it is read all the same; the stream lives on."""
    world.a.send(1, PEER, vote(1))
    world.a.send(2, PEER, vote(2))
    world.pass_time()
    for _, source in world.far.requests:
        source.answer(None, "operation not supported with current protocol version")
    world.pass_time()
    assert world.near.failures == [(1, False), (2, False)]
    assert len(world.network.opened) == 1


def test_a_peer_that_closes_at_a_pre_vote_does_not_know_it(world: World) -> None:
    """Other requests that were under way on other streams are not hurt."""

    class Stock(Protocol):
        def dataReceived(self, data: bytes) -> None:
            if data[:1] == b"\x04":
                assert self.transport is not None
                self.transport.loseConnection()

    world.network.listen(PEER.address, Stock)
    world.a.send(1, PEER, vote(1))
    world.a.send(2, PEER, RequestPreVote(protocol_version=3, term=2))
    world.pass_time()
    assert world.near.failures == [(2, True)]


def test_an_unknown_command_is_a_pre_vote_not_known(world: World) -> None:
    """Libraries between the old and the new say it in words."""
    world.a.send(1, PEER, RequestPreVote(protocol_version=3, term=2))
    world.pass_time()
    world.far.requests[0][1].answer(None, "unexpected command")
    world.pass_time()
    assert world.near.failures == [(1, True)]


def test_a_peer_that_refuses_fails_its_requests(world: World) -> None:
    """And is tried again, after a wait that doubles up to a second."""
    world.network.stop_listening(PEER.address)
    for ticket in range(1, 60):
        world.a.send(ticket, PEER, vote(1))
        world.pass_time(0.05)
    assert [ticket for ticket, _ in world.near.failures] == list(range(1, 60))
    world.network.listen(PEER.address, world.b.server_protocol)
    world.pass_time(1.0)
    world.a.send(60, PEER, vote(1))
    world.pass_time()
    assert len(world.far.requests) == 1


def test_a_request_without_an_answer_times_out(world: World) -> None:
    """The stream is closed, since later answers could not be told apart."""
    world.a.send(1, PEER, vote(1))
    world.pass_time(9.9)
    assert world.near.failures == []
    world.a.send(2, PEER, vote(2))
    world.pass_time(0.2)
    assert world.near.failures == [(1, False), (2, False)]
    assert world.network.opened[0][1].is_lost


def test_a_stream_that_does_not_open_times_out(world: World) -> None:
    """A host that is gone answers nothing at all."""
    world.network.hanging.add(PEER.address)
    world.a.send(1, PEER, vote(1))
    world.pass_time(10.1)
    assert world.near.failures == [(1, False)]


def test_a_snapshot_is_streamed(world: World) -> None:
    """In chunks, on a stream of its own, which is closed after the answer."""
    content = bytes(range(256)) * 1000
    request = InstallSnapshot(
        protocol_version=3, snapshot_version=1, term=1, size=len(content)
    )
    source = MemorySource(SnapshotMeta(size=len(content)), content)
    world.a.send_snapshot(5, PEER, request, source)
    world.pass_time()
    assert world.far.snapshots == [content]
    world.far.requests[0][1].answer(InstallSnapshotResponse(term=1, success=True))
    world.pass_time()
    assert [ticket for ticket, _ in world.near.responses] == [5]
    assert world.network.opened[0][1].is_lost


def test_a_snapshot_that_breaks_off_is_thrown_away(world: World) -> None:
    """The sender hears of it, the receiver's sink is aborted."""
    request = InstallSnapshot(protocol_version=3, snapshot_version=1, term=1, size=999)
    world.a.send_snapshot(5, PEER, request, MemorySource(SnapshotMeta(), b"short"))
    world.pass_time()
    world.network.opened[0][1].loseConnection()
    world.pass_time()
    assert world.near.failures == [(5, False)]
    assert world.far.aborted == [request]


def test_a_leader_whose_stream_ends_is_reported(world: World) -> None:
    """A killed process gives this hint at once."""
    world.a.send(1, PEER, append(0))
    world.pass_time()
    world.a.close()
    world.pass_time()
    assert world.far.lost == ["a:1"]


def test_a_probe_tells_of_an_address_that_refuses(world: World) -> None:
    """One that takes streams, or does not answer, is no news."""
    world.a.probe("b:1")
    world.a.probe("c:1")
    world.network.hanging.add("d:1")
    world.a.probe("d:1")
    world.pass_time(20)
    assert world.near.refused == ["c:1"]


def test_nonsense_closes_the_stream(world: World) -> None:
    """Nothing that follows could be understood."""
    world.a.send(1, PEER, vote(1))
    world.pass_time()
    _, end = world.network.opened[0]
    end.write(b"\x09\x80")
    world.pass_time()
    assert end.is_lost
    assert world.near.failures == [(1, False)]


def test_a_message_that_stops_in_the_middle_closes_the_stream(world: World) -> None:
    """A stalling peer holds nothing for long."""
    world.a.send(1, PEER, vote(1))
    world.pass_time()
    _, end = world.network.opened[0]
    end.write(b"\x01\x86")
    world.pass_time(9.0)
    assert not end.is_lost
    world.pass_time(1.5)
    assert end.is_lost


def test_a_peer_that_sends_without_end_is_not_read_for_a_while(world: World) -> None:
    """Unanswered requests are bounded; with the answers reading goes on."""
    world.a.send(1, PEER, vote(1))
    world.pass_time()
    _, end = world.network.opened[0]
    for _ in range(30):
        end.write(encode_request(vote(2)) * 20)
    world.pass_time()
    taken = len(world.far.requests)
    assert taken < 300
    for _, source in list(world.far.requests):
        source.answer(RequestVoteResponse())
    world.pass_time()
    assert len(world.far.requests) > taken


def test_idle_streams_to_servers_that_left_are_closed(world: World) -> None:
    """A stream with a request under way is not."""
    world.a.send(1, PEER, vote(1))
    world.pass_time()
    world.a.keep([])
    assert not world.network.opened[0][1].is_lost
    world.far.requests[0][1].answer(RequestVoteResponse())
    world.pass_time()
    world.a.keep(["b:1"])
    assert not world.network.opened[0][1].is_lost
    world.a.keep(["c:1"])
    assert world.network.opened[0][1].is_lost


def test_a_closed_transport_takes_and_sends_nothing(world: World) -> None:
    """Streams that come late are closed."""
    world.b.close()
    world.a.send(1, PEER, vote(1))
    world.pass_time()
    assert world.far.requests == []
    assert world.near.failures == [(1, False)]
    assert not world.clock.getDelayedCalls()
