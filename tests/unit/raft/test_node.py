"""RaftNode: one server alone, and several with a network."""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from consultwist.errors import (
    BadRequest,
    CannotBootstrap,
    ConfigError,
    LeadershipLost,
    LeadershipTransferInProgress,
    NothingToSnapshot,
    NotLeader,
    RaftBusy,
    RaftError,
    RaftShutdown,
    StorageError,
    WireError,
)
from consultwist.interfaces import IRaftFSM
from consultwist.raft import proposals as proposals_module
from consultwist.raft.configuration import Server
from consultwist.raft.interfaces import IRaftReceiver, IRaftStorage
from consultwist.raft.node import Identity, RaftNode
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.memory import MemoryDisk, MemoryStorage
from consultwist.testing.clock import SimClock
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from consultwist.testing.raft import (
    MemoryTransport,
    RaftCluster,
    RaftNetwork,
    RecordingFSM,
    SimServer,
)

SELF = Server(id="a", address="10.0.0.1:8300")


class Lone:
    """A single server on a memory disk."""

    def __init__(
        self,
        disk: MemoryDisk | None = None,
        fsm: RecordingFSM | None = None,
        settings: RaftSettings | None = None,
        peers_file: Path | None = None,
    ) -> None:
        self.clock = SimClock()
        self.fsm = fsm or RecordingFSM()
        self.storage = MemoryStorage(self.clock, disk, lambda: 0.001)
        self.node = RaftNode(
            self.clock,
            self.clock,
            random.Random(1),
            identity=Identity(server_id=SELF.id, address=SELF.address),
            settings=settings or RaftSettings(),
            storage=self.storage,
            transport=MemoryTransport(
                RaftNetwork(self.clock, random.Random(1)), SELF.address
            ),
            fsm=self.fsm,
            peers_file=peers_file,
        )

    def boot(self) -> "Lone":
        self.node.startService()
        self.node.bootstrap([SELF])
        self.pass_time()
        return self

    def pass_time(self, seconds: float = 0.05) -> None:
        self.clock.advance(seconds)

    def result(self, deferred: "Deferred[Any]") -> Any:
        self.pass_time()
        return result_of(deferred)


@pytest.fixture
def lone() -> Lone:
    return Lone().boot()


def test_the_interfaces_are_provided(lone: Lone) -> None:
    """Of the node, the storage and the state machine."""
    verifyObject(IRaftReceiver, lone.node)
    verifyObject(IRaftStorage, lone.storage)
    verifyObject(IRaftFSM, lone.fsm)


def test_a_lone_server_leads_at_once_and_answers_writes(lone: Lone) -> None:
    """The Deferred fires with the state machine's answer."""
    assert lone.node.is_leader
    assert lone.node.leader == SELF
    assert lone.result(lone.node.propose(b"one")) == 3
    assert lone.result(lone.node.propose(b"two", b"ext")) == 4
    assert lone.fsm.applied == [(3, b"one"), (4, b"two")]


def test_proposals_of_one_turn_are_one_batch(lone: Lone) -> None:
    """One write to the disk, one call of the state machine, all answers together."""
    batches: list[int] = []
    apply_batch = lone.fsm.apply_batch

    class Counting(RecordingFSM):
        def apply_batch(self, entries: Iterable[Any]) -> list[Any]:
            entries = list(entries)
            batches.append(len(entries))
            return apply_batch(entries)

    lone.node._performer._fsm = Counting()
    done = [lone.node.propose(b"%d" % number) for number in range(100)]
    lone.pass_time()
    assert [result_of(one) for one in done] == list(range(3, 103))
    assert batches == [100]


def test_what_comes_while_the_disk_works_is_the_next_batch(lone: Lone) -> None:
    """The disk is never asked to write a second batch before the first is there."""
    first = lone.node.propose(b"1")
    lone.clock.advance(0)
    assert lone.storage.is_busy
    late = [lone.node.propose(b"2"), lone.node.propose(b"3")]
    assert lone.storage.under_way == 1
    lone.clock.advance(0.0011)
    result_of(first)
    assert lone.storage.under_way == 1
    lone.pass_time()
    assert [result_of(one) for one in late] == [4, 5]


