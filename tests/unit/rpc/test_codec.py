"""The RPC codec against everything that was recorded of a real server."""

import json
from pathlib import Path

import pytest
from twisted.plugin import getPlugins

from consultwist.errors import WireError
from consultwist.interfaces import IRPCEndpoint
from consultwist.rpc.codec import (
    MessageDecoder,
    RequestHeader,
    ResponseHeader,
    encode_error,
    encode_request,
    encode_response,
)
from consultwist.rpc.replies import reply_type
from consultwist.wire import msgpack
from consultwist.wire.msgpack import StreamUnpacker

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc"
CALLS = json.loads((VECTORS / "methods.json").read_text())
STRUCTURES = json.loads((VECTORS / "structures.json").read_text())
METHODS = {
    method.name: method
    for endpoint in getPlugins(IRPCEndpoint)
    for method in endpoint.methods()
}


def split(text):
    """Return header and body of a recorded message, and the body's bytes."""
    data = bytes.fromhex(text)
    ((header, body),) = MessageDecoder().feed(data)
    unpacker = StreamUnpacker()
    unpacker.feed(data)
    next(iter(unpacker))
    return header, body, data[-unpacker.pending :]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call["id"])
def test_every_recorded_message_is_framed_as_recorded(call):
    """Headers are read, and the same bytes are made from them."""
    raw, _, body = split(call["request_hex"])
    header = RequestHeader.from_raw(raw)
    assert header.to_raw() == call["request_header"]
    made = encode_request(header.seq, header.service_method, body)
    assert made.hex() == call["request_hex"]
    raw, _, body = split(call["response_hex"])
    answer = ResponseHeader.from_raw(raw)
    assert answer.to_raw() == call["response_header"]
    if answer.error:
        made = encode_error(answer.seq, answer.service_method, answer.error)
    else:
        made = encode_response(answer.seq, answer.service_method, body)
    assert made.hex() == call["response_hex"]


@pytest.mark.parametrize(
    "call",
    [
        call
        for call in CALLS
        if call["method"] in METHODS and not call["response_header"]["Error"]
    ],
    ids=lambda call: call["id"],
)
def test_every_recorded_call_of_our_methods_is_understood(call):
    """Arguments and replies are read, and come out as the same bytes."""
    method = METHODS[call["method"]]
    _, raw, body = split(call["request_hex"])
    request = method.request.from_raw(raw)
    is_empty = STRUCTURES["methods"][method.name]["argument"] == "-"
    if call["reencodes_identically"] and not is_empty:
        assert request.pack() == body
    _, raw, body = split(call["response_hex"])
    reply = method.reply.read(raw)
    if call["reencodes_identically"]:
        assert method.reply.pack(reply) == body


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_have_the_types_of_a_stock_server(name):
    """Argument and reply, as the table of structures has them."""
    recorded = STRUCTURES["methods"][name]
    method = METHODS[name]
    assert method.reply.name == recorded["reply"].rstrip("!")
    request = reply_type(method.request).name
    # An argument without fields may hold more: it is skipped or zero.
    assert recorded["argument"].rstrip("!") in (request, "-")


def test_messages_may_come_in_any_pieces():
    """Each is given out when its last byte is there."""
    data = b"".join(bytes.fromhex(call["request_hex"]) for call in CALLS[:3])
    decoder = MessageDecoder()
    found = [pair for byte in data for pair in decoder.feed(bytes([byte]))]
    assert [header[b"Seq"] for header, _ in found] == [
        call["request_header"]["Seq"] for call in CALLS[:3]
    ]
    assert decoder.is_between_messages


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x01",
        msgpack.pack([1]) + b"\x80",
        b"\xdb\xff\xff\xff\xff" + bytes(50),
    ],
)
def test_what_is_no_message_is_refused(data):
    """Also a length that no message has."""
    with pytest.raises(WireError):
        list(MessageDecoder(40).feed(data))


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(str, 1), (bool, b"x"), (int, b"x"), (list[str], None), (list[str], [1])],
)
def test_a_reply_of_another_type_is_refused(kind, raw):
    """It is the other server's fault, and said so."""
    with pytest.raises(WireError):
        reply_type(kind).read(raw)


@pytest.mark.parametrize("kind", [dict, list[int], object])
def test_types_that_do_not_cross_the_wire_are_refused(kind):
    """When the method is declared, not when it is called."""
    with pytest.raises(TypeError):
        reply_type(kind)
