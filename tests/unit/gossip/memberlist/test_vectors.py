"""Captured packets and streams of real members decode to what they mean."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from consultwist.gossip.memberlist import lzw, messages
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.messages import (
    Ack,
    Alive,
    Dead,
    ErrorAnswer,
    IndirectPing,
    Nack,
    Ping,
    Suspect,
)
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.stream import (
    Compressed,
    PushPull,
    StreamReader,
    UserData,
    inflate,
)
from consultwist.gossip.serf import messages as serf
from consultwist.gossip.serf.members import decode_tags, encode_tags
from consultwist.testing.lzw import deflate
from consultwist.wire import msgpack

FOLDER = Path(__file__).resolve().parents[3] / "vectors" / "gossip"


def load(name: str) -> Any:
    """Return one JSON file of the vectors."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


FRAMES = {frame["id"]: frame for frame in load("index.json")["frames"]}
MESSAGES = load("messages.json")["messages"]


def frame_bytes(frame: dict[str, Any]) -> bytes:
    """Return what was captured."""
    return bytes.fromhex((FOLDER / frame["file"]).read_text(encoding="ascii").strip())


def codec_for(frame: dict[str, Any]) -> PacketCodec:
    """Return the codec of the pool that a frame belongs to."""
    crypto = frame.get("crypto")
    keys = [bytes.fromhex(crypto["key_hex"])] if crypto else []
    label = b"alpha" if "label" in frame["id"] else b""
    return PacketCodec(Keyring(keys), label=label)


def leaves(decoded: Any) -> list[dict[str, Any]]:
    """Return the messages inside the described layers, outermost wrappers removed."""
    if isinstance(decoded, list):
        return leaves(decoded[-1])
    if "parts" in decoded:
        return [leaf for part in decoded["parts"] for leaf in leaves(part)]
    if decoded["type"] in ("hasCrc", "compress"):
        return leaves(decoded["inner"])
    return [decoded]


def plain(value: Any) -> Any:
    """Return a described value as the decoder gives it; nil and empty are the same."""
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def assert_fields(raw: dict[str, Any], described: dict[str, Any]) -> None:
    """Compare a record's wire form with the description of its fields."""
    for name, expected in described.items():
        wanted, found = plain(expected), raw[name]
        if name == "Vsn" and isinstance(wanted, list):
            wanted = bytes(wanted)
        assert (found or None) == (wanted or None), name


KINDS: dict[str, tuple[int, type[Any]]] = {
    "ping": (messages.PING, Ping),
    "indirectPing": (messages.INDIRECT_PING, IndirectPing),
    "ackResp": (messages.ACK, Ack),
    "nackResp": (messages.NACK, Nack),
    "suspect": (messages.SUSPECT, Suspect),
    "alive": (messages.ALIVE, Alive),
    "dead": (messages.DEAD, Dead),
    "err": (messages.ERROR, ErrorAnswer),
}
SERF_KINDS: dict[str, tuple[int, type[Any]]] = {
    "leave": (serf.LEAVE, serf.LeaveIntent),
    "join": (serf.JOIN, serf.JoinIntent),
    "userEvent": (serf.USER_EVENT, serf.UserEvent),
    "query": (serf.QUERY, serf.Query),
    "queryResponse": (serf.QUERY_RESPONSE, serf.QueryResponse),
}


def assert_serf(data, described):
    if described["serf"] == "relay":
        header, inner = serf.decode_relay(data[1:])
        address = described["header"]["DestAddr"]
        assert_fields(header.dest_addr.to_raw(), address)
        assert header.dest_name == described["header"]["DestName"]
        assert_serf(inner, described["inner"])
        return
    kind, cls = SERF_KINDS[described["serf"]]
    assert data[0] == kind
    assert_fields(serf.decode(cls, data[1:]).to_raw(), described["body"])


def assert_message(message, leaf):
    if leaf["type"] == "user":
        assert message[0] == messages.USER
        assert_serf(message[1:], leaf["body"])
        return
    kind, cls = KINDS[leaf["type"]]
    assert message[0] == kind
    assert_fields(messages.decode(cls, message[1:]).to_raw(), leaf["body"])


def frames(transport):
    return [f for f in FRAMES.values() if f["transport"] == transport]


@pytest.mark.parametrize("frame", frames("udp"), ids=lambda frame: frame["id"])
def test_a_captured_packet_holds_what_is_described(frame):
    """Every captured datagram is unwrapped to exactly its messages."""
    codec = codec_for(frame)
    found = codec.unpack(frame_bytes(frame))
    described = leaves(frame["decoded"])
    assert not codec.dropped
    assert len(found) == len(described)
    for message, leaf in zip(found, described, strict=True):
        assert_message(message, leaf)


def read_stream(frame, chunk):
    is_answer = any(word in frame["id"] for word in ("response", "-ack", "-err-"))
    reader = StreamReader(codec_for(frame), is_dialing=is_answer)
    data, message = frame_bytes(frame), None
    for start in range(0, len(data), chunk):
        assert message is None
        message = reader.feed(data[start : start + chunk])
    return inflate(message) if isinstance(message, Compressed) else message


