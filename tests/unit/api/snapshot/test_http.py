"""Snapshots over HTTP: what is asked of the servers, and how archives travel."""

import gzip
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from consultwist.api.snapshot.http import SnapshotRoutes
from consultwist.errors import ConsultwistError, NoLeader
from consultwist.http.site import Site
from consultwist.structs.snapshot import RESTORE, SAVE, SnapshotResponse
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings

_MB = 1024 * 1024


class Saved:
    """A snapshot that remembers whether it was let go of."""

    def __init__(self, pieces):
        self.response = SnapshotResponse(
            index=77, known_leader=True, last_contact=5_000_000
        )
        self.pieces = iter(pieces)
        self.closed = 0

    def close(self):
        self.closed += 1


class Delegate:
    """Servers that save and restore what a test says."""

    def __init__(self):
        self.requests = []
        self.saved = Saved([b"head ", b"", b"tail"])
        self.restored = []
        self.answer = succeed(SnapshotResponse())

    def read_version(self):
        return -1

    def save_snapshot(self, request):
        self.requests.append(request)
        return succeed(self.saved)

    def restore_snapshot(self, request, archive):
        self.requests.append(request)
        archive.seek(0)
        self.restored.append(archive.read())
        self.file = archive
        return self.answer


class Settings(HTTPSettings):
    """The settings, with a folder for what is large."""

    data_dir = ""


class World:
    """An agent with its servers, and a client."""

    def __init__(self, data_dir):
        settings = Settings()
        settings.data_dir = str(data_dir)
        self.agent = HTTPAgent(settings)
        self.delegate = self.agent.delegate = Delegate()
        self.site = Site(self.agent, SnapshotRoutes().routes(self.agent))
        self.client = HTTPClient(self.site)


@pytest.fixture
def world(tmp_path):
    """An agent that keeps large archives in a folder of the test."""
    made = World(tmp_path)
    yield made
    made.client.leave()


# --- saving ---------------------------------------------------------------------------


def test_an_archive_is_sent_as_it_is_made(world):
    """With the index and who leads; the snapshot is let go of at the end."""
    answer = world.client.get("/v1/snapshot")
    assert (answer.status, answer.body) == (200, b"head tail")
    assert answer.headers["Content-Type"] == "application/x-gzip"
    assert answer.headers["X-Consul-Index"] == "77"
    assert answer.headers["X-Consul-Knownleader"] == "true"
    assert answer.headers["X-Consul-Lastcontact"] == "5"
    assert world.delegate.saved.closed == 1


@pytest.mark.parametrize(
    ("target", "datacenter", "stale", "token"),
    [
        ("/v1/snapshot", "dc1", False, ""),
        ("/v1/snapshot?stale", "dc1", True, ""),
        ("/v1/snapshot?dc=dc2&token=t", "dc2", False, "t"),
    ],
)
def test_what_is_asked_goes_to_the_servers(world, target, datacenter, stale, token):
    """The datacenter, whether a follower may answer, and the token."""
    world.client.get(target)
    (request,) = world.delegate.requests
    assert (request.datacenter, request.allow_stale) == (datacenter, stale)
    assert (request.op, request.token) == (SAVE, token)


def test_a_snapshot_that_cannot_be_taken(world):
    """The error is the answer."""
    world.delegate.save_snapshot = lambda _: fail(NoLeader())
    answer = world.client.get("/v1/snapshot")
    assert (answer.status, answer.text) == (500, "No cluster leader")


def test_a_slow_client_holds_the_archive_back(world):
    """Nothing is made that it cannot take; it goes on where it was."""
    pieces = [b"%04d" % number for number in range(100)]
    taken = []

    def make():
        for piece in pieces:
            taken.append(piece)
            yield piece
            if len(taken) == 10:
                world.client.protocol.pauseProducing()

    world.delegate.saved = Saved(make())
    world.client.ask("GET", "/v1/snapshot")
    assert len(taken) == 11
    assert world.delegate.saved.closed == 0
    world.client.protocol.resumeProducing()
    assert len(taken) == 100
    assert world.delegate.saved.closed == 1


