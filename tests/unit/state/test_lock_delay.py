"""Keys stay unlockable for a while after their holder ended."""

import pytest
from twisted.internet.task import Clock

from consultwist.durations import SECOND
from consultwist.state.lock_delay import LockDelays, LockReleased
from consultwist.testing.clock import ReactorClock


@pytest.fixture
def reactor():
    return Clock()


@pytest.fixture
def delays(reactor):
    return LockDelays(ReactorClock(reactor))


@pytest.mark.parametrize(
    ("delay", "held_s"), [(15 * SECOND, 15.0), (3600 * SECOND, 60.0), (0, 0.0)]
)
def test_a_delay_lasts_as_long_as_it_says_but_a_minute_at_most(
    reactor, delays, delay, held_s
):
    """A delay of nothing is none."""
    delays.observe(LockReleased("a", delay))
    if held_s:
        reactor.advance(held_s - 0.001)
        assert delays.holds("a")
        reactor.advance(0.001)
    assert not delays.holds("a")
    assert not delays.holds("b")


def test_a_negative_delay_is_none(delays):
    """Go's durations may be negative."""
    delays.observe(LockReleased("a", -5))
    assert not delays.holds("a")


def test_other_notes_are_ignored(delays):
    """Observers get notes of all kinds."""
    delays.observe("something else")
    assert not delays.holds("something else")


def test_expired_delays_do_not_pile_up(reactor, delays):
    """They are swept out when there are many."""
    sizes = []
    for number in range(20_000):
        delays.observe(LockReleased(f"key-{number}", SECOND))
        reactor.advance(0.001)
        sizes.append(len(delays))
    assert max(sizes) < 6_000
