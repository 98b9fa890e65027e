"""Deadlines of sessions, under one timer, however many there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock

from consultwist.errors import NoLeader
from consultwist.server.session_timers import RETRY_S, SessionTimers
from consultwist.structs.session import Session
from consultwist.structs.uuids import uuid_text
from consultwist.testing.clock import ReactorClock


class World:
    """Timers, and what they ended."""

    def __init__(self, *sessions, failing=False):
        self.reactor = Clock()
        self.failing = failing
        self.ended = []
        self.timers = SessionTimers(self.reactor, ReactorClock(self.reactor))
        self.timers.start(sessions, self.expire)

    def expire(self, session_id):
        self.ended.append((session_id, self.reactor.seconds()))
        return fail(NoLeader()) if self.failing else succeed(None)


def _session(number, ttl="10s"):
    return Session(id=uuid_text(number), ttl=ttl)


@pytest.mark.parametrize("ttl", ["", "0s", "nonsense"])
def test_sessions_without_a_ttl_have_no_deadline(ttl):
    """Nor those with one that cannot be read, which no endpoint lets through."""
    world = World(_session(1, ttl))
    assert len(world.timers) == 0
    assert world.reactor.getDelayedCalls() == []


def test_one_timer_serves_all():
    """It is armed for the earliest deadline."""
    world = World(*(_session(n, f"{10 + n}s") for n in range(100)))
    assert len(world.timers) == 100
    (call,) = world.reactor.getDelayedCalls()
    assert call.getTime() == 20.0


def test_a_forgotten_session_does_not_end():
    """It was destroyed by someone else."""
    world = World(_session(1), _session(2))
    world.timers.forget(uuid_text(1).upper())
    world.reactor.advance(100)
    assert [session_id for session_id, _ in world.ended] == [uuid_text(2)]


def test_forgotten_sessions_do_not_pile_up():
    """Creating and destroying sessions for ever takes no memory."""
    world = World()
    for number in range(10_000):
        world.timers.renew(_session(number, "24h"))
        world.timers.forget(uuid_text(number))
    assert len(world.timers) == 0
    assert len(world.timers._heap) < 2_000


def test_a_failed_end_is_tried_again():
    """Until it succeeds, as long as this server leads."""
    world = World(_session(1), failing=True)
    world.reactor.advance(20)
    world.failing = False
    world.reactor.advance(RETRY_S)
    world.reactor.advance(10 * RETRY_S)
    assert [at for _, at in world.ended] == [20.0, 20.0 + RETRY_S]


def test_nothing_is_kept_while_stopped():
    """Renewals of a server that does not lead have no effect."""
    world = World(_session(1))
    world.timers.stop()
    world.timers.renew(_session(2))
    world.reactor.advance(100)
    assert world.ended == []
    assert len(world.timers) == 0
    assert world.reactor.getDelayedCalls() == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.integers(0, 4),
            st.sampled_from(["renew", "forget"]),
        ),
        max_size=40,
    )
)
def test_every_session_ends_twice_its_ttl_after_the_last_renewal(steps):
    """Never earlier, never later than the timer's turn, and exactly once."""
    world = World()
    deadlines: dict[int, float] = {}
    expected = []
    steps = [*steps, (100.0, 0, "nothing")]
    for pause, number, what in steps:
        target = world.reactor.seconds() + pause
        while deadlines and min(deadlines.values()) <= target:
            due = min(deadlines, key=lambda n: (deadlines[n], n))
            expected.append((uuid_text(due), deadlines.pop(due)))
            world.reactor.advance(max(0.0, expected[-1][1] - world.reactor.seconds()))
        world.reactor.advance(max(0.0, target - world.reactor.seconds()))
        if what == "renew":
            world.timers.renew(_session(number))
            deadlines[number] = world.reactor.seconds() + 20.0
        elif what == "forget":
            world.timers.forget(uuid_text(number))
            deadlines.pop(number, None)
    assert sorted(world.ended) == sorted(expected)
