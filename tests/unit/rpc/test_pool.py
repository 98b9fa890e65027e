"""Calls over pooled connections, to a server on another simulated host."""

import pytest
from twisted.internet.defer import CancelledError

from consultwist.errors import (
    CallInterrupted,
    ConsultwistError,
    RPCError,
    ServerUnreachable,
)
from consultwist.testing.deferred import failure_of, no_result_of, result_of


def test_a_call_brings_the_reply(world):
    """Over a connection that is made for it."""
    called = world.say("hello")
    world.run()
    assert result_of(called) == b"hello"
    assert world.connections == 1


def test_calls_share_one_connection_and_use_streams_again(world):
    """Also those that are made before it is there."""
    called = [world.say(f"k{n}") for n in range(50)]
    world.run()
    assert [result_of(each) for each in called] == [b"k%d" % n for n in range(50)]
    streams = len(world.pool._connections["10.0.0.1:8300", "dc1"]._idle)
    assert streams == 32
    again = world.say("again")
    world.run()
    assert result_of(again) == b"again"
    assert world.connections == 1


def test_large_replies_and_requests_pass(world):
    """Larger than the window of a stream."""
    called = world.say("x" * 700_000)
    world.run(20)
    assert result_of(called) == b"x" * 700_000


def test_a_long_call_does_not_hold_up_others(world):
    """Each has a stream of its own."""
    waiting, other = world.say("wait"), world.say("quick")
    world.run()
    assert result_of(other) == b"quick"
    no_result_of(waiting)
    world.waiting[0].callback("now")
    world.run()
    assert result_of(waiting) == b"now"


def test_errors_come_with_the_prefix_of_the_hop(world):
    """The stream is not used again, the connection is."""
    called = world.say("fail")
    world.run()
    error = failure_of(called, RPCError)
    assert str(error) == "rpc error making call: it failed"
    called = world.say("fine")
    world.run()
    assert result_of(called) == b"fine"
    assert world.connections == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_fault_of_the_server_is_an_error_too(world):
    """The text is the exception's, as Go would send it."""
    called = world.say("break")
    world.run()
    failure_of(called, RPCError)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Nothing.Say", "rpc: can't find service Nothing.Say"),
        ("Echo.Shout", "rpc: can't find method Echo.Shout"),
        ("Echo", "rpc: service/method request ill-formed: Echo"),
    ],
)
def test_unknown_methods_are_refused_in_gos_words(world, name, text):
    """And the conversation ends."""
    called = world.say("x", name)
    world.run()
    assert str(failure_of(called, RPCError)) == f"rpc error making call: {text}"


def test_a_cancelled_call_is_cancelled_at_the_server(world):
    """So that a long poll holds nothing when its client has left."""
    waiting = world.say("wait")
    world.run()
    waiting.cancel()
    failure_of(waiting, CancelledError)
    world.run()
    assert world.cancelled == world.waiting


def test_calls_fail_when_the_connection_is_lost(world):
    """They may have been done; the next call makes a new connection."""
    waiting = world.say("wait")
    world.run()
    for connection in list(world.listener._connections):
        connection.abort()
    world.run()
    error = failure_of(waiting, CallInterrupted)
    assert str(error) == "rpc error making call: EOF"
    assert world.cancelled == world.waiting
    called = world.say("again")
    world.run()
    assert result_of(called) == b"again"


def test_a_server_that_is_not_there_is_told(world):
    """Nothing was asked of it."""
    world.listener.stopService()
    called = world.say("x")
    world.run()
    error = failure_of(called, ServerUnreachable)
    assert str(error) == (
        "rpc error getting client: failed to get conn: "
        "dial tcp 10.0.0.1:8300: connect: connection refused"
    )


def test_a_call_takes_no_longer_than_it_may(world):
    """Seen at the next tick; the stream is ended."""
    waiting = world.say("wait", timeout_s=7.0)
    world.run(5.5)
    no_result_of(waiting)
    world.run(5.5)
    failure_of(waiting, CallInterrupted)
    assert world.cancelled == world.waiting


def test_idle_connections_are_closed(world):
    """After two minutes without a call."""
    called = world.say("x")
    world.run(120)
    assert world.connections == 1
    world.run(15)
    assert world.connections == 0
    assert result_of(called) == b"x"
    assert world.pool._timer is None or world.pool._connections


def test_a_connection_in_use_is_not_idle(world):
    """However long the call takes, keep-alive holds it."""
    waiting = world.say("wait", timeout_s=700.0)
    world.run(600)
    no_result_of(waiting)
    world.waiting[0].callback("late")
    world.run()
    assert result_of(waiting) == b"late"


def test_a_closed_pool_ends_and_refuses_calls(world):
    """Without leaving timers behind."""
    waiting, opening = world.say("wait"), world.say("x")
    world.pool.close()
    failure_of(waiting, ServerUnreachable)
    failure_of(opening, ServerUnreachable)
    with pytest.raises(ConsultwistError):
        world.say("y")
    world.run(6)  # the handshake's time, where a connection was just being made
    assert world.connections == 0
