"""Autopilot: the leader looks after the servers, in virtual time."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from consultwist.errors import ConsultwistError, NoServers, RaftError
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.raft.configuration import Configuration, Server, Suffrage
from consultwist.server.autopilot import Autopilot
from consultwist.structs.operator import AUTOPILOT, AutopilotConfig
from consultwist.structs.status import ServerStats
from consultwist.testing.agent import RecordedMetrics
from consultwist.testing.clock import ReactorClock

ALIVE, LEFT, FAILED = MemberStatus.ALIVE, MemberStatus.LEFT, MemberStatus.FAILED

CONFIG = AutopilotConfig(
    cleanup_dead_servers=True,
    last_contact_threshold=200_000_000,
    max_trailing_logs=250,
    server_stabilization_time=10_000_000_000,
)


def member(number, status=ALIVE, **tags):
    """Return a member of the pool that is a server."""
    all_tags = {
        "role": "consul",
        "dc": "dc1",
        "id": f"id{number}",
        "port": "8300",
        "vsn": "2",
        "raft_vsn": "3",
        "build": "1.8.7:abc",
    }
    return PoolMember(
        name=f"n{number}",
        ip=bytes([10, 0, 0, number]),
        tags=all_tags | tags,
        status=status,
    )


class FakeRaft:
    """A Raft whose changes are committed at once, or fail, and are remembered."""

    def __init__(self):
        self.identity = SimpleNamespace(server_id="id1", address="10.0.0.1:8300")
        self.configuration = Configuration(
            servers=[Server(id="id1", address="10.0.0.1:8300")]
        )
        self.changes: list[tuple[str, str]] = []
        self.error: Exception | None = None
        self.held: list[Deferred[None]] = []
        self.is_holding = False

    def stats(self):
        return {"last_log_term": "2", "last_log_index": "1000"}

    def add_nonvoter(self, server_id, address):
        return self._changed("nonvoter", server_id, lambda c: c.with_nonvoter, address)

    def add_voter(self, server_id, address):
        return self._changed("voter", server_id, lambda c: c.with_voter, address)

    def remove(self, server_id):
        return self._changed("remove", server_id, lambda c: c.without)

    def _changed(self, what, server_id, method, *address):
        self.changes.append((what, server_id))
        if self.error is not None:
            return fail(self.error)
        self.configuration = method(self.configuration)(server_id, *address)
        if self.is_holding:
            self.held.append(Deferred())
            return self.held[-1]
        return succeed(None)

    def add(self, number, suffrage=Suffrage.VOTER):
        server = Server(
            id=f"id{number}", address=f"10.0.0.{number}:8300", suffrage=suffrage
        )
        self.configuration = Configuration(
            servers=[*self.configuration.servers, server]
        )


class World:
    """A leader with a pool whose members a test sets."""

    def __init__(self):
        self.reactor = Clock()
        self.clock = ReactorClock(self.reactor)
        self.config = SimpleNamespace(datacenter="dc1", node_name="n1")
        self.store = SimpleNamespace(values={AUTOPILOT: CONFIG})
        self.metrics = RecordedMetrics()
        self.raft = FakeRaft()
        self.members = [member(1)]
        self.membership = self
        self.forced: list[str] = []
        self.asked: list[str] = []
        self.silent: set[str] = set()
        self.lagging: set[str] = set()
        self.changed: Any = None
        server: Any = self
        self.autopilot = Autopilot(server, self.ask)

    # --- what autopilot is given ---------------------------------------------------

    def lan_members(self):
        return self.members

    def on_member_change(self, callback):
        self.changed = callback

        def forget():
            self.changed = None

        return forget

    def force_leave(self, name):
        self.forced.append(name)

    def ask(self, server, request):
        self.asked.append(server.name)
        if server.name in self.silent:
            return Deferred()
        if server.name == "broken":
            raise NoServers
        index = 1 if server.name in self.lagging else 1000
        stats = ServerStats(last_contact="1ms", last_term=2, last_index=index)
        return succeed(stats) if server.name == "n2" else stats

    # --- what tests do -------------------------------------------------------------

    def start(self, *members):
        self.members = [member(1), *members]
        self.autopilot.start()

    def update(self, *members):
        """Let members change, and leave time for what follows."""
        self.members = [member(1), *members]
        self.changed()
        self.pass_time(0.3)

    def pass_time(self, seconds):
        self.reactor.pump([0.1] * round(seconds * 10))


@pytest.fixture
def world():
    """A leader; autopilot is not started."""
    return World()


# --- Raft follows the pool ------------------------------------------------------------


def test_a_server_that_joins_gets_a_vote_when_it_has_proved_stable(world):
    """First without a vote; ten healthy seconds later, at the next look, with one."""
    world.start()
    world.update(member(2))
    assert world.raft.changes == [("nonvoter", "id2")]
    world.pass_time(9)
    assert world.raft.changes == [("nonvoter", "id2")]
    world.pass_time(15)
    assert world.raft.changes == [("nonvoter", "id2"), ("voter", "id2")]
    assert world.raft.configuration.has_vote("id2")
    world.pass_time(60)
    assert len(world.raft.changes) == 2


def test_a_server_that_lags_gets_no_vote(world):
    """Until it has caught up, and then for ten seconds."""
    world.lagging = {"n2"}
    world.start(member(2))
    world.pass_time(60)
    assert world.raft.changes == [("nonvoter", "id2")]
    world.lagging = set()
    world.pass_time(8)
    assert world.raft.changes == [("nonvoter", "id2")]
    world.pass_time(16)
    assert world.raft.changes[1:] == [("voter", "id2")]


def test_what_was_there_before_is_looked_at_when_leadership_begins(world):
    """Several servers come in one after another."""
    world.start(member(2), member(3))
    assert world.raft.changes == [("nonvoter", "id2"), ("nonvoter", "id3")]


def test_only_servers_of_this_datacenter_count(world):
    """Clients and others are none of Raft's business."""
    client = PoolMember(name="c", ip=b"\x0a\0\0\x09", tags={"role": "node"}, status=1)
    world.start(client, member(3, dc="dc2"))
    world.pass_time(20)
    assert world.raft.changes == []
    assert set(world.asked) == {"n1"}