def test_a_failing_command_fails_its_proposer_only(lone: Lone) -> None:
    """An error that the state machine returns is raised where it was proposed."""

    class Refusing(RecordingFSM):
        def apply_batch(self, entries: Iterable[Any]) -> list[Any]:
            return [
                BadRequest("no") if entry.data == b"bad" else entry.index
                for entry in entries
            ]

    lone.node._performer._fsm = Refusing()
    bad, good = lone.node.propose(b"bad"), lone.node.propose(b"good")
    lone.pass_time()
    failure_of(bad, BadRequest)
    assert result_of(good) == 4


def test_a_state_machine_that_raises_stops_the_server(
    lone: Lone, caplog: pytest.LogCaptureFixture
) -> None:
    """It must not go on where other servers may have succeeded."""
    failures: list[Any] = []
    lone.node.observe_failure(failures.append)

    class Broken(RecordingFSM):
        def apply_batch(self, entries: Iterable[Any]) -> list[Any]:
            raise KeyError("bug")

    lone.node._performer._fsm = Broken()
    done = lone.node.propose(b"x")
    lone.pass_time()
    failure_of(done, RaftShutdown)
    assert failures[0].check(KeyError)
    assert not lone.node.is_leader
    failure_of(lone.node.propose(b"y"), RaftShutdown)


def test_a_withdrawn_proposal_is_not_written(lone: Lone) -> None:
    """Cancelled before its batch begins; afterwards only the answer is not awaited."""
    early, kept = lone.node.propose(b"early"), lone.node.propose(b"kept")
    early.addErrback(lambda _: None)
    early.cancel()
    lone.clock.advance(0)
    late = lone.node.propose(b"late")
    lone.clock.advance(0.0011)
    late.addErrback(lambda _: None)
    late.cancel()
    lone.pass_time()
    assert result_of(kept) == 3
    assert lone.fsm.applied == [(3, b"kept"), (4, b"late")]


