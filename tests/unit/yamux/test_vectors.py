"""Recorded yamux connections, frame by frame."""

import json
from pathlib import Path

import pytest

from consultwist.yamux import frames
from consultwist.yamux.session import Ended, Opened, Over, Received, Send, Session

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc"
CONNECTIONS = json.loads((VECTORS / "yamux.json").read_text())
TYPES = {
    frames.DATA: "data",
    frames.WINDOW_UPDATE: "window-update",
    frames.PING: "ping",
    frames.GO_AWAY: "go-away",
}
FLAGS = {frames.SYN: "SYN", frames.ACK: "ACK", frames.FIN: "FIN", frames.RST: "RST"}


def recorded_frames():
    for connection in CONNECTIONS:
        yield from connection["client_frames"]
        yield from connection["server_frames"]


@pytest.mark.parametrize(
    "frame",
    list(recorded_frames()),
    ids=lambda frame: f"{frame['type']}-{frame['stream']}",
)
def test_every_recorded_header_is_read_and_written_again(frame):
    """Type, flags, stream and length; the same bytes come back."""
    header = bytes.fromhex(frame["header_hex"])
    kind, flags, stream, length = frames.decode(header)
    assert TYPES[kind] == frame["type"]
    assert [name for bit, name in FLAGS.items() if flags & bit] == frame["flags"]
    assert (stream, length) == (frame["stream"], frame["length"])
    assert frames.encode(kind, flags, stream, length) == header


def payload_of(frame):
    """Return what a frame carries; long ones are recorded by their beginning."""
    if frame["type"] != "data":
        return b""
    begin = bytes.fromhex(frame.get("payload_hex") or frame["payload_prefix_hex"])
    return begin.ljust(frame["length"], b"\x00")


def replay(session, recorded):
    """Feed a session one direction of a connection; return its actions."""
    actions = []
    for frame in recorded:
        session.receive(bytes.fromhex(frame["header_hex"]) + payload_of(frame))
        for action in session.take_actions():
            actions.append(action)
            if isinstance(action, Received):
                session.consumed(action.stream, len(action.data))
    return actions


@pytest.mark.parametrize("connection", CONNECTIONS, ids=lambda each: each["id"])
def test_a_server_understands_recorded_clients(connection):
    """It sees the streams that were opened, and all that was sent on them."""
    actions = replay(Session(0.0, is_client=False), connection["client_frames"])
    assert not [action for action in actions if isinstance(action, Ended)]
    sent: dict[int, bytes] = {}
    for frame in connection["client_frames"]:
        if frame["type"] == "data":
            before = sent.get(frame["stream"], b"")
            sent[frame["stream"]] = before + payload_of(frame)
    seen: dict[int, bytes] = {}
    for action in actions:
        if isinstance(action, Opened):
            seen.setdefault(action.stream.id, b"")
        elif isinstance(action, Received):
            seen[action.stream.id] += action.data
    assert seen == sent


BEHAVIOUR = [
    rule
    for rule in json.loads((VECTORS / "behaviour.json").read_text())
    if rule["id"].startswith("yamux.rule.")
]


@pytest.mark.parametrize(
    "rule",
    [rule for rule in BEHAVIOUR if "send" in rule and not rule["receive"]],
    ids=lambda rule: rule["id"],
)
def test_what_breaks_the_rules_ends_the_session(rule):
    """Nothing but acknowledgements of what came before it is sent."""
    session = Session(0.0, is_client=False)
    session.receive(bytes.fromhex(rule["send"])[1:])
    assert isinstance(session.take_actions()[-1], Ended)
    assert session.is_ended


def test_more_data_than_the_window_ends_the_session():
    """A recorded case: 300 kB at once, where 256 KiB may be sent."""
    (rule,) = [each for each in BEHAVIOUR if each["id"].endswith("window-overrun")]
    session = Session(0.0, is_client=False)
    session.receive(bytes.fromhex(rule["send_prefix"])[1:] + bytes(307200))
    assert isinstance(session.take_actions()[-1], Ended)


def test_a_stream_that_begins_and_ends_without_data():
    """A recorded case: it is acknowledged, and ended when it was here, too."""
    (rule,) = [each for each in BEHAVIOUR if each["id"].endswith("empty-stream")]
    session = Session(0.0, is_client=False)
    session.receive(bytes.fromhex(rule["send"])[1:])
    sent, opened = session.take_actions()
    assert isinstance(sent, Send)
    assert isinstance(opened, Opened)
    assert sent.data.hex() == rule["receive"]
    session.receive(bytes.fromhex(rule["then_send"]))
    session.close(opened.stream, 0.0)
    actions = session.take_actions()
    assert isinstance(actions[0], Send)
    assert actions[0].data.hex() == rule["then_receive"]
    assert [each for each in actions if isinstance(each, Over)] == [
        Over(opened.stream, was_reset=False)
    ]
