"""What a server makes of connections, by their first byte."""

from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.protocol import Protocol

from consultwist.rpc.codec import encode_error, encode_request, encode_response
from consultwist.rpc.conversation import Conversation, PendingBytes
from consultwist.structs.kv import KeyRequest
from consultwist.testing.deferred import result_of
from consultwist.wire import msgpack


def request(key, seq=1):
    return encode_request(seq, "Echo.Say", KeyRequest(key=key).pack())


def response(key, seq=1):
    return encode_response(seq, "Echo.Say", msgpack.pack(key))


def test_byte_0_is_one_conversation(world):
    """Requests written ahead are answered in their order."""
    raw = world.dial(b"\x00" + request("a", 1) + request("b", 7))
    assert raw.received == response("a", 1) + response("b", 7)
    assert not raw.is_lost


def test_a_request_waits_for_the_one_before_it(world):
    """One call at a time on a stream."""
    raw = world.dial(b"\x00" + request("wait") + request("b"))
    assert raw.received == b""
    world.waiting[0].callback("a")
    world.run()
    assert raw.received == response("a") + response("b")


def test_byte_1_goes_to_raft(world):
    """With all that follows it."""
    got: list[bytes] = []
    protocol = Protocol()
    protocol.dataReceived = got.append  # type: ignore[method-assign,assignment]
    world.raft.append(protocol)
    raw = world.dial(b"\x01abc")
    raw.write(b"def")
    world.run()
    assert b"".join(got) == b"abcdef"


@pytest.mark.parametrize("byte", [2, 3, 5, 6, 7, 8, 9, 0x16, 255])
def test_other_bytes_are_refused_without_a_word(world, byte):
    """TLS among them, where no certificate is configured."""
    raw = world.dial(bytes([byte]) + b"more")
    assert raw.is_lost
    assert raw.received == b""
    assert world.connections == 0


def test_a_connection_must_say_soon_what_it_is(world):
    """The handshake's time is limited; afterwards it may be silent."""
    silent, speaking = world.dial(), world.dial(b"\x00")
    world.run(6)
    assert silent.is_lost
    assert not speaking.is_lost


def test_a_client_may_have_only_so_many_connections(world):
    """One more is closed at once; when others go there is room again."""
    world.listener.limit.most = 2
    first, _, third = (world.dial(b"\x00") for _ in range(3))
    assert third.is_lost
    assert first.transport is not None
    first.transport.loseConnection()
    world.run()
    assert not world.dial(b"\x00").is_lost


def test_an_undecodable_argument_ends_the_conversation(world):
    """After an error."""
    raw = world.dial(b"\x00" + encode_request(3, "Echo.Say", b"\x01"))
    text = "msgpack: a map was expected for KeyRequest"
    assert raw.received == encode_error(3, "Echo.Say", text)
    assert raw.is_lost


@pytest.mark.parametrize("data", [b"\xc1", b"\x01\x02", b"\x93\x01\x02\x03"])
def test_what_is_no_request_ends_the_connection(world, data):
    """Without an answer."""
    raw = world.dial(b"\x00" + data)
    assert raw.is_lost
    assert raw.received == b""


def test_a_call_is_cancelled_when_its_client_leaves(world):
    """A long poll of somebody who is gone holds nothing."""
    raw = world.dial(b"\x00" + request("wait"))
    raw.transport.loseConnection()
    world.run()
    assert world.cancelled == world.waiting


def test_a_client_that_ends_its_side_gets_its_answers(world):
    """Then the other side is ended, too."""
    raw = world.dial(b"\x00" + request("wait") + request("b"))
    raw.end()
    world.run()
    assert not raw.is_lost
    world.waiting[0].callback("a")
    world.run()
    assert raw.received == response("a") + response("b")
    assert raw.is_lost


def test_a_server_that_stops_ends_its_connections(world):
    """And takes no more."""
    raw = world.dial(b"\x00")
    stopped = world.listener.stopService()
    world.run()
    result_of(stopped)
    assert raw.is_lost
    assert world.connections == 0


class Recorder:
    """A transport that notes what is done with it."""

    def __init__(self):
        self.calls: list[str] = []
        self.written = b""

    def write(self, data):
        self.written += data

    def __getattr__(self, name):
        return lambda *_: self.calls.append(name)


def converse(answers: Any = None, pending=None):
    answers = answers or SimpleNamespace(dispatcher=SimpleNamespace())
    talk = Conversation(answers, pending or PendingBytes())
    transport: Any = Recorder()
    talk.makeConnection(transport)
    return talk, transport


def test_a_client_that_writes_far_ahead_is_not_read(world):
    """Until the call before has ended."""
    talk, transport = converse(world)
    talk.dataReceived(request("wait") + request("x") * 100)
    assert transport.calls.count("pauseProducing") == 1
    world.waiting[0].callback("a")
    assert transport.calls.count("resumeProducing") == 1
    assert transport.written == response("a") + response("x") * 100


def test_a_client_that_does_not_read_gets_no_more(world):
    """Further requests wait."""
    talk, transport = converse(world)
    talk.pauseProducing()
    talk.dataReceived(request("x"))
    assert transport.written == b""
    talk.resumeProducing()
    assert transport.written == response("x")


def test_unfinished_requests_have_a_bound_per_connection(world):
    """Over all its streams; what ends gives room back."""
    pending = PendingBytes(1000)
    half = request("x" * 2000)[:600]
    first, one = converse(world, pending)
    first.dataReceived(half)
    second, other = converse(world, pending)
    second.dataReceived(half)
    assert "abortConnection" not in one.calls
    assert "abortConnection" in other.calls
    first.connectionLost()
    second.connectionLost()
    third, last = converse(world, pending)
    third.dataReceived(half)
    assert "abortConnection" not in last.calls
