"""Long turns of the reactor are reported, short ones cost next to nothing."""

import pytest

from consultwist.telemetry.turns import TurnMonitor


class Poller:
    """A poller that a test makes wait."""

    def __init__(self, reactor):
        self._reactor = reactor
        self.asked = []

    def poll(self, *args):
        """Wait ten seconds for an event."""
        self.asked.append(args)
        self._reactor.advance(10)
        return [("event", 1)]

    def register(self, descriptor):
        """Do what pollers do besides."""
        return f"registered {descriptor}"


class Reactor:
    """A reactor with a poller."""

    def __init__(self, poller):
        self._poller = poller


@pytest.fixture
def world(reactor, clock, metrics):
    """A reactor that is watched, and what counts for it."""
    poller = Poller(reactor)
    watched = Reactor(poller)
    monitor = TurnMonitor(clock, metrics)
    return watched, poller, monitor


def observed(metrics):
    """Return the slow turns that were counted."""
    return [(s.count, s.max) for s in metrics.summary().samples or []]


def test_a_long_turn_is_counted_with_its_time(world, reactor, metrics):
    """What happens between two polls is the turn; waiting is not."""
    watched, poller, monitor = world
    monitor.install(watched)
    assert watched._poller.poll(5, 3) == [("event", 1)]
    reactor.advance(0.120)
    watched._poller.poll(5, 3)
    assert poller.asked == [(5, 3), (5, 3)]
    ((count, longest),) = observed(metrics)
    assert count == 1
    assert longest == pytest.approx(120)
    assert monitor.longest_s == pytest.approx(0.120)


def test_short_turns_and_the_start_are_not_reported(world, reactor, metrics):
    """Fifty milliseconds are allowed, and the agent may take its time to start."""
    watched, _, monitor = world
    monitor.install(watched)
    reactor.advance(2)
    watched._poller.poll()
    reactor.advance(0.049)
    watched._poller.poll()
    assert observed(metrics) == []
    assert monitor.longest_s == pytest.approx(0.049)


def test_the_poller_stays_usable_and_comes_back(world):
    """Everything else of the poller works, and removing leaves no trace."""
    watched, poller, monitor = world
    remove = monitor.install(watched)
    assert watched._poller.register(4) == "registered 4"
    assert watched._poller.register(5) == "registered 5"
    remove()
    assert watched._poller is poller


def test_a_reactor_without_a_poller_is_left_alone(clock, metrics):
    """Other reactors run as they are."""
    watched = object()
    TurnMonitor(clock, metrics).install(watched)()
    assert observed(metrics) == []
