"""Streams in memory: pairs of transports over a simulated clock."""

from collections.abc import Callable
from typing import Any

from twisted.internet import error as net_error
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.testing.clock import SimClock

#: How long bytes are under way.
_DELAY_S = 0.001


@implementer(ITransport)
class StreamEnd:
    """One end of a stream; what is written comes out at the other, later, in order."""

    def __init__(self, clock: SimClock, name: str) -> None:
        self._clock = clock
        self._name = name
        self.other: StreamEnd | None = None
        self.protocol: Any = None
        self.written = bytearray()
        self.is_lost = False
        self.is_paused = False
        self._unread: list[bytes] = []
        self._producer: Any = None

    def write(self, data: bytes) -> None:
        """Send bytes to the other end."""
        self.written += data
        if not self.is_lost:
            self._later(lambda other: other.receive(data))

    def writeSequence(self, iovec: Any) -> None:
        """Send several byte strings."""
        self.write(b"".join(iovec))

    def receive(self, data: bytes) -> None:
        """Take bytes from the other end."""
        if self.is_lost:
            return
        if self.is_paused:
            self._unread.append(data)
        else:
            self.protocol.dataReceived(data)

    def pauseProducing(self) -> None:
        """Keep what comes until it is wanted."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Give what came meanwhile."""
        self.is_paused = False
        unread, self._unread = self._unread, []
        for data in unread:
            self.receive(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask a pull producer for more whenever there is room."""
        assert not streaming
        self._producer = producer
        self._clock.callLater(0, self._pull)

    def unregisterProducer(self) -> None:
        """Ask for no more."""
        self._producer = None

    def _pull(self) -> None:
        if self._producer is not None and not self.is_lost:
            self._producer.resumeProducing()
            self._clock.callLater(0, self._pull)

    def loseConnection(self) -> None:
        """Close both ends; what was written before still arrives."""
        self._later(lambda other: other.lose())
        self.lose()

    def abortConnection(self) -> None:
        """Close both ends."""
        self.loseConnection()

    def lose(self) -> None:
        """End; tell the protocol once."""
        if not self.is_lost:
            self.is_lost = True
            self._producer = None
            self._clock.callLater(
                0, self.protocol.connectionLost, Failure(net_error.ConnectionDone())
            )

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: there are no packets here."""

    def getPeer(self) -> Any:
        """Return the name of the stream."""
        return self._name

    def getHost(self) -> Any:
        """Return the name of the stream."""
        return self._name

    def _later(self, then: Callable[["StreamEnd"], None]) -> None:
        assert self.other is not None
        self._clock.at(self._clock.monotonic() + _DELAY_S, then, self.other)


class StreamNetwork:
    """Opens streams to addresses at which something listens."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._listeners: dict[str, Callable[[], IProtocol]] = {}
        self.hanging: set[str] = set()
        self.opened: list[tuple[str, StreamEnd]] = []

    def listen(self, address: str, make_protocol: Callable[[], IProtocol]) -> None:
        """Let a function make the protocol for each stream to an address."""
        self._listeners[address] = make_protocol

    def stop_listening(self, address: str) -> None:
        """Refuse streams to an address, and end those that are open."""
        self._listeners.pop(address, None)
        for opened, end in self.opened:
            if opened == address:
                end.loseConnection()

    def connect(self, address: str, protocol: IProtocol) -> "Deferred[IProtocol]":
        """Open a stream and connect the protocol to it."""
        if address in self.hanging:
            return Deferred()
        make = self._listeners.get(address)
        if make is None:
            return fail(net_error.ConnectionRefusedError())
        done: Deferred[IProtocol] = Deferred()
        self._clock.at(
            self._clock.monotonic() + _DELAY_S, self._open, address, protocol, done
        )
        return done

    def _open(
        self, address: str, protocol: IProtocol, done: "Deferred[IProtocol]"
    ) -> None:
        make = self._listeners.get(address)
        if done.called:
            return
        if make is None:
            done.errback(net_error.ConnectionRefusedError())
            return
        near, far = (StreamEnd(self._clock, address) for _ in range(2))
        near.other, far.other = far, near
        near.protocol, far.protocol = protocol, make()
        self.opened.append((address, near))
        far.protocol.makeConnection(far)
        protocol.makeConnection(near)
        done.callback(protocol)
