"""The driver: actions in order, one timer, nothing after the end."""

import pytest
from twisted.internet.task import Clock

from consultwist.driver import CoreDriver
from consultwist.testing.clock import ReactorClock


class Core:
    """A core whose actions and timer a test sets."""

    def __init__(self):
        self.actions = []
        self.due = None
        self.fired = []

    def handle_timer(self, now):
        self.fired.append(now)
        self.due = None
        self.actions.append(f"timer {now}")

    def next_timer(self):
        return self.due

    def take_actions(self):
        taken, self.actions = self.actions, []
        return taken


class World:
    """A driven core, and what was performed."""

    def __init__(self):
        self.reactor = Clock()
        self.core = Core()
        self.performed = []
        self.on_perform = {}
        self.driver = CoreDriver(
            self.reactor, ReactorClock(self.reactor), self.core, self.perform
        )

    def perform(self, action):
        self.performed.append(action)
        self.on_perform.pop(action, lambda: None)()

    def timers(self):
        return [call.getTime() for call in self.reactor.getDelayedCalls()]


@pytest.fixture
def world():
    return World()


def test_actions_are_performed_in_the_order_in_which_they_were_asked_for(world):
    """Also those that performing others brought about: an inner flush waits."""

    def feed_again():
        world.core.actions += ["c", "d"]
        world.driver.flush()

    world.core.actions = ["a", "b"]
    world.on_perform["a"] = feed_again
    world.driver.flush()
    assert world.performed == ["a", "b", "c", "d"]


def test_one_timer_follows_the_core(world):
    """Armed, moved both ways, cancelled."""
    for due, armed in ((5.0, [5.0]), (9.0, [9.0]), (2.0, [2.0]), (None, [])):
        world.core.due = due
        world.driver.flush()
        assert world.timers() == armed


def test_a_timer_that_has_not_moved_is_left_alone(world):
    """Resetting it would cost on every packet."""
    world.core.due = 5.0
    world.driver.flush()
    (call,) = world.reactor.getDelayedCalls()
    world.driver.flush()
    assert world.reactor.getDelayedCalls() == [call]


def test_the_timer_feeds_the_core_and_performs_what_it_asks(world):
    """With the present time; a due time in the past fires at once."""
    world.core.due = 5.0
    world.driver.flush()
    world.reactor.advance(5.0)
    assert world.core.fired == [5.0]
    assert world.performed == ["timer 5.0"]
    world.core.due = 1.0
    world.driver.flush()
    world.reactor.advance(0.0)
    assert world.core.fired == [5.0, 5.0]


def test_nothing_happens_after_the_end(world):
    """Neither timers nor actions, whatever the core still wants."""
    world.core.due = 5.0
    world.driver.flush()
    world.driver.stop()
    world.core.actions = ["a"]
    world.driver.flush()
    world.reactor.advance(10.0)
    assert world.performed == []
    assert world.timers() == []


def test_stopping_from_within_an_action_arms_no_timer(world):
    """The rest of the batch is still performed: it was asked for before."""
    world.core.actions = ["a", "b"]
    world.core.due = 5.0
    world.on_perform["a"] = world.driver.stop
    world.driver.flush()
    assert world.performed == ["a", "b"]
    assert world.timers() == []


def test_an_action_that_fails_does_not_jam_the_driver(world):
    """The error goes to whoever fed the core; the next flush works."""

    def fail():
        raise RuntimeError("broken")

    world.core.actions = ["a"]
    world.on_perform["a"] = fail
    with pytest.raises(RuntimeError):
        world.driver.flush()
    world.core.actions = ["b"]
    world.driver.flush()
    assert world.performed == ["a", "b"]
