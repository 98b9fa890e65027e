"""Coordinates on their way into the log."""

import pytest
from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock

from consultwist.errors import NoLeader
from consultwist.server.coordinate_updates import CoordinateUpdates, Pace
from consultwist.structs.coordinate import Coord, Coordinate

PACE = Pace(period_s=5.0, batch_size=2, batches_max=2)


def place(node, at=0.0, segment=""):
    return Coordinate(node=node, segment=segment, coord=Coord(vec=[at]))


@pytest.fixture
def reactor():
    return Clock()


def start(reactor, answer=None):
    batches = []

    def propose(batch):
        batches.append([(c.node, c.coord.vec[0]) for c in batch.coordinates])
        return succeed(None) if answer is None else fail(answer)

    updates = CoordinateUpdates(reactor)
    updates.start(propose, PACE)
    return updates, batches


def test_the_newest_of_each_node_is_proposed_after_a_period(reactor):
    """Nothing leaves before; an older coordinate is replaced."""
    updates, batches = start(reactor)
    updates.add(place("a", 1.0))
    updates.add(place("b", 2.0))
    updates.add(place("a", 3.0))
    reactor.advance(4.9)
    assert batches == []
    reactor.advance(0.1)
    assert batches == [[("a", 3.0), ("b", 2.0)]]
    assert len(updates) == 0


def test_more_than_a_batch_becomes_several(reactor):
    """Segments of one node count apart."""
    updates, batches = start(reactor)
    for segment in ("", "x", "y"):
        updates.add(place("a", segment=segment))
    reactor.advance(5)
    assert [len(batch) for batch in batches] == [2, 1]


def test_more_than_a_period_has_room_for_is_dropped(reactor):
    """Nodes that are pending already are still brought up to date."""
    updates, batches = start(reactor)
    for number in range(9):
        updates.add(place(f"n{number}"))
    updates.add(place("n0", 7.0))
    reactor.advance(5)
    assert [node for batch in batches for node, _ in batch] == ["n0", "n1", "n2", "n3"]
    assert batches[0][0] == ("n0", 7.0)


def test_an_idle_leader_has_no_timer(reactor):
    """A timer runs only while something is pending."""
    updates, _ = start(reactor)
    assert reactor.getDelayedCalls() == []
    updates.add(place("a"))
    reactor.advance(5)
    assert reactor.getDelayedCalls() == []


def test_a_failed_batch_is_given_up(reactor):
    """The nodes tell where they are again soon."""
    updates, batches = start(reactor, NoLeader())
    updates.add(place("a"))
    reactor.advance(5)
    assert len(batches) == 1
    assert len(updates) == 0


def test_nothing_is_kept_while_nobody_leads(reactor):
    """Neither before the start nor after the stop."""
    updates = CoordinateUpdates(reactor)
    updates.add(place("a"))
    assert len(updates) == 0
    updates, batches = start(reactor)
    updates.add(place("a"))
    updates.stop()
    updates.add(place("b"))
    reactor.advance(50)
    assert (len(updates), batches) == (0, [])