def test_a_server_that_left_is_removed(world):
    """As soon as the pool tells."""
    world.raft.add(2)
    world.start(member(2))
    world.update(member(2, LEFT))
    assert world.raft.changes == [("remove", "id2")]


def test_a_server_that_the_pool_forgot_is_removed(world):
    """It was a member when autopilot looked before."""
    world.store.values.clear()
    world.raft.add(2)
    world.start(member(2))
    world.update()
    assert world.raft.changes == [("remove", "id2")]


def test_changes_are_made_one_after_another(world):
    """The next one when the last is committed."""
    world.raft.is_holding = True
    world.start(member(2), member(3))
    assert world.raft.changes == [("nonvoter", "id2")]
    world.raft.is_holding = False
    world.raft.held.pop().callback(None)
    assert world.raft.changes == [("nonvoter", "id2"), ("nonvoter", "id3")]


def test_what_fails_is_tried_again(world):
    """At the next look at the latest."""
    world.raft.error = RaftError("raft: a configuration change is in progress")
    world.start(member(2))
    world.raft.error = None
    world.pass_time(11)
    assert world.raft.changes == [("nonvoter", "id2")] * 2


def test_members_that_change_during_a_look_are_looked_at_afterwards(world):
    """None is overlooked."""
    world.raft.is_holding = True
    world.start(member(2))
    world.members = [member(1), member(2), member(3)]
    world.changed()
    world.raft.is_holding = False
    world.raft.held.pop().callback(None)
    world.pass_time(0.3)
    assert world.raft.changes == [("nonvoter", "id2"), ("nonvoter", "id3")]


# --- dead servers ---------------------------------------------------------------------


def test_a_failed_server_is_taken_as_left(world):
    """Then it leaves Raft, too, because the pool says so."""
    for number in (2, 3):
        world.raft.add(number)
    world.start(member(2), member(3))
    world.update(member(2), member(3, FAILED))
    assert world.forced == ["n3"]
    assert world.raft.changes == []
    world.update(member(2), member(3, LEFT))
    assert world.raft.changes == [("remove", "id3")]


def test_an_unknown_server_of_raft_is_removed(world):
    """Where the rest is a quorum."""
    for number in (2, 3):
        world.raft.add(number)
    world.start(member(2))
    assert world.raft.changes == [("remove", "id3")]


def test_the_quorum_is_never_at_stake(world):
    """One of two may not go."""
    world.raft.add(2)
    world.start(member(2, FAILED))
    world.pass_time(30)
    assert (world.forced, world.raft.changes) == ([], [])