@pytest.mark.parametrize("chunk", [7, 1_000_000])
@pytest.mark.parametrize("frame", frames("tcp"), ids=lambda frame: frame["id"])
def test_a_captured_stream_holds_what_is_described(frame, chunk):
    """Every captured stream is read to its message, however it is cut."""
    message = read_stream(frame, chunk)
    (leaf,) = leaves(frame["decoded"])
    if leaf["type"] == "pushPull":
        assert_push_pull(message, leaf)
    elif leaf["type"] == "user(stream)":
        assert isinstance(message, UserData)
        assert_serf(message.data, leaf["body"])
    else:
        assert_fields(message.to_raw(), leaf["body"])


def assert_push_pull(message, leaf):
    assert isinstance(message, PushPull)
    assert message.join == leaf["header"]["Join"]
    assert len(message.nodes) == leaf["header"]["Nodes"]
    assert len(message.user_state) == leaf["header"]["UserStateLen"]
    for node, described in zip(message.nodes, leaf["nodes"], strict=True):
        assert_fields(node.to_raw(), described)
    state = serf.decode(serf.SerfState, message.user_state[1:])
    body = leaf["user_state"]["body"]
    assert message.user_state[0] == serf.PUSH_PULL
    for name in ("LTime", "EventLTime", "QueryLTime", "StatusLTimes", "LeftMembers"):
        assert (state.to_raw()[name] or None) == (body[name] or None)
    if "Events_length" in body:
        assert_events(state.events, body)


def assert_events(events, body):
    assert len(events) == body["Events_length"]
    for number, slot in enumerate(events):
        described = body["Events_non_nil"].get(str(number))
        if described is None:
            assert slot is None
            continue
        assert slot.l_time == described["LTime"]
        for event, wanted in zip(slot.events, described["Events"], strict=True):
            assert event.name == wanted["Name"]
            assert_payload(event.payload or b"", wanted["Payload"])


def assert_payload(payload, described):
    if "sha256" in described:
        assert hashlib.sha256(payload).hexdigest() == described["sha256"]
    else:
        assert payload == plain(described)


IDENTICAL = [
    message for message in MESSAGES if message["old_spec_sorted_reencode_is_identical"]
]


@pytest.mark.parametrize(
    "entry", IDENTICAL, ids=[entry["from_frame"] for entry in IDENTICAL]
)
def test_a_message_is_written_as_the_peer_wrote_it(entry):
    """Decoding and encoding a captured message gives the same bytes."""
    data = bytes.fromhex(entry["hex"])
    if entry["type"].startswith("user/"):
        kind, cls = SERF_KINDS[entry["type"].partition("/")[2]]
        again = serf.user(serf.encode(kind, serf.decode(cls, data[2:])))
    else:
        kind, cls = KINDS[entry["type"]]
        again = messages.encode(kind, messages.decode(cls, data[1:]))
    assert again == data


def test_a_relayed_message_is_written_as_the_peer_wrote_it():
    """The header of a relay and what follows come back unchanged."""
    (entry,) = [e for e in MESSAGES if e["type"] == "user/relay"]
    data = bytes.fromhex(entry["hex"])
    header, inner = serf.decode_relay(data[2:])
    assert serf.user(serf.encode(serf.RELAY, header) + inner) == data


@pytest.mark.parametrize("name", ["ml-pushpull-request", "ml-pushpull-response-join"])
def test_a_full_exchange_is_written_as_the_peer_wrote_it(name):
    """Header, members and Serf's state come back unchanged."""
    entry = next(e for e in MESSAGES if e["from_frame"] == name)
    data = bytes.fromhex(entry["hex"])
    message = read_stream(FRAMES[name], 1_000_000)
    state = serf.decode(serf.SerfState, message.user_state[1:])
    head = messages.PushPullHeader(
        nodes=len(message.nodes),
        user_state_len=len(message.user_state),
        join=message.join,
    )
    again = messages.encode(messages.PUSH_PULL, head)
    again += b"".join(node.pack() for node in message.nodes)
    again += serf.encode(serf.PUSH_PULL, state)
    assert again == data


LZW = load("lzw.json")["vectors"]


@pytest.mark.parametrize("vector", LZW, ids=lambda vector: vector["from_frame"])
def test_both_dialects_of_lzw_are_read_and_written(vector):
    """Streams with and without a leading clear code inflate to the same."""
    if "plain_hex" not in vector:
        frame = FRAMES[vector["from_frame"]]
        raw, _ = msgpack.unpack_first(frame_bytes(frame)[1:])
        plain = lzw.inflate(raw[b"Buf"], 100_000)
        assert hashlib.sha256(plain).hexdigest() == vector["plain_sha256"]
        clears = vector["captured"] == "with_leading_clear"
        assert deflate(plain, begins_with_clear=clears) == raw[b"Buf"]
        return
    plain = bytes.fromhex(vector["plain_hex"])
    for clears, name in ((True, "with"), (False, "without")):
        packed = bytes.fromhex(vector[f"{name}_leading_clear_hex"])
        assert lzw.inflate(packed, len(plain)) == plain
        assert deflate(plain, begins_with_clear=clears) == packed


def test_a_query_of_newer_members_is_understood():
    """Signed integers above 127 come in another family and mean the same."""
    entry = next(e for e in MESSAGES if e["from_frame"] == "new-query")
    query = serf.decode(serf.Query, bytes.fromhex(entry["hex"])[2:])
    assert query.timeout == entry["decoded"]["body"]["body"]["Timeout"]


def test_tags_of_consul_agents_fit_and_come_back():
    """The tags of every captured configuration survive encoding."""
    for tags in load("consul-tags.json")["tags"].values():
        assert decode_tags(encode_tags(tags)) == tags
