"""Streams over TCP: one request, at most one answer, and a deadline for each."""

from collections.abc import Callable
from typing import Any

from twisted.internet import threads
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.errors import WireError
from consultwist.gossip.address import Address
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.stream import (
    Compressed,
    StreamMessage,
    StreamReader,
    StreamRefused,
    inflate,
)

log = Logger()

#: Streams that other members may have open to us; memberlist serves as many
#: exchanges at one time.
STREAMS_MAX = 128

#: What all of these streams together may have sent us, unfinished.
BUFFERED_MAX = 64 * 1024 * 1024

#: Inflating costs some 80 microseconds a kilobyte: from here on not in the reactor.
_INFLATE_IN_THREAD = 32 * 1024


class GossipStream(Protocol):
    """A stream in either direction: reads one message, writes one.

    Args:
        reactor: for the deadline and, with a large compressed message, a thread.
        codec: keys and label of the pool.
        timeout_s: how long reading may take, and writing again.
        is_dialing: whether we have opened the stream.
        arrived: takes the message.
        failed: takes the reason why there is none; a StreamRefused among them.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        codec: PacketCodec,
        timeout_s: float,
        *,
        is_dialing: bool,
        arrived: Callable[["GossipStream", StreamMessage], None],
        failed: Callable[["GossipStream", Exception], None],
    ) -> None:
        self._reactor = reactor
        self._timeout_s = timeout_s
        self._reader = StreamReader(codec, is_dialing=is_dialing)
        self._arrived = arrived
        self._failed = failed
        self._deadline: IDelayedCall | None = None
        self._is_settled = False
        self.received_bytes = 0
        self.request = b""
        self.closed: Callable[[GossipStream], None] = lambda _stream: None
        self.fed: Callable[[int], bool] = lambda _size: True

    @property
    def source(self) -> Address:
        """Where the other end is."""
        assert self.transport is not None
        peer: Any = self.transport.getPeer()
        return peer.host.removeprefix("::ffff:"), peer.port

    def connectionMade(self) -> None:
        """Write our request, if any, and give the other end its time."""
        self._rearm()
        if self.request:
            assert self.transport is not None
            self.transport.write(self.request)
            self.request = b""

    def _rearm(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._reactor.callLater(self._timeout_s, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        self._fail(WireError("gossip: a stream timed out"))
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Read on, until the message is complete."""
        if self._is_settled:
            return
        self.received_bytes += len(data)
        if not self.fed(len(data)):
            self._fail(WireError("gossip: streams hold too much"))
            self.abort()
            return
        try:
            message = self._reader.feed(data)
            if isinstance(message, Compressed):
                self._inflate(message)
            elif message is not None:
                self._arrive(message)
        except WireError as error:
            self._fail(error)

    def _inflate(self, message: Compressed) -> None:
        if len(message.data) < _INFLATE_IN_THREAD:
            self._arrive(inflate(message))
            return
        pool = self._reactor.getThreadPool()
        done = threads.deferToThreadPool(self._reactor, pool, inflate, message)
        done.addCallbacks(self._arrive, lambda failure: self._fail(failure.value))
        done.addErrback(lambda failure: log.failure("gossip stream", failure))

    def _arrive(self, message: StreamMessage) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._arrived(self, message)

    def _fail(self, error: Exception) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._failed(self, error)
            if not isinstance(error, StreamRefused):
                self.abort()

    def answer(self, data: bytes) -> None:
        """Write an answer, then close."""
        if self.transport is not None:
            self._rearm()
            self.transport.write(data)
            self.transport.loseConnection()

    def finish(self) -> None:
        """Close after what is unsent; nothing more is expected."""
        self._is_settled = True
        if self.transport is not None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once, whatever is unsent."""
        self._is_settled = True
        abort = getattr(self.transport, "abortConnection", None)
        if abort is not None:
            abort()
        elif self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Settle what is open."""
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self.transport: ITransport | None = None
        is_clean = reason.check(ConnectionDone) is not None
        text = "EOF" if is_clean else str(reason.value)
        self._fail(WireError(f"gossip: the stream was closed: {text}"))
        self.closed(self)


class StreamListener(Factory):
    """Takes the streams that other members open, within bounds.

    Args:
        make: makes the protocol for a stream.
        counted: told about every stream that was refused.
    """

    noisy = False

    def __init__(
        self, make: Callable[[], GossipStream], counted: Callable[[str], None]
    ) -> None:
        self._make = make
        self._counted = counted
        self._open: dict[GossipStream, None] = {}
        self._buffered = 0

    def __len__(self) -> int:
        return len(self._open)

    def buildProtocol(self, addr: object) -> Protocol | None:  # noqa: ARG002
        """Accept a stream, or close it at once where there are too many."""
        if len(self._open) >= STREAMS_MAX:
            self._counted("gossip: too many streams")
            return None
        stream = self._make()
        stream.closed = self._closed
        stream.fed = self._fed
        self._open[stream] = None
        return stream

    def _fed(self, size: int) -> bool:
        self._buffered += size
        return self._buffered <= BUFFERED_MAX

    def _closed(self, stream: GossipStream) -> None:
        if self._open.pop(stream, self) is None:
            self._buffered -= stream.received_bytes

    def abort_all(self) -> None:
        """Close every stream."""
        for stream in list(self._open):
            stream.abort()
