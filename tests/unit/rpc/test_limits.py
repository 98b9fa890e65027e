"""Limits of requests."""

import math

from consultwist.rpc.limits import RateLimit
from consultwist.testing.clock import SimClock


def test_a_bucket_gives_its_burst_and_then_its_rate():
    """Tokens come back at the rate, and never exceed the burst."""
    clock = SimClock()
    limit = RateLimit(clock, 2.0, 3)
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]
    clock.advance(0.5)
    assert [limit.allows() for _ in range(2)] == [True, False]
    clock.advance(60)
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]


def test_tokens_to_come_can_be_taken_in_advance():
    """Whoever takes one is told how long it takes to come."""
    clock = SimClock()
    limit = RateLimit(clock, 2.0, 1)
    assert [limit.reserve() for _ in range(3)] == [0.0, 0.5, 1.0]
    clock.advance(1.0)
    assert limit.reserve() == 0.5


def test_without_a_rate_nobody_waits():
    """An infinite rate has no bucket; other limits can be set at any time."""
    limit = RateLimit(SimClock(), math.inf, 1)
    assert [limit.reserve() for _ in range(3)] == [0.0, 0.0, 0.0]
    limit.set(1.0, 1)
    assert [limit.allows() for _ in range(2)] == [True, False]
