"""Session: the yamux protocol over one connection, without I/O.

Theory of operation: bytes of the connection go in by `receive`, with commands for its
streams (`open`, `write`, `close`, `reset`, `consumed`); out come actions. What is to be
sent is gathered, so that the answer to a packet leaves in one write.

Bounds: a peer may send no more than the window on any stream and keep no more than
`STREAMS_MAX` streams. Own streams wait until the peer has acknowledged others, since it
refuses the 257th that it has not accepted. While the connection takes no more bytes
(`choke`), streams keep theirs, and a peer that then asks for more answers than
`CONTROL_MAX` is cut off.
"""

from collections import deque
from typing import Final, TypeAlias

import attrs

from consultwist.errors import WireError
from consultwist.yamux import frames
from consultwist.yamux.stream import Stream

#: Own streams that the peer has not acknowledged (AcceptBacklog of yamux).
UNACKNOWLEDGED_MAX: Final = 256

#: Streams that a peer may have opened. Each of an agent's long polls takes one.
STREAMS_MAX: Final = 65536

#: Answers to pings and openings that may wait for a peer that does not read.
CONTROL_MAX: Final = 4096

#: Keep-alive (rpc.md section 3): a ping so often, and the wait for its answer.
PING_INTERVAL_S: Final = 30.0
PING_TIMEOUT_S: Final = 10.0

#: A stream that was closed here is forgotten after so long without the peer's FIN
#: (StreamCloseTimeout of newer releases of yamux).
CLOSE_TIMEOUT_S: Final = 300.0

#: Payload that one stream may send in a turn before the others have theirs.
_TURN_SIZE: Final = 256 * 1024


@attrs.define
class Send:
    """Write bytes to the connection."""

    data: bytes


@attrs.define
class Opened:
    """The peer has opened a stream."""

    stream: Stream


@attrs.define
class Received:
    """Bytes came on a stream; `Session.consumed` is told when they are done with."""

    stream: Stream
    data: bytes


@attrs.define
class RemoteDone:
    """The peer sends no more on a stream."""

    stream: Stream


@attrs.define
class Over:
    """A stream has ended: in good order, or by the peer's RST."""

    stream: Stream
    was_reset: bool


@attrs.define
class Sent:
    """All that a watched stream had to send is on its way."""

    stream: Stream


@attrs.define
class Ended:
    """The session cannot go on; the connection is to be closed."""

    reason: str


Action: TypeAlias = Send | Opened | Received | RemoteDone | Over | Sent | Ended


