"""A yamux session as a Protocol, and each of its streams as a transport."""

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet import error as net_error
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.driver import CoreDriver
from consultwist.yamux import session as core
from consultwist.yamux.session import Session
from consultwist.yamux.stream import Stream

log = Logger()

#: Makes the protocol for a stream that the peer opened.
Accept = Callable[[], IProtocol]

#: A producer pauses while so much of a stream waits for the peer's window.
_HIGH_WATER: Final = 64 * 1024


def refuse_streams() -> IProtocol:
    """Make the protocol for a peer that has no reason to open streams."""
    return cast(IProtocol, _Refusal())


class _Refusal(Protocol):
    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


@implementer(IPushProducer)
class YamuxProtocol(Protocol):
    """One end of a session; `accept` makes protocols for streams of the peer's."""

    def __init__(
        self,
        reactor: IReactorTime,
        clock: Clock,
        *,
        is_client: bool,
        accept: Accept = refuse_streams,
    ) -> None:
        self._clock = clock
        self._accept = accept
        self._session = Session(clock.monotonic(), is_client=is_client)
        self._driver: CoreDriver[core.Action] = CoreDriver(
            reactor, clock, self._session, self._perform
        )
        self._performers: dict[type, Callable[[Any], None]] = {
            core.Send: self._send,
            core.Received: self._received,
            core.Opened: self._opened,
            core.RemoteDone: lambda action: action.stream.owner.remote_done(),
            core.Over: self._over,
            core.Sent: lambda action: action.stream.owner.sent(),
            core.Ended: self._ended,
        }

    @property
    def is_usable(self) -> bool:
        """Tell whether streams can be opened."""
        session = self._session
        return bool(self.connected) and not session.is_ended and not session.is_going

    # --- streams ---------------------------------------------------------------------

    def open(self, protocol: IProtocol) -> "StreamTransport":
        """Open a stream and connect a protocol to it."""
        return self._connect(self._session.open(), protocol)

    def go_away(self) -> None:
        """Ask the peer to open no more streams."""
        self._session.go_away()
        self.flush()

    def _connect(self, stream: Stream, protocol: IProtocol) -> "StreamTransport":
        transport = StreamTransport(self, stream, protocol)
        stream.owner = transport
        protocol.makeConnection(transport)
        return transport

    def flush(self) -> None:
        """Send what the session has to send."""
        if self.connected:
            self._driver.flush()

    @property
    def session(self) -> Session:
        """The session, for its streams."""
        return self._session

    def now(self) -> float:
        """Return the time."""
        return self._clock.monotonic()

    # --- the connection --------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.registerProducer(self, True)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        self._session.receive(data)
        self._driver.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        self._driver.stop()
        for stream in self._session.streams:
            if stream.owner is not None:
                stream.owner.lost(reason)

    def pauseProducing(self) -> None:
        """The connection takes no more bytes."""
        self._session.choke(choked=True)

    def resumeProducing(self) -> None:
        """The connection takes bytes again."""
        self._session.choke(choked=False)
        self.flush()

    def stopProducing(self) -> None:
        """The connection is gone; `connectionLost` follows."""

    # --- actions ---------------------------------------------------------------------

    def _perform(self, action: core.Action) -> None:
        self._performers[action.__class__](action)

    def _send(self, action: core.Send) -> None:
        assert self.transport is not None
        self.transport.write(action.data)

    def _received(self, action: core.Received) -> None:
        action.stream.owner.received(action.data)

    def _opened(self, action: core.Opened) -> None:
        self._connect(action.stream, self._accept())

    def _over(self, action: core.Over) -> None:
        kind = (
            net_error.ConnectionLost if action.was_reset else net_error.ConnectionDone
        )
        action.stream.owner.lost(Failure(kind()))

    def _ended(self, action: core.Ended) -> None:
        log.debug("a session ends: {reason}", reason=action.reason)
        transport: Any = self.transport
        transport.abortConnection()


@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport:
    """One stream, as a transport.

    `loseConnection` ends our side once all is sent; `connectionLost` follows when the
    peer has ended its side too. A protocol that does not provide
    IHalfCloseableProtocol has its side ended as soon as the peer has.
    """

    def __init__(
        self, yamux: YamuxProtocol, stream: Stream, protocol: IProtocol
    ) -> None:
        self.protocol: Any = protocol
        self._yamux = yamux
        self._stream = stream
        self._is_lost = False
        self._is_paused = False
        self._unread: list[bytes] = []
        self._unread_end = False
        self._producer: Any = None
        self._is_producer_paused = False

    # --- what protocols call ---------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, as the peer's window allows."""
        self._yamux.session.write(self._stream, data)
        self._yamux.flush()
        if self._producer is not None and self._stream.buffered > _HIGH_WATER:
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Any) -> None:
        """Send several byte strings."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """End our side after what was written."""
        self._yamux.session.close(self._stream, self._yamux.now())
        self._yamux.flush()

    def abortConnection(self) -> None:
        """End both sides at once; the protocol is told before this returns."""
        self._yamux.session.reset(self._stream)
        self._yamux.flush()
        self.lost(Failure(net_error.ConnectionAborted()))

    def getPeer(self) -> Any:
        """Return the peer of the connection."""
        assert self._yamux.transport is not None
        return self._yamux.transport.getPeer()

    def getHost(self) -> Any:
        """Return our own address of the connection."""
        assert self._yamux.transport is not None
        return self._yamux.transport.getHost()

    def pauseProducing(self) -> None:
        """Keep what comes; the peer's window bounds it."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Give what came meanwhile."""
        self._is_paused = False
        unread, self._unread = self._unread, []
        for data in unread:
            self.received(data)
        if self._unread_end and not self._is_paused:
            self._unread_end = False
            self.remote_done()
        self._yamux.flush()

    def stopProducing(self) -> None:
        """Take no more."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause a producer while much waits for the peer's window."""
        assert streaming, "streams have push producers only"
        self._producer = producer
        self._stream.is_watched = True

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None
        self._stream.is_watched = False

    # --- what the session tells ------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._is_lost:
            return
        if self._is_paused:
            self._unread.append(data)
            return
        self.protocol.dataReceived(data)
        self._yamux.session.consumed(self._stream, len(data))

    def remote_done(self) -> None:
        """Note that the peer sends no more."""
        if self._is_lost:
            return
        if self._is_paused:
            self._unread_end = True
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.loseConnection()

    def sent(self) -> None:
        """Note that all that was written is on its way."""
        if self._producer is not None and self._is_producer_paused:
            self._is_producer_paused = False
            self._producer.resumeProducing()

    def lost(self, reason: Failure) -> None:
        """Note that the stream is over; the protocol is told once."""
        if not self._is_lost:
            self._is_lost = True
            self._unread.clear()
            self.protocol.connectionLost(reason)
