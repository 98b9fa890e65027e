"""Two sessions, joined by nothing but the bytes that they send."""

import random

import pytest

from consultwist.yamux import frames
from consultwist.yamux import session as core
from consultwist.yamux.frames import INITIAL_WINDOW
from consultwist.yamux.session import (
    CONTROL_MAX,
    PING_INTERVAL_S,
    PING_TIMEOUT_S,
    UNACKNOWLEDGED_MAX,
    Session,
)


class Pair:
    """A client and a server; `settle` carries bytes until neither has any."""

    def __init__(self, chunks=None):
        self.sessions = {
            "client": Session(0.0, is_client=True),
            "server": Session(0.0, is_client=False),
        }
        self.client, self.server = self.sessions.values()
        self.events: dict[str, list[core.Action]] = {"client": [], "server": []}
        self.consuming = True
        self.chunks = chunks

    def settle(self):
        while any([self.step("client", "server"), self.step("server", "client")]):
            pass

    def step(self, name, other):
        actions = self.sessions[name].take_actions()
        for action in actions:
            if isinstance(action, core.Send):
                for chunk in self.cut(action.data):
                    self.sessions[other].receive(chunk)
            else:
                self.events[name].append(action)
            if isinstance(action, core.Received) and self.consuming:
                self.sessions[name].consumed(action.stream, len(action.data))
        return bool(actions)

    def cut(self, data):
        while data:
            size = self.chunks() if self.chunks else len(data)
            yield data[:size]
            data = data[size:]

    def received(self, name):
        """Return what came on each stream, by id."""
        found: dict[int, bytes] = {}
        for event in self.events[name]:
            if isinstance(event, core.Received):
                found[event.stream.id] = found.get(event.stream.id, b"") + event.data
        return found

    def of(self, name, kind):
        return [event for event in self.events[name] if isinstance(event, kind)]


def _sent(session):
    """Return the bytes that a session sends, which does nothing else."""
    (action,) = session.take_actions()
    assert isinstance(action, core.Send)
    return action.data


def test_a_stream_carries_bytes_both_ways_and_ends():
    """Each side ends its own direction; then the stream is over on both."""
    pair = Pair()
    stream = pair.client.open()
    pair.client.write(stream, b"question")
    pair.client.close(stream, 0.0)
    pair.settle()
    (opened,) = pair.of("server", core.Opened)
    assert pair.received("server") == {1: b"question"}
    assert pair.of("server", core.RemoteDone)
    pair.server.write(opened.stream, b"answer")
    pair.server.close(opened.stream, 0.0)
    pair.settle()
    assert pair.received("client") == {1: b"answer"}
    assert pair.of("client", core.Over) == [core.Over(stream, was_reset=False)]
    assert pair.of("server", core.Over) == [core.Over(opened.stream, was_reset=False)]
    assert pair.client.streams == pair.server.streams == []


@pytest.mark.parametrize("seed", range(5))
def test_much_data_on_many_streams_arrives_whole_however_it_is_cut(seed):
    """More than the window, both ways, interleaved."""
    rng = random.Random(seed)
    pair = Pair(chunks=lambda: rng.choice([1, 5, 11, 13, 5000, 70000]))
    sent, back = {}, {}
    for _ in range(8):
        stream = pair.client.open()
        sent[stream.id] = rng.randbytes(rng.randrange(3 * INITIAL_WINDOW))
        pair.client.write(stream, sent[stream.id])
    pair.settle()
    for opened in pair.of("server", core.Opened):
        back[opened.stream.id] = rng.randbytes(rng.randrange(2 * INITIAL_WINDOW))
        pair.server.write(opened.stream, back[opened.stream.id])
    pair.settle()
    assert pair.received("server") == sent
    assert pair.received("client") == back


