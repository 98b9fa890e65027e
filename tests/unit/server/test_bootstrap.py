"""A cluster begins when the expected servers have come together, and only once."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from consultwist.errors import CannotBootstrap, ServerUnreachable
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.raft.configuration import Suffrage
from consultwist.server.bootstrap import ExpectedServers, bootstrap_alone
from consultwist.testing.clock import SimClock


def member(number, *, expect="3", status=MemberStatus.ALIVE, **tags):
    given = {"role": "consul", "dc": "dc1", "port": "8300", "vsn": "2"}
    given |= {"build": "1.8.7:", "id": f"id-{number}", "raft_vsn": "3"}
    if expect:
        given["expect"] = expect
    return PoolMember(
        name=f"s{number}",
        ip=bytes([10, 0, 0, number]),
        tags=given | tags,
        status=int(status),
    )


class World:
    """A server that waits, and what the others tell."""

    def __init__(self, *members):
        self.clock = SimClock()
        self.present = list(members)
        self.watchers: list[Any] = []
        self.peers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.begun: list[list[Any]] = []
        self.core = SimpleNamespace(
            state=SimpleNamespace(log=SimpleNamespace(last_index=0))
        )
        fakes: Any = self
        config: Any = SimpleNamespace(bootstrap_expect=3, datacenter="dc1")
        self.service = ExpectedServers(self.clock, config, fakes, fakes, self.ask)
        self.service.startService()

    def members(self):
        return self.present

    def on_change(self, callback):
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    def come(self, *members):
        self.present += members
        for watcher in list(self.watchers):
            watcher()

    def ask(self, server):
        self.asked.append(server.name)
        answer = self.peers.get(server.name, [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def bootstrap(self, servers):
        self.begun.append(list(servers))
        self.core.state.log.last_index = 1


def test_the_cluster_begins_with_all_expected_servers():
    """Each is asked first whether it has peers; then nobody waits any more."""
    world = World(member(1), member(2))
    assert world.asked == []
    world.come(member(3))
    assert world.asked == ["s1", "s2", "s3"]
    (servers,) = world.begun
    assert [(each.id, each.address, each.suffrage) for each in servers] == [
        (f"id-{n}", f"10.0.0.{n}:8300", Suffrage.VOTER) for n in (1, 2, 3)
    ]
    assert world.watchers == []


def test_servers_without_a_vote_come_along_but_do_not_count():
    """They are part of the configuration from the beginning."""
    world = World(member(1), member(2), member(4, expect="", nonvoter="1"))
    assert world.begun == []
    world.come(member(3))
    (servers,) = world.begun
    assert [each.suffrage for each in servers if each.id == "id-4"] == [
        Suffrage.NONVOTER
    ]


@pytest.mark.parametrize(
    "other",
    [
        member(3, expect="5"),
        member(3, bootstrap="1"),
        member(3, status=MemberStatus.FAILED),
        member(3, dc="dc2"),
    ],
)
def test_servers_that_contradict_or_do_not_count_hold_it_up(other):
    """Until the right one comes."""
    world = World(member(1), member(2), other)
    assert world.begun == []
    world.present.remove(other)
    world.come(member(3))
    assert len(world.begun) == 1


def test_a_cluster_that_there_is_already_is_waited_for():
    """Its leader will add this server."""
    world = World()
    world.peers["s2"] = ["10.0.0.9:8300"]
    world.come(member(1), member(2), member(3))
    assert world.begun == []
    assert world.watchers == []


def test_a_server_that_does_not_answer_is_asked_again_and_then_skipped():
    """Six times, with pauses that double."""
    world = World()
    world.peers["s2"] = ServerUnreachable("refused")
    world.come(member(1), member(2), member(3))
    assert world.begun == []
    world.clock.advance(1 + 2 + 4 + 8 + 16 + 32)
    assert world.asked.count("s2") == 6
    assert len(world.begun) == 1


def test_a_server_that_was_added_meanwhile_begins_nothing():
    """Its log has a first entry then."""
    world = World()
    answer: Deferred[list[str]] = Deferred()
    world.peers["s3"] = answer
    world.come(member(1), member(2), member(3))
    world.core.state.log.last_index = 7
    answer.callback([])
    assert world.begun == []


def test_a_server_with_a_log_never_begins_a_cluster():
    """Whatever its configuration says."""
    world = World()
    world.core.state.log.last_index = 5
    world.come(member(1), member(2), member(3))
    assert (world.asked, world.begun, world.watchers) == ([], [], [])


def test_stopping_ends_the_wait():
    """No timer stays."""
    world = World()
    world.peers["s1"] = ServerUnreachable("refused")
    world.come(member(1), member(2), member(3))
    world.service.stopService()
    assert world.clock.getDelayedCalls() == []
    world.clock.advance(100)
    assert world.begun == []


def test_a_lone_server_begins_once():
    """A log that is there already is no error."""
    begun: list[Any] = []

    def bootstrap(servers):
        if begun:
            raise CannotBootstrap
        begun.extend(servers)

    raft: Any = SimpleNamespace(
        identity=SimpleNamespace(server_id="a", address="10.0.0.1:8300"),
        bootstrap=bootstrap,
    )
    bootstrap_alone(raft)
    bootstrap_alone(raft)
    assert [each.id for each in begun] == ["a"]
