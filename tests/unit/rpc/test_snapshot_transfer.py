"""Snapshots between agents, on simulated hosts, plain and in TLS."""

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from consultwist.errors import (
    CallInterrupted,
    ConsultwistError,
    PermissionDenied,
    ServerUnreachable,
)
from consultwist.rpc.snapshot_transfer import (
    SavedSnapshot,
    SnapshotCalls,
    SnapshotServerProtocol,
)
from consultwist.structs.snapshot import (
    RESTORE,
    SAVE,
    SnapshotRequest,
    SnapshotResponse,
)
from consultwist.testing.certificates import TestAuthority
from consultwist.wire.spool import open_spool
from tests.unit.rpc.world import ADDRESS, CLIENT, SERVER, World, settings

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc"
RECORDED = {
    each["id"]: each for each in json.loads((VECTORS / "special.json").read_text())
}


class Transfers:
    """A server that saves and restores as a test says, and a client."""

    def __init__(self, **tls: Any) -> None:
        self.world = World(**{key: settings(**value) for key, value in tls.items()})
        self.world.listener._others[5] = self.protocol
        hosts = self.world.hosts
        self.calls = SnapshotCalls(hosts[CLIENT], self.world.dialer, "")
        self.requests: list[SnapshotRequest] = []
        self.restored: list[bytes] = []
        self.closed = 0
        self.pieces: Any = [b"archive ", b"", b"bytes" * 30_000]
        self.outcome: Any = SnapshotResponse(index=206, known_leader=True)

    def protocol(self):
        return SnapshotServerProtocol(self.world.hosts[SERVER], "", self)

    def save_snapshot(self, request):
        self.requests.append(request)
        if not isinstance(self.outcome, SnapshotResponse):
            return self.result()
        saved = SavedSnapshot(self.outcome, iter(self.pieces), self.close)
        return succeed(saved)

    def restore_snapshot(self, request, archive):
        self.requests.append(request)
        self.restored.append(archive.read())
        return self.result()

    def result(self):
        if isinstance(self.outcome, Exception):
            return fail(self.outcome)
        if isinstance(self.outcome, Deferred):
            return self.outcome
        return succeed(self.outcome)

    def close(self):
        self.closed += 1

    def call(self, op, data=None):
        archive = None
        if data is not None:
            archive = open_spool("")
            archive.write(data)
        results: list[Any] = []
        request = SnapshotRequest(datacenter="dc1", op=op)
        done = Deferred.fromCoroutine(self.calls.call(ADDRESS, "dc1", request, archive))
        done.addBoth(results.append)
        self.world.run(20)
        if archive is not None:
            archive.close()
        return results[0] if results else None


@pytest.fixture(params=["plain", "TLS"])
def transfers(request, tmp_path):
    if request.param == "plain":
        return Transfers()
    authority = TestAuthority(tmp_path)
    server = authority.issue("server", "server.dc1.consul")
    client = {
        "ca_file": authority.ca_file,
        "verify_outgoing": True,
        "verify_server_hostname": True,
    }
    return Transfers(server=server | {"verify_incoming": False}, client=client)


def test_an_archive_comes_whole_with_what_is_said_before_it(transfers):
    """And the server lets go of it."""
    saved = transfers.call(SAVE)
    assert saved.response == transfers.outcome
    assert b"".join(saved.pieces) == b"".join(transfers.pieces)
    saved.close()
    assert transfers.closed == 1
    assert transfers.world.connections == 0


@pytest.mark.parametrize("size", [0, 10, 300_000])
def test_an_archive_is_restored_when_all_of_it_is_there(transfers, size):
    """The answer comes when that is done."""
    data = bytes(range(250)) * (size // 250)
    assert transfers.call(RESTORE, data) == transfers.outcome
    assert transfers.restored == [data]
    assert transfers.world.connections == 0


@pytest.mark.parametrize("op", [SAVE, RESTORE])
def test_a_refusal_comes_with_its_text(transfers, op):
    """As an error of the same kind."""
    transfers.outcome = PermissionDenied()
    failure = transfers.call(op, b"x" if op == RESTORE else None)
    assert isinstance(failure, Failure)
    assert failure.check(PermissionDenied)
    assert transfers.world.connections == 0


def test_half_an_archive_is_not_taken_for_a_whole_one(transfers):
    """The connection breaks instead."""

    def pieces():
        yield b"half"
        raise ConsultwistError("the disk is gone")

    transfers.pieces = pieces()
    failure = transfers.call(SAVE)
    assert isinstance(failure, Failure)
    assert failure.check(CallInterrupted)
    assert transfers.closed == 1


def test_a_server_that_is_not_there_is_told(transfers):
    """Nothing was asked of it."""
    transfers.world.listener.stopService()
    failure = transfers.call(SAVE)
    assert isinstance(failure, Failure)
    assert failure.check(ServerUnreachable)


def test_a_server_that_stays_silent_is_given_up(transfers):
    """After two minutes."""
    transfers.outcome = Deferred()
    assert transfers.call(RESTORE, b"x") is None
    transfers.world.run(200)
    assert transfers.world.connections == 0
    transfers.outcome.callback(SnapshotResponse())


def test_recorded_exchanges_are_made_again():
    """What a real server was asked, and what it answered."""
    transfers = Transfers()
    recorded = RECORDED["snapshot-rpc.save"]
    raw = transfers.world.dial(bytes.fromhex(recorded["request_hex"]))
    raw.end()
    transfers.world.run()
    assert transfers.requests[0].to_raw() == recorded["request"]
    header = bytes.fromhex(recorded["response_header_hex"])
    assert raw.received == header + b"".join(transfers.pieces)
    recorded = RECORDED["snapshot-rpc.error"]
    transfers.outcome = ConsultwistError(recorded["response_header"]["Error"])
    raw = transfers.world.dial(
        bytes.fromhex(recorded["request_header_hex"]) + b"1234567"
    )
    raw.end()
    transfers.world.run()
    assert transfers.restored == [b"1234567"]
    assert raw.received.hex() == recorded["response_header_hex"]


@pytest.mark.parametrize("data", [b"\x05\xc1", b"\x05\x01", b"\x05\x81\xa2Op\x09"])
def test_what_is_no_request_is_refused(data):
    """With a text, and the end of the connection."""
    transfers = Transfers()
    raw = transfers.world.dial(data)
    transfers.world.run()
    assert b"Error" in raw.received
    assert raw.is_lost
    assert transfers.requests == []
