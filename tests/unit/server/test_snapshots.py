"""A server saves its state, and puts a saved one in its place, in small pieces."""

import io
import random
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from consultwist.acl.authorizer import ALLOW_ALL
from consultwist.api.kv.table import KVTable
from consultwist.errors import (
    BadRequest,
    NoLeader,
    PermissionDenied,
    RaftError,
    WireError,
)
from consultwist.raft.configuration import Server
from consultwist.raft.node import Identity, RaftNode
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.memory import MemoryStorage
from consultwist.server.archive import BadArchive, pack
from consultwist.server.snapshots import Snapshots
from consultwist.state.fsm import FSM
from consultwist.state.store import Store
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.snapshot import RESTORE, SnapshotRequest
from consultwist.testing.clock import SimClock
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from consultwist.testing.raft import MemoryTransport, RaftNetwork

ADDRESS = "10.0.0.1:8300"


class BusyClock:
    """A clock by which everything takes time: a little passes at every look."""

    def __init__(self, clock):
        self._clock = clock
        self._spent = 0.0

    def monotonic(self):
        self._spent += 0.002
        return self._clock.seconds() + self._spent

    def wall(self):
        return 1_700_000_000.0


class CountingClock(SimClock):
    """Virtual time that counts how often somebody lets others have their turn."""

    turns = 0

    def callLater(self, delay, callable, *args, **kw):  # noqa: A002 - Twisted's name
        self.turns += delay == 0
        return super().callLater(delay, callable, *args, **kw)


class World:
    """A server that leads a cluster of its own: real Raft and state, virtual time."""

    def __init__(self):
        self.reactor = CountingClock()
        rng = random.Random(1)
        self.clock = BusyClock(self.reactor)
        tables = [KVTable()]
        self.store = Store(schema for table in tables for schema in table.schemas)
        self.fsm = FSM(self.store, tables)
        self.config = SimpleNamespace(data_dir="")
        self.raft = RaftNode(
            self.reactor,
            self.reactor,
            rng,
            identity=Identity(server_id="s1", address=ADDRESS),
            settings=RaftSettings(),
            storage=MemoryStorage(self.reactor),
            transport=MemoryTransport(RaftNetwork(self.reactor, rng), ADDRESS),
            fsm=self.fsm,
        )
        self.raft.startService()
        self.raft.bootstrap([Server(id="s1", address=ADDRESS)])
        self.pass_time(30)
        assert self.raft.is_leader
        self.begun: list[float] = []
        server: Any = self
        self.snapshots = Snapshots(server)

    def ensure_consistent(self):
        if not self.raft.is_leader:
            raise NoLeader
        return self.raft.verify_leader()

    def read_meta(self):
        return self.raft.leader is not None, 5_000_000

    def begin_anew(self, timeout_s):
        self.begun.append(timeout_s)
        return succeed(None)

    def pass_time(self, seconds=1.0):
        for _ in range(int(seconds * 100)):
            self.reactor.advance(0.01)

    def write(self, key, value=b"1"):
        request = KVSRequest(op="set", dir_ent=DirEntry(key=key, value=value))
        done = self.raft.propose(bytes([MessageType.KVS]) + request.pack())
        self.pass_time(0.1)
        result_of(done)

    def keys(self):
        return [row.key for row in self.store.table("kvs").rows()]

    def wait(self, done):
        for _ in range(1000):
            if done.called:
                break
            self.pass_time(0.1)
        return result_of(done)

    def save(self, *, stale=False):
        request = SnapshotRequest(datacenter="dc1", allow_stale=stale)
        return Deferred.fromCoroutine(self.snapshots.save(request, ALLOW_ALL))

    def archive(self):
        saved = self.wait(self.save())
        content = b"".join(saved.pieces)
        saved.close()
        return content

    def restore(self, content, **options):
        request = SnapshotRequest(datacenter="dc1", op=RESTORE, **options)
        return Deferred.fromCoroutine(
            self.snapshots.restore(request, io.BytesIO(content), ALLOW_ALL)
        )


@pytest.fixture
def world():
    """A server with a key."""
    made = World()
    made.write("a")
    return made


class NoRights:
    """An authorizer that allows nothing."""

    def allows(self, resource, access, name):
        return False


def test_a_snapshot_tells_its_index_and_who_leads(world):
    """As a stale read would; the index is that of the last entry in it."""
    saved = world.wait(world.save())
    assert saved.response.index == int(world.raft.stats()["applied_index"])
    assert saved.response.known_leader
    assert saved.response.last_contact == 5_000_000
    assert b"".join(saved.pieces)
    saved.close()


