"""Leader routines run while this server leads, and only then."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from consultwist.errors import LeadershipLost
from consultwist.interfaces import ILeaderRoutine
from consultwist.server.leadership import LeaderRoutines


@implementer(ILeaderRoutine)
class Routine:
    """A routine that ticks every second while it runs."""

    def __init__(self, name, rank, diary, reactor, *, breaks=False):
        self.name = name
        self.rank = rank
        self._diary = diary
        self._reactor = reactor
        self._breaks = breaks

    def start(self, server):
        self._diary.append(f"start {self.name}")
        call = self._reactor.callLater(1.0, self._diary.append, f"tick {self.name}")

        def stop():
            self._diary.append(f"stop {self.name}")
            if call.active():
                call.cancel()
            if self._breaks:
                raise RuntimeError("cannot stop")

        return stop


class World:
    """Routines of a server, with barriers that a test lets fire."""

    def __init__(self, *, breaks=False):
        self.reactor = Clock()
        self.diary: list[str] = []
        self.barriers: list[Deferred[Any]] = []
        routines = [
            Routine("late", 2, self.diary, self.reactor),
            Routine("b", 1, self.diary, self.reactor, breaks=breaks),
            Routine("a", 1, self.diary, self.reactor),
        ]
        server: Any = None
        self.routines = LeaderRoutines(server, routines, self.barrier)

    def barrier(self):
        self.barriers.append(Deferred())
        return self.barriers[-1]


@pytest.fixture
def world():
    return World()


def test_routines_start_in_order_once_the_server_has_caught_up(world):
    """By rank, then by name; consistent reads are answered from then on."""
    world.routines.gained()
    assert world.diary == []
    assert not world.routines.ready
    world.barriers[0].callback(None)
    assert world.diary == ["start a", "start b", "start late"]
    assert world.routines.ready


def test_routines_stop_in_reverse_order_when_leadership_is_lost(world):
    """They leave no timers; a second loss is nothing new."""
    world.routines.gained()
    world.barriers[0].callback(None)
    world.routines.lost()
    assert world.diary[3:] == ["stop late", "stop b", "stop a"]
    assert not world.routines.ready
    assert world.reactor.getDelayedCalls() == []
    world.routines.lost()
    assert len(world.diary) == 6


def test_leadership_that_is_lost_before_the_barrier_starts_nothing(world):
    """The barrier may even fire late."""
    world.routines.gained()
    world.routines.lost()
    world.barriers[0].callback(None)
    assert world.diary == []
    assert not world.routines.ready


def test_a_barrier_of_a_former_reign_starts_nothing_in_the_next(world):
    """Only the present one counts, and it starts the routines once."""
    world.routines.gained()
    world.routines.lost()
    world.routines.gained()
    world.barriers[0].callback(None)
    assert world.diary == []
    world.barriers[1].callback(None)
    assert world.diary == ["start a", "start b", "start late"]


def test_a_failed_barrier_leaves_the_server_not_ready(world):
    """The usual reason is that leadership was lost again."""
    world.routines.gained()
    world.barriers[0].errback(LeadershipLost())
    assert world.diary == []
    assert not world.routines.ready


def test_a_routine_that_cannot_stop_does_not_keep_others_from_it():
    """The failure is logged."""
    world = World(breaks=True)
    world.routines.gained()
    world.barriers[0].callback(None)
    world.routines.lost()
    assert world.diary[3:] == ["stop late", "stop b", "stop a"]


def test_routines_run_again_when_leadership_comes_back(world):
    """With fresh timers."""
    for reign in range(2):
        world.routines.gained()
        world.barriers[reign].callback(None)
        world.reactor.advance(1.0)
        world.routines.lost()
    assert world.diary.count("tick a") == 2