class Session:
    """One end of a yamux connection.

    Attributes:
        is_ended: whether the session has ended; nothing has an effect then.
        is_going: whether the peer wants no new streams.
    """

    def __init__(self, now: float, *, is_client: bool) -> None:
        self.is_ended = False
        self.is_going = False
        self._next_id = 1 if is_client else 2
        self._streams: dict[int, Stream] = {}
        self._incoming = 0
        self._waiting: deque[Stream] = deque()
        self._unacknowledged = 0
        self._sendable: dict[Stream, None] = {}
        self._out: list[bytes] = []
        self._actions: list[Action] = []
        self._rest = bytearray()
        self._is_choked = False
        self._control = 0
        self._closing: dict[Stream, float] = {}
        self._ping_value = 0
        self._ping_due = now + PING_INTERVAL_S
        self._pong_due: float | None = None

    @property
    def streams(self) -> list[Stream]:
        """All streams that are not over, those that wait to be opened too."""
        return [*self._streams.values(), *self._waiting]

    # --- the core contract -----------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes from the connection."""
        if self.is_ended:
            return
        rest = self._rest
        if rest:
            rest += data
        source = rest or data
        offset = 0
        try:
            while len(source) - offset >= frames.HEADER_SIZE:
                taken = self._take_frame(source, offset)
                if not taken:
                    break
                offset += taken
        except WireError as error:
            self._end(str(error))
            return
        if source is rest:
            del rest[:offset]
        elif offset < len(data):
            rest += data[offset:]

    def handle_timer(self, now: float) -> None:
        """Ping, or end the session of a peer that does not answer; tidy up."""
        if self._pong_due is not None and now >= self._pong_due:
            self._end("yamux: keep-alive timed out")
        if self.is_ended or now < self._ping_due:
            return
        self._ping_due = now + PING_INTERVAL_S
        if self._pong_due is None:
            self._pong_due = now + PING_TIMEOUT_S
            self._emit(frames.PING, frames.SYN, 0, self._ping_value)
        for stream, since in list(self._closing.items()):
            if now - since >= CLOSE_TIMEOUT_S:
                self.reset(stream)

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called."""
        if self.is_ended:
            return None
        if self._pong_due is None:
            return self._ping_due
        return min(self._ping_due, self._pong_due)

    def take_actions(self) -> list[Action]:
        """Return what is to be done, what is to be sent first, and forget it."""
        if not self._is_choked:
            while self._sendable:
                self._send_some()
        actions, self._actions = self._actions, []
        if self._out:
            actions.insert(0, Send(b"".join(self._out)))
            self._out.clear()
        return actions

    # --- commands --------------------------------------------------------------------

    def open(self) -> Stream:
        """Open a stream; it is known to the peer as soon as that takes another."""
        stream = Stream()
        if self._unacknowledged < UNACKNOWLEDGED_MAX:
            self._send_syn(stream)
        else:
            self._waiting.append(stream)
        return stream

    def write(self, stream: Stream, data: bytes) -> None:
        """Send bytes, as soon as the window allows."""
        if stream.is_over or stream.fin_wanted or not data:
            return
        if not self._is_choked and stream.may_send(len(data)):
            self._out += (frames.encode(frames.DATA, 0, stream.id, len(data)), data)
        else:
            stream.put(data)
            self._note_sendable(stream)

    def close(self, stream: Stream, now: float) -> None:
        """End our side of a stream once all its bytes are sent."""
        if not stream.is_over and not stream.fin_wanted:
            stream.fin_wanted = True
            self._closing[stream] = now
            self._note_sendable(stream)

    def reset(self, stream: Stream) -> None:
        """End both sides of a stream at once; no action follows for it."""
        if stream.is_over:
            return
        if stream.is_open:
            self._emit(frames.WINDOW_UPDATE, frames.RST, stream.id, 0)
        self._forget(stream)

    def consumed(self, stream: Stream, count: int) -> None:
        """Note that received bytes are done with: the peer may send more."""
        if stream.is_over:
            return
        granted = stream.consumed(count)
        if granted:
            self._emit(frames.WINDOW_UPDATE, 0, stream.id, granted)

    def go_away(self) -> None:
        """Ask the peer to open no more streams."""
        self._emit(frames.GO_AWAY, 0, 0, frames.NORMAL)

    def choke(self, *, choked: bool) -> None:
        """Note whether the connection takes no more bytes for now."""
        self._is_choked = choked
        self._control = 0

    # --- frames that come ------------------------------------------------------------

    def _take_frame(self, source: bytes | bytearray, offset: int) -> int:
        """Take the frame at an offset; returns its size, or 0 if it is not all there.

        Raises:
            WireError: where the peer breaks the rules.
        """
        kind, flags, number, length = frames.decode(source, offset)
        if kind == frames.DATA:
            start = offset + frames.HEADER_SIZE
            if length > frames.INITIAL_WINDOW:
                # No window is ever larger: this is all that is ever kept of a frame.
                raise WireError("yamux: a peer sent more than its window")
            if len(source) < start + length:
                return 0
            self._take_data(flags, number, bytes(source[start : start + length]))
            return frames.HEADER_SIZE + length
        if kind == frames.WINDOW_UPDATE:
            stream = self._stream_of(flags, number)
            if stream is not None:
                stream.grant(length)
                self._note_sendable(stream)
                self._take_flags(stream, flags)
        elif kind == frames.PING:
            self._take_ping(flags, length)
        elif length != frames.NORMAL:
            raise WireError(f"yamux: the peer goes away for reason {length}")
        else:
            self.is_going = True
        return frames.HEADER_SIZE

    def _take_data(self, flags: int, number: int, data: bytes) -> None:
        stream = self._stream_of(flags, number)
        if stream is None:
            return
        if data:
            stream.received(len(data))
            self._actions.append(Received(stream, data))
        if flags:
            self._take_flags(stream, flags)

    def _stream_of(self, flags: int, number: int) -> Stream | None:
        """Return the stream that a frame is for, a new one where it opens one."""
        if not flags & frames.SYN:
            return self._streams.get(number)
        if number == 0 or number in self._streams:
            raise WireError("yamux: a stream was opened twice")
        if self._incoming >= STREAMS_MAX:
            self._answer(frames.WINDOW_UPDATE, frames.RST, number, 0)
            return None
        stream = Stream(number)
        stream.is_open = True
        self._incoming += 1
        self._streams[number] = stream
        if not flags & frames.FIN:
            self._answer(frames.WINDOW_UPDATE, frames.ACK, number, 0)
        self._actions.append(Opened(stream))
        return stream

    def _take_flags(self, stream: Stream, flags: int) -> None:
        if flags & frames.ACK:
            self._acknowledged(stream)
        if flags & frames.RST:
            self._forget(stream)
            self._actions.append(Over(stream, was_reset=True))
        elif flags & frames.FIN and not stream.remote_done:
            stream.remote_done = True
            self._actions.append(RemoteDone(stream))
            self._end_if_done(stream)

    def _take_ping(self, flags: int, value: int) -> None:
        if flags & frames.SYN:
            self._answer(frames.PING, frames.ACK, 0, value)
        elif flags & frames.ACK and value == self._ping_value:
            self._ping_value = (self._ping_value + 1) & 0xFFFFFFFF
            self._pong_due = None

    # --- what goes out ---------------------------------------------------------------

    def _emit(self, kind: int, flags: int, number: int, length: int) -> None:
        if not self.is_ended:
            self._out.append(frames.encode(kind, flags, number, length))

    def _answer(self, kind: int, flags: int, number: int, length: int) -> None:
        """Send what the peer has caused, but not without end if it does not read."""
        self._control += self._is_choked
        if self._control > CONTROL_MAX:
            raise WireError("yamux: a peer does not read its answers")
        self._emit(kind, flags, number, length)

    def _send_syn(self, stream: Stream) -> None:
        while self._next_id in self._streams:
            # Nobody checks which numbers a peer uses (rpc.md section 3).
            self._next_id += 2
        stream.id = self._next_id
        stream.is_open = True
        self._next_id += 2
        self._unacknowledged += 1
        self._streams[stream.id] = stream
        self._emit(frames.WINDOW_UPDATE, frames.SYN, stream.id, 0)

    def _acknowledged(self, stream: Stream) -> None:
        if stream.is_acknowledged or not stream.is_own:
            return
        stream.is_acknowledged = True
        self._unacknowledged -= 1
        self._open_waiting()

    def _open_waiting(self) -> None:
        while self._waiting and self._unacknowledged < UNACKNOWLEDGED_MAX:
            stream = self._waiting.popleft()
            if not stream.is_over:
                self._send_syn(stream)
                self._note_sendable(stream)

    def _note_sendable(self, stream: Stream) -> None:
        if stream.is_open and stream.is_sendable:
            self._sendable[stream] = None

    def _send_some(self) -> None:
        """Let the first stream that can send do so, and put it behind the others."""
        stream = next(iter(self._sendable))
        del self._sendable[stream]
        self._out += stream.take_frames(_TURN_SIZE)
        if stream.is_sendable:
            self._sendable[stream] = None
        elif stream.is_watched and not stream.buffered:
            self._actions.append(Sent(stream))
        if stream.fin_sent:
            self._end_if_done(stream)

    # --- ends ------------------------------------------------------------------------

    def _end_if_done(self, stream: Stream) -> None:
        if stream.fin_sent and stream.remote_done and not stream.is_over:
            self._forget(stream)
            self._actions.append(Over(stream, was_reset=False))

    def _forget(self, stream: Stream) -> None:
        stream.discard()
        self._sendable.pop(stream, None)
        self._closing.pop(stream, None)
        if self._streams.pop(stream.id, None) is None:
            return
        if stream.is_own:
            self._acknowledged(stream)
        else:
            self._incoming -= 1

    def _end(self, reason: str) -> None:
        if not self.is_ended:
            self.is_ended = True
            self._rest.clear()
            self._sendable.clear()
            self._actions.append(Ended(reason))