def test_a_restore_brings_back_what_was_saved(world):
    """And nothing else; later writes come at higher indexes."""
    archive = world.archive()
    world.write("b")
    response = world.wait(world.restore(archive))
    assert response.error == ""
    assert world.keys() == ["a"]
    world.write("c")
    first, second = world.store.table("kvs").rows()
    assert second.modify_index > first.modify_index
    assert world.begun == [60.0]


def test_a_snapshot_can_be_saved_where_nothing_has_changed(world):
    """The newest one has all there is."""
    assert world.archive()[:2] == b"\x1f\x8b"
    assert world.archive()[:2] == b"\x1f\x8b"


def test_two_who_save_at_once_are_both_served(world):
    """The second waits until the first snapshot is taken."""
    first, second = world.save(), world.save()
    indexes = [world.wait(each).response.index for each in (first, second)]
    assert indexes[0] == indexes[1] > 0


def test_saving_gives_up_in_the_end(world):
    """Where something else is in the way for a whole minute."""
    world.raft.core._snapshots.is_taking = True
    saved = world.save()
    world.pass_time(61)
    failure_of(saved, RaftError)


def test_only_the_leader_saves_unless_stale_will_do(world):
    """A follower may not know of the newest writes."""
    world.ensure_consistent = refuse
    failure_of(world.save(), NoLeader)
    assert world.wait(world.save(stale=True)).response.index > 0


def refuse():
    """Answer as a follower."""
    raise NoLeader


def test_a_restore_is_done_in_many_turns(world):
    """Others have theirs: by this clock every bit of work takes long."""
    small = turns_of(world, world.restore(world.archive()))
    for number in range(2000):
        world.write(f"key/{number}", bytes(200))
    large = turns_of(world, world.restore(world.archive()))
    assert large > small + 5
    assert len(world.keys()) == 2001


def turns_of(world, restored):
    """Return how often the reactor had its turn before a restore was done."""
    world.reactor.turns = 0
    world.wait(restored)
    return world.reactor.turns


def test_writes_during_a_restore_come_after_it(world):
    """They wait, and none is lost."""
    archive = world.archive()
    request = KVSRequest(op="set", dir_ent=DirEntry(key="late"))
    command = bytes([MessageType.KVS]) + request.pack()
    restore, writes = world.raft.restore, []

    def restore_and_write(*arguments):
        done = restore(*arguments)
        writes.append(world.raft.propose(command))
        return done

    world.raft.restore = restore_and_write
    world.wait(world.restore(archive))
    world.wait(writes[0])
    assert world.keys() == ["a", "late"]


def unsound(state):
    """Return an archive that is whole, but of a state that is not."""
    meta: Any = SimpleNamespace(
        size=len(state), to_plain=lambda: {"Size": len(state), "Checksum": ""}
    )
    return b"".join(pack(meta, [state], 0.0))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"junk", BadArchive),
        (unsound(b""), WireError),
        (unsound(b"\x81\xa9LastIndex\x05\x7f\xc0"), WireError),
        (unsound(b"\x81\xa9LastIndex\x05\x02"), WireError),
    ],
)
def test_what_is_not_sound_changes_nothing(world, content, error):
    """It is noticed before anything happens, also a record of unknown type."""
    before = world.raft.stats()
    restored = world.restore(content)
    world.pass_time()
    failure_of(restored, error)
    assert world.keys() == ["a"]
    assert world.raft.stats() == before
    assert world.begun == []
    world.write("b")


def test_one_restore_at_a_time(world):
    """A second one is refused; afterwards there may be another."""
    archive = world.archive()
    first = world.restore(archive)
    failure_of(world.restore(archive), RaftError)
    world.wait(first)
    world.wait(world.restore(archive))


def test_a_restore_that_is_given_up_changes_nothing(world):
    """As when the client leaves before it is checked."""
    archive = world.archive()
    world.write("b")
    restored = world.restore(archive)
    no_result_of(restored)
    restored.addErrback(lambda _: None)
    restored.cancel()
    world.pass_time()
    assert world.keys() == ["a", "b"]
    world.wait(world.restore(archive))


def test_a_restore_cannot_be_stale(world):
    """It is a write."""
    failure_of(world.restore(world.archive(), allow_stale=True), BadRequest)


def test_snapshots_need_a_management_token(world):
    """They hold every secret."""
    request = SnapshotRequest()
    saved = world.snapshots.save(request, NoRights())
    failure_of(Deferred.fromCoroutine(saved), PermissionDenied)
    restored = world.snapshots.restore(request, io.BytesIO(), NoRights())
    failure_of(Deferred.fromCoroutine(restored), PermissionDenied)
