"""Stream: one of a session's streams, without I/O: its windows and how it ends.

Each side may send as much as its peer has granted: at first `INITIAL_WINDOW` bytes,
then what window updates add. A receiver grants again what was consumed, once that is
half of the window. Each direction ends with FIN; RST ends both at once.
"""

from collections import deque
from typing import Any

from consultwist.errors import WireError
from consultwist.yamux import frames
from consultwist.yamux.frames import INITIAL_WINDOW


class Stream:
    """What a session knows of one stream.

    Attributes:
        id: its number; 0 until an own stream is opened on the wire.
        owner: whoever uses the session puts what belongs to the stream here.
        is_open: whether the peer can know of it: SYN was sent or received.
        is_own: whether it was opened here.
        is_watched: whether `Sent` is wanted when all is on its way.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_consumed",
        "_receive_window",
        "_send_window",
        "fin_sent",
        "fin_wanted",
        "id",
        "is_acknowledged",
        "is_open",
        "is_over",
        "is_own",
        "is_watched",
        "owner",
        "remote_done",
    )

    def __init__(self, number: int = 0) -> None:
        self.id = number
        self.owner: Any = None
        self.is_open = False
        self.is_acknowledged = False
        self.is_over = False
        self.is_own = not number
        self.is_watched = False
        self.remote_done = False
        self.fin_wanted = False
        self.fin_sent = False
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._send_window = INITIAL_WINDOW
        self._receive_window = INITIAL_WINDOW
        self._consumed = 0

    @property
    def buffered(self) -> int:
        """Tell how many bytes wait for the peer's window."""
        return self._buffered

    @property
    def is_sendable(self) -> bool:
        """Tell whether something waits that may be sent."""
        if self._buffered:
            return self._send_window > 0
        return self.fin_wanted and not self.fin_sent

    # --- sending ---------------------------------------------------------------------

    def may_send(self, count: int) -> bool:
        """Take so many bytes off the window; False where they have to wait."""
        if self._buffered or count > self._send_window or not self.is_open:
            return False
        self._send_window -= count
        return True

    def put(self, data: bytes) -> None:
        """Append bytes to what is to be sent."""
        self._buffer.append(data)
        self._buffered += len(data)

    def take_frames(self, size_max: int) -> list[bytes]:
        """Return what may be sent now, as frames, and forget it.

        Args:
            size_max: so many bytes of payload at most.
        """
        out: list[bytes] = []
        room = min(self._send_window, size_max)
        while self._buffer and room > 0:
            data = self._buffer.popleft()
            if len(data) > room:
                self._buffer.appendleft(data[room:])
                data = data[:room]
            room -= len(data)
            self._buffered -= len(data)
            self._send_window -= len(data)
            out += (frames.encode(frames.DATA, 0, self.id, len(data)), data)
        if self.fin_wanted and not self._buffer and not self.fin_sent:
            self.fin_sent = True
            out.append(frames.encode(frames.WINDOW_UPDATE, frames.FIN, self.id, 0))
        return out

    def grant(self, count: int) -> None:
        """Note that the peer takes more bytes."""
        self._send_window += count

    # --- receiving -------------------------------------------------------------------

    def received(self, count: int) -> None:
        """Note bytes that came.

        Raises:
            WireError: where the peer may not send so many, or has ended its side.
        """
        if self.remote_done:
            raise WireError("yamux: data after the end of a stream")
        if count > self._receive_window:
            raise WireError("yamux: a peer sent more than its window")
        self._receive_window -= count

    def consumed(self, count: int) -> int:
        """Note bytes that are done with; returns what to grant the peer, often 0."""
        self._consumed += count
        if self._consumed < INITIAL_WINDOW // 2 or self.remote_done:
            return 0
        granted, self._consumed = self._consumed, 0
        self._receive_window += granted
        return granted

    def discard(self) -> None:
        """Forget what was to be sent: the stream is over."""
        self.is_over = True
        self._buffer.clear()
        self._buffered = 0