def test_more_proposals_than_may_wait_are_refused(
    lone: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By number and by size; there is room again when they are answered."""
    monkeypatch.setattr(proposals_module, "PENDING_MAX", 2)
    done = [lone.node.propose(b"x") for _ in range(3)]
    failure_of(done.pop(), RaftBusy)
    lone.pass_time()
    assert [result_of(one) for one in done] == [3, 4]
    monkeypatch.setattr(proposals_module, "PENDING_SIZE_MAX", 10)
    failure_of(lone.node.propose(b"x" * 11), RaftBusy)
    assert lone.result(lone.node.propose(b"x" * 9)) == 5
    assert lone.result(lone.node.propose(b"x" * 9)) == 6


def test_a_barrier_comes_after_everything_before_it(lone: Lone) -> None:
    """And leaves no trace in the state machine."""
    write, barrier = lone.node.propose(b"x"), lone.node.barrier()
    lone.pass_time()
    result_of(barrier)
    result_of(write)
    assert [data for _, data in lone.fsm.applied] == [b"x"]


def test_a_lone_leader_is_verified_at_once(lone: Lone) -> None:
    """Nobody need be asked, and no Deferred is made."""
    assert lone.node.verify_leader() is None
    assert lone.node.lease_valid()


def test_leadership_is_observed(lone: Lone) -> None:
    """An observer that fails does not hurt the others."""
    seen: list[str] = []

    def fail() -> None:
        raise KeyError("bug")

    other = Lone()
    other.node.observe_leadership(fail, lambda: None)
    other.node.observe_leadership(lambda: seen.append("gained"), lambda: None)
    other.boot()
    assert seen == ["gained"]


def test_a_restart_applies_the_log_again() -> None:
    """In batches with turns between them; known commits before the election even."""
    first = Lone().boot()
    for number in range(1500):
        first.node.propose(b"%d" % number)
    first.pass_time()
    assert len(first.fsm.applied) == 1500
    first.node.stopService()
    again = Lone(first.storage.disk)
    again.node.startService()
    again.pass_time()
    assert again.fsm.applied == first.fsm.applied
    assert again.node.is_leader


def test_a_snapshot_shortens_the_log_and_is_the_start_of_the_next_life() -> None:
    """Trailing entries are kept."""
    settings = RaftSettings(trailing_logs=3)
    first = Lone(settings=settings).boot()
    for number in range(10):
        first.node.propose(b"%d" % number)
    first.pass_time()
    meta = first.result(first.node.take_snapshot())
    assert meta.index == 12
    source = first.node.open_snapshot(meta)
    assert source.meta == meta
    assert min(first.storage.disk.entries) == 10
    failure_of(first.node.take_snapshot(), NothingToSnapshot)
    assert first.result(first.node.propose(b"later")) == 13
    first.node.stopService()
    again = Lone(first.storage.disk)
    again.node.startService()
    again.pass_time()
    assert again.fsm.applied == first.fsm.applied


def test_snapshots_are_taken_when_enough_was_applied() -> None:
    """At the threshold, looked after at random intervals."""
    settings = RaftSettings(
        snapshot_threshold=20, snapshot_interval_s=1.0, trailing_logs=5
    )
    lone = Lone(settings=settings).boot()
    for number in range(15):
        lone.node.propose(b"%d" % number)
    lone.pass_time(5)
    assert lone.node.stats()["last_snapshot_index"] == "0"
    for number in range(15):
        lone.node.propose(b"%d" % number)
    lone.pass_time(5)
    assert lone.node.stats()["last_snapshot_index"] == "32"


def test_writing_a_snapshot_lets_others_have_their_turn(lone: Lone) -> None:
    """After each slice of time the reactor is given back."""
    lone.result(lone.node.propose(b"x"))
    turns: list[float] = []

    class Slow(RecordingFSM):
        def snapshot(self) -> Iterator[bytes]:
            for _ in range(10):
                lone.clock._now += 0.004
                turns.append(lone.clock.monotonic())
                yield b"chunk"

    lone.node._snapshot_work._fsm = Slow()
    taken = lone.node.take_snapshot()
    assert len(turns) == 2
    no_result_of(taken)
    write = lone.node.propose(b"meanwhile")
    lone.pass_time(1)
    assert result_of(taken).size == 50
    result_of(write)


def test_a_snapshot_that_fails_leaves_the_log_alone(lone: Lone) -> None:
    """The next one can be taken."""
    lone.result(lone.node.propose(b"x"))

    class Broken(RecordingFSM):
        def snapshot(self) -> Iterator[bytes]:
            yield b"x"
            raise OSError("disk full")

    lone.node._snapshot_work._fsm = Broken()
    failure_of(lone.node.take_snapshot(), OSError)
    lone.node._snapshot_work._fsm = lone.fsm
    assert lone.result(lone.node.take_snapshot()).index == 3


def test_a_users_snapshot_replaces_the_state(lone: Lone) -> None:
    """Its index lies above the whole log; what is proposed meanwhile comes after it."""
    lone.result(lone.node.propose(b"old"))
    other = RecordingFSM()
    other.applied = [(1, b"restored")]
    restored = lone.node.restore(other.snapshot(), 100)
    write = lone.node.propose(b"meanwhile")
    failure_of(lone.node.barrier(), RaftError)
    lone.pass_time(1)
    result_of(restored)
    assert result_of(write) == 103
    assert lone.fsm.applied == [(1, b"restored"), (103, b"meanwhile")]
    assert lone.node.stats()["last_snapshot_index"] == "101"
    lone.node.stopService()
    again = Lone(lone.storage.disk)
    again.node.startService()
    again.pass_time()
    assert again.fsm.applied == lone.fsm.applied


def test_a_users_snapshot_that_is_refused_changes_nothing(lone: Lone) -> None:
    """Nor is it found at the next start."""
    lone.result(lone.node.propose(b"old"))

    class Picky(RecordingFSM):
        def restore(self, chunks: Iterable[bytes]) -> None:
            raise WireError("snapshot: bad")

    lone.node._snapshot_work._fsm = Picky()
    restored = lone.node.restore([b"junk"], 1)
    lone.pass_time(1)
    failure_of(restored, WireError)
    assert lone.storage.disk.snapshot is None
    assert lone.result(lone.node.propose(b"new")) == 5


def test_a_bootstrapped_server_is_not_bootstrapped_again(lone: Lone) -> None:
    """Whatever is in its log is the cluster it belongs to."""
    with pytest.raises(CannotBootstrap):
        lone.node.bootstrap([SELF])


def test_everything_fails_when_the_server_stops(lone: Lone) -> None:
    """Nobody waits forever; what was gathered for the disk is written."""
    write = lone.node.propose(b"x")
    lone.clock.advance(0)
    barrier = lone.node.barrier()
    result_of(lone.node.stopService())
    failure_of(write, RaftShutdown)
    failure_of(barrier, RaftShutdown)
    failure_of(lone.node.propose(b"y"), RaftShutdown)
    failure_of(lone.node.barrier(), RaftShutdown)
    with pytest.raises(RaftShutdown):
        lone.node.stats()
    assert lone.node.leader is None
    assert 3 in lone.storage.disk.entries
    lone.pass_time(100)
    result_of(lone.node.stopService())


def test_a_failing_disk_stops_the_server(
    lone: Lone,
) -> None:
    """What cannot be written must not be promised."""
    failures: list[Any] = []
    lone.node.observe_failure(failures.append)
    write = lone.node.propose(b"x")
    lone.node._on_storage_failed(OSError("I/O error"))
    failure_of(write, RaftShutdown)
    assert failures[0].check(OSError)


def test_an_entry_that_cannot_be_read_back_stops_the_server() -> None:
    """A server whose disk lost what was durable must not go on."""
    first = Lone().boot()
    for number in range(5):
        first.node.propose(b"%d" % number)
    first.pass_time()
    first.node.stopService()
    again = Lone(first.storage.disk)
    recovered = again.storage.open()
    del again.storage.disk.entries[4]
    again.storage.open = lambda: recovered  # type: ignore[method-assign]  # the damage comes after the start
    failures: list[Any] = []
    again.node.observe_failure(failures.append)
    again.node.startService()
    with pytest.raises(StorageError, match="entry 4"):
        again.pass_time()
    assert failures[0].check(StorageError)
    assert not again.node.is_leader


def test_the_statistics_are_those_of_consul_info(lone: Lone) -> None:
    """All texts, by the names that Consul shows."""
    stats = lone.node.stats()
    assert stats == {
        "applied_index": "2",
        "commit_index": "2",
        "fsm_pending": "0",
        "last_contact": "0",
        "last_log_index": "2",
        "last_log_term": "2",
        "last_snapshot_index": "0",
        "last_snapshot_term": "0",
        "latest_configuration": ("[{Suffrage:Voter ID:a Address:10.0.0.1:8300}]"),
        "latest_configuration_index": "0",
        "num_peers": "0",
        "protocol_version": "3",
        "protocol_version_max": "3",
        "protocol_version_min": "0",
        "snapshot_version_max": "1",
        "snapshot_version_min": "0",
        "state": "Leader",
        "term": "2",
    }


# --- the recovery file -----------------------------------------------------------


def test_the_recovery_file_replaces_the_configuration(tmp_path: Path) -> None:
    """A server whose peers are gone for good goes on alone; the file is removed."""
    cluster = RaftCluster(1)
    cluster.bootstrap()
    cluster.commit(b"precious")
    cluster.settle()
    disk = cluster.servers[0].disk
    peers = tmp_path / "peers.json"
    peers.write_text(json.dumps([{"id": "a", "address": SELF.address}]))
    lone = Lone(disk, peers_file=peers)
    lone.node.startService()
    lone.pass_time()
    assert lone.node.is_leader
    assert [data for _, data in lone.fsm.applied] == [b"precious"]
    assert not peers.exists()
    lone.node.stopService()
    again = Lone(disk, peers_file=peers)
    again.node.startService()
    again.pass_time()
    assert again.node.is_leader
    assert [server.id for server in again.node.configuration.servers] == ["a"]


@pytest.mark.parametrize(
    "content",
    ["{", "{}", "[]", "[1]", '[{"id": "a"}]', '[{"id": "a", "address": ""}]'],
)
def test_a_malformed_recovery_file_stops_the_start(
    tmp_path: Path, content: str
) -> None:
    """The error names the file."""
    peers = tmp_path / "peers.json"
    peers.write_text(content)
    with pytest.raises(ConfigError, match=r"peers\.json"):
        Lone(peers_file=peers).node.startService()


def test_the_old_form_of_the_recovery_file_is_a_list_of_addresses(
    tmp_path: Path,
) -> None:
    """Protocol version 2: the address is the id."""
    peers = tmp_path / "peers.json"
    peers.write_text('["10.0.0.1:8300"]')
    lone = Lone(peers_file=peers)
    lone.node.startService()
    assert lone.node.configuration.servers == [
        Server(id="10.0.0.1:8300", address="10.0.0.1:8300")
    ]


# --- several servers ---------------------------------------------------------------


@pytest.fixture
def cluster() -> RaftCluster:
    cluster = RaftCluster(1)
    cluster.bootstrap()
    return cluster


def follower_of(cluster: RaftCluster) -> SimServer:
    leader = cluster.elect()
    return next(server for server in cluster.alive if server is not leader)


def test_three_servers_elect_a_leader_and_agree(cluster: RaftCluster) -> None:
    """Everybody knows the leader and applies the same."""
    leader = cluster.elect()
    cluster.commit(b"x")
    cluster.settle()
    for server in cluster.alive:
        assert server.running.leader == leader.server
        assert [data for _, data in server.fsm.applied] == [b"x"]


def test_a_follower_refuses_what_only_a_leader_can_do(cluster: RaftCluster) -> None:
    """With the text that Consul's clients know."""
    node = follower_of(cluster).running
    for done in (
        node.propose(b"x"),
        node.barrier(),
        node.remove("s1"),
        node.transfer_leadership(),
    ):
        assert str(failure_of(done, NotLeader)) == "node is not the leader"
    with pytest.raises(NotLeader):
        node.verify_leader()


def test_a_leader_is_verified_by_a_quorum(cluster: RaftCluster) -> None:
    """Many callers share a round; without a quorum the leader steps down."""
    node = cluster.elect().running
    waiting = [node.verify_leader() for _ in range(5)]
    cluster.run(0.1)
    for done in waiting:
        assert done is not None
        result_of(done)
    cluster.network.partition([node.identity.address])
    last = node.verify_leader()
    assert last is not None
    cluster.run(1.5)
    failure_of(last, NotLeader)
    assert not node.is_leader


def test_a_deposed_leaders_proposals_fail(cluster: RaftCluster) -> None:
    """They may still be committed by another one: the text says so."""
    node = cluster.elect().running
    lost: list[str] = []
    node.observe_leadership(lambda: None, lambda: lost.append("lost"))
    cluster.network.partition([node.identity.address])
    write = node.propose(b"x")
    cluster.run(1.5)
    failure = failure_of(write, LeadershipLost)
    assert str(failure) == "leadership lost while committing log"
    assert lost == ["lost"]


def test_leadership_is_handed_over(cluster: RaftCluster) -> None:
    """To the server that was asked for; writes are refused meanwhile."""
    leader = cluster.elect()
    target = follower_of(cluster)
    cluster.run(0.2)
    done = leader.running.transfer_leadership(target.server.id)
    write = leader.running.propose(b"x")
    cluster.run(1.0)
    result_of(done)
    failure_of(write, LeadershipTransferInProgress)
    assert cluster.leader is target


def test_a_handover_to_a_server_that_is_gone_fails(cluster: RaftCluster) -> None:
    """The leader goes on."""
    leader = cluster.elect()
    target = follower_of(cluster)
    cluster.run(0.2)
    cluster.crash(target)
    done = leader.running.transfer_leadership(target.server.id)
    cluster.run(3.0)
    failure_of(done, RaftError)
    cluster.commit(b"x")


def test_the_death_of_the_leader_is_noticed_at_once(cluster: RaftCluster) -> None:
    """Its streams end and its address refuses: no timeout is waited for."""
    leader = cluster.elect()
    cluster.run(2.0)
    died = cluster.clock.monotonic()
    cluster.crash(leader)
    cluster.elect()
    assert cluster.clock.monotonic() - died < 0.25


def test_servers_are_added_promoted_and_removed(cluster: RaftCluster) -> None:
    """A new server catches up from a snapshot; a leader that removes itself goes."""
    for number in range(50):
        cluster.commit(b"%d" % number)
    leader = cluster.elect()
    new = cluster.new_server(4)
    cluster.start(new)
    cluster.servers.append(new)
    address = new.server.address
    taken = leader.running.take_snapshot()
    added = leader.running.add_nonvoter("s4", address)
    cluster.run(0.2)
    result_of(taken)
    result_of(added)
    cluster.settle()
    assert new.fsm.applied == leader.fsm.applied
    promoted = leader.running.add_voter("s4", address)
    cluster.run(0.2)
    result_of(promoted)
    removed = leader.running.remove(leader.server.id)
    cluster.run(0.5)
    result_of(removed)
    assert not leader.running.is_leader
    assert cluster.elect() is not leader
    members = cluster.elect().running.configuration.servers
    assert len(members) == 3
    assert leader.server.id not in [server.id for server in members]


def test_a_snapshot_that_a_follower_refuses_is_sent_again(
    cluster: RaftCluster,
) -> None:
    """Its old state stays until one is taken."""
    leader, behind = cluster.elect(), follower_of(cluster)
    cluster.run(0.2)
    cluster.network.partition([behind.server.address])
    for number in range(5):
        cluster.commit(b"%d" % number)
    # By default all of these few entries would be kept.
    leader.running.core.state.settings = RaftSettings(trailing_logs=0)
    cluster.run(0.2)
    leader.running.take_snapshot()
    refusals: list[int] = []
    restore = behind.fsm.restore

    def refuse_once(chunks: Iterable[bytes]) -> None:
        if not refusals:
            refusals.append(1)
            raise WireError("snapshot: bad")
        restore(chunks)

    behind.fsm.restore = refuse_once  # type: ignore[method-assign]  # for this test
    cluster.network.heal()
    cluster.settle()
    assert refusals
    assert behind.fsm.applied == leader.fsm.applied


def test_a_users_snapshot_reaches_the_followers(cluster: RaftCluster) -> None:
    """As an InstallSnapshot, then the entries after it."""
    cluster.commit(b"old")
    cluster.settle()
    other = RecordingFSM()
    other.applied = [(1, b"restored")]
    cluster.checker.check = lambda cluster: None  # type: ignore[method-assign]  # a restore goes back on what was applied
    restored = cluster.elect().running.restore(other.snapshot(), 5)
    cluster.run(1.0)
    result_of(restored)
    cluster.commit(b"new")
    cluster.settle()
    for server in cluster.alive:
        assert [data for _, data in server.fsm.applied] == [b"restored", b"new"]


def test_a_followers_last_contact_is_told(cluster: RaftCluster) -> None:
    """As seconds and as text; a server that never heard a leader says so."""
    node = follower_of(cluster).running
    cluster.run(1.0)
    contact = node.last_contact_s()
    assert contact is not None
    assert 0 < contact < 0.3
    assert node.last_contact().endswith("ms")
    fresh = cluster.new_server(9)
    cluster.start(fresh)
    assert fresh.running.last_contact() == "never"
    assert fresh.running.last_contact_s() is None