def test_a_sender_stops_at_the_window_until_the_reader_consumes():
    """What is beyond waits here."""
    pair = Pair()
    pair.consuming = False
    stream = pair.client.open()
    pair.client.write(stream, bytes(INITIAL_WINDOW + 1000))
    pair.settle()
    assert len(pair.received("server")[1]) == INITIAL_WINDOW
    assert stream.buffered == 1000
    (opened,) = pair.of("server", core.Opened)
    pair.server.consumed(opened.stream, INITIAL_WINDOW // 2 - 1)
    pair.settle()
    assert stream.buffered == 1000, "less than half of the window is not granted"
    pair.server.consumed(opened.stream, 1)
    pair.settle()
    assert stream.buffered == 0


def test_an_end_waits_for_the_bytes_before_it():
    """FIN comes behind the last byte."""
    pair = Pair()
    pair.consuming = False
    stream = pair.client.open()
    pair.client.write(stream, bytes(INITIAL_WINDOW + 1))
    pair.client.close(stream, 0.0)
    pair.settle()
    assert pair.of("server", core.RemoteDone) == []
    (opened,) = pair.of("server", core.Opened)
    pair.server.consumed(opened.stream, INITIAL_WINDOW)
    pair.settle()
    assert pair.of("server", core.RemoteDone) == [core.RemoteDone(opened.stream)]


def test_a_reset_ends_both_sides_at_once():
    """What waited is forgotten; what comes late is dropped."""
    pair = Pair()
    stream = pair.client.open()
    pair.client.write(stream, b"a")
    pair.settle()
    (opened,) = pair.of("server", core.Opened)
    pair.client.reset(stream)
    pair.server.write(opened.stream, b"late")
    pair.settle()
    assert pair.of("server", core.Over) == [core.Over(opened.stream, was_reset=True)]
    assert pair.received("client") == {}
    assert pair.client.streams == pair.server.streams == []


def test_streams_beyond_the_backlog_wait_for_acknowledgement():
    """A peer refuses the 257th that it has not accepted; so it is not sent."""
    client = Session(0.0, is_client=True)
    for _ in range(UNACKNOWLEDGED_MAX + 1):
        client.write(client.open(), b"x")
    sent = _sent(client)
    assert sent.count(frames.encode(frames.WINDOW_UPDATE, frames.SYN, 1, 0)) == 1
    assert len(sent) == UNACKNOWLEDGED_MAX * (2 * frames.HEADER_SIZE + 1)
    client.receive(frames.encode(frames.WINDOW_UPDATE, frames.ACK, 1, 0))
    sent = _sent(client)
    number = 2 * UNACKNOWLEDGED_MAX + 1
    assert sent == (
        frames.encode(frames.WINDOW_UPDATE, frames.SYN, number, 0)
        + frames.encode(frames.DATA, 0, number, 1)
        + b"x"
    )


def test_a_peer_may_open_only_so_many_streams(monkeypatch):
    """One more is refused by RST; the others go on."""
    monkeypatch.setattr(core, "STREAMS_MAX", 3)
    pair = Pair()
    streams = [pair.client.open() for _ in range(4)]
    pair.settle()
    assert pair.of("client", core.Over) == [core.Over(streams[3], was_reset=True)]
    assert len(pair.server.streams) == 3


def test_keep_alive_pings_and_gives_up_without_an_answer():
    """A ping every 30 s; the session ends 10 s after one that is not answered."""
    pair = Pair()
    assert pair.client.next_timer() == PING_INTERVAL_S
    pair.client.handle_timer(PING_INTERVAL_S)
    assert pair.client.next_timer() == PING_INTERVAL_S + PING_TIMEOUT_S
    pair.settle()
    assert pair.client.next_timer() == 2 * PING_INTERVAL_S
    pair.client.handle_timer(2 * PING_INTERVAL_S)
    pair.client.take_actions()  # lost on the way
    pair.client.handle_timer(2 * PING_INTERVAL_S + PING_TIMEOUT_S)
    assert pair.client.is_ended
    assert pair.client.next_timer() is None


def test_after_a_go_away_no_streams_should_be_opened():
    """The session says so; those that are open go on."""
    pair = Pair()
    stream = pair.client.open()
    pair.settle()
    pair.server.go_away()
    pair.settle()
    assert pair.client.is_going
    pair.client.write(stream, b"still")
    pair.settle()
    assert pair.received("server") == {1: b"still"}


def test_a_closed_stream_is_not_waited_for_without_end():
    """The peer gets a RST where its own end does not come in five minutes."""
    pair = Pair()
    stream = pair.client.open()
    pair.client.close(stream, 0.0)
    pair.settle()
    pair.client.handle_timer(core.CLOSE_TIMEOUT_S + 1)
    pair.settle()
    assert pair.client.streams == pair.server.streams == []


def test_a_choked_session_keeps_data_but_answers():
    """Until the connection takes bytes again."""
    pair = Pair()
    stream = pair.client.open()
    pair.settle()
    pair.client.choke(choked=True)
    pair.client.write(stream, b"later")
    pair.client.write(stream, bytes(INITIAL_WINDOW))
    pair.client.receive(frames.encode(frames.PING, frames.SYN, 0, 7))
    assert pair.client.take_actions() == [
        core.Send(frames.encode(frames.PING, frames.ACK, 0, 7))
    ]
    pair.client.choke(choked=False)
    pair.settle()
    assert pair.received("server") == {1: b"later" + bytes(INITIAL_WINDOW)}


def test_a_peer_that_asks_without_reading_is_cut_off():
    """Answers to pings do not pile up without end."""
    session = Session(0.0, is_client=False)
    session.choke(choked=True)
    session.receive(frames.encode(frames.PING, frames.SYN, 0, 1) * (CONTROL_MAX + 1))
    assert session.is_ended


@pytest.mark.parametrize(
    "data",
    [
        frames.encode(frames.DATA, frames.SYN, 1, INITIAL_WINDOW + 1),
        frames.encode(frames.DATA, frames.SYN, 0, 0),
        frames.encode(frames.GO_AWAY, 0, 0, frames.PROTOCOL_ERROR),
        frames.encode(frames.DATA, frames.SYN | frames.FIN, 1, 0)
        + frames.encode(frames.DATA, 0, 1, 1)
        + b"x",
        b"\x01" + bytes(11),
        b"\x00\x04" + bytes(10),
    ],
)
def test_hostile_bytes_end_the_session(data):
    """And nothing of them is kept; what comes after is not looked at."""
    session = Session(0.0, is_client=False)
    session.receive(data)
    assert isinstance(session.take_actions()[-1], core.Ended)
    session.receive(bytes(100_000))
    assert session.take_actions() == []


@pytest.mark.parametrize("seed", range(20))
def test_noise_never_does_worse_than_end_the_session(seed):
    """Random frames with plausible fields, cut anywhere."""
    rng = random.Random(seed)
    session = Session(0.0, is_client=bool(seed % 2))
    for _ in range(300):
        kind, flags = rng.randrange(4), rng.randrange(16)
        length = rng.choice([0, 1, 50, 5000])
        session.receive(frames.encode(kind, flags, rng.randrange(5), length))
        if kind == frames.DATA:
            session.receive(rng.randbytes(length))
        for action in session.take_actions():
            if isinstance(action, core.Opened) and rng.random() < 0.5:
                session.write(action.stream, b"hello")
                session.close(action.stream, 0.0)
            elif isinstance(action, core.Received):
                session.consumed(action.stream, len(action.data))
    assert len(session.streams) <= 5