def test_others_have_their_turn(world):
    """Making takes time; after a slice of it the reactor goes on first."""
    reactor = world.agent.reactor

    def make():
        for _ in range(4):
            reactor.rightNow += 0.004
            yield b"x"

    world.delegate.saved = Saved(make())
    world.client.ask("GET", "/v1/snapshot")
    assert world.delegate.saved.closed == 0
    reactor.advance(0)
    reactor.advance(0)
    assert world.client.answer().body == b"xxxx"
    assert reactor.getDelayedCalls() == [
        call for call in reactor.getDelayedCalls() if call.getTime() > 1
    ]


def test_a_client_that_leaves_ends_it(world):
    """The snapshot is let go of, and nothing more is made."""
    reactor = world.agent.reactor

    def make():
        while True:
            reactor.rightNow += 0.004
            yield b"x"

    world.delegate.saved = Saved(make())
    world.client.ask("GET", "/v1/snapshot")
    world.client.leave()
    assert world.delegate.saved.closed == 1
    reactor.advance(0)
    assert world.delegate.saved.closed == 1


def test_an_archive_that_breaks_off_is_seen_to(world):
    """The connection is dropped, so that the client does not take it for whole."""

    def make():
        yield b"head"
        raise ConsultwistError("the snapshot is damaged")

    world.delegate.saved = Saved(make())
    world.client.ask("GET", "/v1/snapshot")
    assert world.client.transport.aborted
    assert world.delegate.saved.closed == 1


# --- restoring ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 3 * _MB])
def test_an_archive_comes_whole_to_the_servers(world, size):
    """Whatever its size; the answer is empty and the file is gone."""
    body = gzip.compress(bytes(10)) * (size // 30) if size else b""
    answer = world.client.put("/v1/snapshot?dc=dc2&token=t", body)
    assert (answer.status, answer.body) == (200, b"")
    assert world.delegate.restored == [body]
    (request,) = world.delegate.requests
    assert (request.op, request.datacenter, request.token) == (RESTORE, "dc2", "t")
    assert world.delegate.file.closed


def test_an_archive_may_come_in_chunks(world):
    """As the stock command sends it."""
    head = b"PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    world.client.send(head + b"5\r\nfirst\r\n")
    world.client.send(b"7\r\n second\r\n0\r\n\r\n")
    assert world.client.answer().status == 200
    assert world.delegate.restored == [b"first second"]


def test_a_large_archive_lies_in_the_data_directory(world, tmp_path):
    """Not in memory, and not where there may be no room."""
    head = b"PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    world.client.send(head % (3 * _MB))
    spool = world.client.protocol._spool
    world.client.send(bytes(2 * _MB))
    place = str(Path(f"/proc/self/fd/{spool.fileno()}").readlink())
    assert place.startswith(str(tmp_path))


def test_a_client_that_leaves_in_the_middle_leaves_nothing(world):
    """The file is closed, and thereby gone."""
    head = b"PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    world.client.send(head + bytes(1000))
    spool = world.client.protocol._spool
    world.client.leave()
    assert spool.closed
    assert world.delegate.restored == []


def test_an_archive_that_is_refused(world):
    """The error is the answer, and the file is gone."""
    problem = ConsultwistError("failed to decompress snapshot: unexpected EOF")
    world.delegate.answer = fail(problem)
    answer = world.client.put("/v1/snapshot", bytes(200_000))
    assert (answer.status, answer.text) == (500, str(problem))
    assert world.delegate.file.closed


def test_a_client_that_leaves_gives_the_restore_up(world):
    """As far as it has not happened yet."""
    given_up: list[object] = []
    world.delegate.answer = Deferred(given_up.append)
    world.client.ask("PUT", "/v1/snapshot", bytes(200_000))
    world.client.leave()
    assert len(given_up) == 1
    assert world.delegate.file.closed


def test_archives_are_bounded(world):
    """What cannot be a snapshot of any use is not taken."""
    head = b"PUT /v1/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    world.client.send(head % (2 * 1024 * _MB))
    assert world.client.answer().status == 413
    assert world.delegate.restored == []
