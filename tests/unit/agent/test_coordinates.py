"""An agent tells the servers where it is."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import fail
from twisted.internet.task import Clock

from consultwist.agent.coordinates import CoordinateReports
from consultwist.errors import NoLeader
from consultwist.gossip.serf.coordinate import origin


class Middle:
    """Randomness that always draws the middle."""

    def random(self):
        return 0.5


class World:
    """One agent's reports and what became of them."""

    def __init__(self, members=1, answer=None, coordinate=origin, **settings):
        self.reactor = Clock()
        self.told: list[Any] = []
        self.answer = answer
        config: Any = SimpleNamespace(
            datacenter="dc1",
            node_name="n1",
            segment_name="",
            disable_coordinates=False,
            sync_coordinate_interval_min=15.0,
            sync_coordinate_rate_target=64.0,
        )
        vars(config).update(settings)
        host: Any = SimpleNamespace(reactor=self.reactor, rng=Middle())
        self.reports = CoordinateReports(
            host,
            config,
            coordinate=coordinate,
            members=lambda: members,
            rpc=self.rpc,
            token=lambda: "secret",
        )
        self.reports.startService()

    def rpc(self, method, request):
        assert method == "Coordinate.Update"
        self.told.append(request)
        return None if self.answer is None else fail(self.answer)


def test_the_coordinate_is_told_again_and_again():
    """With the agent's token, between one and two intervals apart."""
    world = World()
    world.reactor.advance(22.4)
    assert world.told == []
    world.reactor.advance(0.1)
    world.reactor.advance(22.5)
    assert [(t.node, t.token, len(t.coord.vec)) for t in world.told] == [
        ("n1", "secret", 8)
    ] * 2


def test_a_large_pool_tells_more_rarely():
    """6,400 agents at 64 a second: each every 100 seconds, and up to as much more."""
    world = World(members=6400)
    world.reactor.advance(149)
    assert world.told == []
    world.reactor.advance(1)
    assert len(world.told) == 1


def test_a_refused_coordinate_is_told_again():
    """Failures do not end the telling."""
    world = World(answer=NoLeader())
    world.reactor.advance(22.5)
    world.reactor.advance(22.5)
    assert len(world.told) == 2


@pytest.mark.parametrize(
    "settings", [{"disable_coordinates": True}, {"coordinate": lambda: None}]
)
def test_an_agent_without_a_coordinate_tells_nothing(settings):
    """Where coordinates are switched off."""
    world = World(**settings)
    world.reactor.advance(1000)
    assert world.told == []


def test_a_stopped_agent_tells_nothing():
    """No timer is left."""
    world = World()
    world.reports.stopService()
    assert world.reactor.getDelayedCalls() == []