def test_dead_servers_stay_where_that_is_wanted(world):
    """CleanupDeadServers is off; servers that left go nevertheless."""
    world.store.values[AUTOPILOT] = AutopilotConfig()
    for number in (2, 3):
        world.raft.add(number)
    world.start(member(2), member(3, FAILED))
    world.pass_time(30)
    assert (world.forced, world.raft.changes) == ([], [])


def test_without_a_configuration_nothing_is_judged(world):
    """It is written when leadership begins; until then only the pool counts."""
    config = world.store.values.pop(AUTOPILOT)
    world.start(member(2))
    world.pass_time(30)
    assert world.raft.changes == [("nonvoter", "id2")]
    assert not world.autopilot.health.healthy
    world.store.values[AUTOPILOT] = config
    world.pass_time(30)
    assert world.raft.changes[1:] == [("voter", "id2")]


# --- health ---------------------------------------------------------------------------


def test_all_servers_are_asked_every_two_seconds(world):
    """What they tell is their health, and that of the whole."""
    world.raft.add(2)
    world.raft.add(3)
    world.start(member(2), member(3))
    assert world.asked == ["n1", "n2", "n3"]
    world.pass_time(4.05)
    assert len(world.asked) == 9
    health = world.autopilot.health
    assert (health.healthy, health.failure_tolerance) == (True, 1)
    assert [server.name for server in health.servers] == ["n1", "n2", "n3"]
    assert [server.leader for server in health.servers] == [True, False, False]
    assert ("autopilot.healthy", 1) in world.metrics.gauges
    assert ("autopilot.failure_tolerance", 1) in world.metrics.gauges


def test_a_server_that_does_not_answer_is_not_healthy(world):
    """The round ends before the next one; the others are judged as ever."""
    world.raft.add(2)
    world.silent = {"n2"}
    world.start(member(2))
    world.pass_time(1.5)
    assert world.autopilot.health.servers is None
    world.pass_time(0.6)
    health = world.autopilot.health
    assert not health.healthy
    assert [server.healthy for server in health.servers] == [True, False]
    world.silent = set()
    world.pass_time(5)
    assert world.autopilot.health.healthy


def test_a_server_that_cannot_be_asked_is_not_healthy(world):
    """As where there is no connection to it."""
    world.raft.add(2)
    broken = member(2)
    world.start(PoolMember(name="broken", ip=broken.ip, tags=broken.tags, status=1))
    assert [s.healthy for s in world.autopilot.health.servers] == [True, False]


def test_servers_that_left_or_are_not_in_raft_are_not_asked(world):
    """What they would tell means nothing."""
    world.store.values[AUTOPILOT] = AutopilotConfig()
    world.raft.error = RaftError("no change now")
    world.start(member(2), member(3, LEFT))
    world.pass_time(10)
    assert set(world.asked) == {"n1"}


# --- beginning and end ----------------------------------------------------------------


def test_all_ends_with_leadership(world):
    """Nothing more is asked, changed or known."""
    world.start(member(2))
    world.silent = {"n2"}
    world.pass_time(3)
    world.autopilot.stop()
    asked, changes = len(world.asked), len(world.raft.changes)
    world.pass_time(60)
    assert (len(world.asked), len(world.raft.changes)) == (asked, changes)
    assert world.changed is None
    assert world.reactor.getDelayedCalls() == []
    assert world.autopilot.health.servers is None


def test_a_change_under_way_is_given_up_with_leadership(world):
    """What becomes of it the next leader sees."""
    world.raft.is_holding = True
    world.start(member(2))
    world.autopilot.stop()
    assert world.raft.held[0].called
    assert world.reactor.getDelayedCalls() == []


def test_leadership_may_come_back(world):
    """Then all is looked at anew."""
    world.start(member(2))
    world.autopilot.stop()
    world.raft.changes.clear()
    world.start(member(2), member(3))
    world.pass_time(21)
    assert sorted(world.raft.changes) == [
        ("nonvoter", "id3"),
        ("voter", "id2"),
        ("voter", "id3"),
    ]


def test_a_fault_does_not_end_the_work(world):
    """It is logged, and the next look comes in its time."""

    def forced(name):
        raise ConsultwistError("agent: No node found")

    world.raft.add(2)
    world.raft.add(3)
    world.force_leave, kept = forced, world.force_leave
    world.start(member(2), member(3, FAILED))
    world.force_leave = kept
    world.pass_time(11)
    assert world.forced == ["n3"]
