"""SimHost: a reactor over the simulated clock and network.

Gives production code UDP, TCP, time and threads, so that whole services run in virtual
time. Streams are ordered and lossless as TCP's are; a partition stalls them, a crash
of the other end resets them.
"""

from collections.abc import Callable
from typing import Any, Literal

from twisted.internet import address, error
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHalfCloseableProtocol,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.testing.clock import SimCall
from consultwist.testing.host import InlineThreadPool
from consultwist.testing.network import Network

#: Where the system's own choice of ports begins.
_EPHEMERAL = 40000


@implementer(ITransport)
class SimConnection:
    """One end of a simulated TCP connection."""

    def __init__(self, host: "SimHost", local: tuple[str, int]) -> None:
        self._host = host
        self._local = local
        self.peer: SimConnection | None = None
        self.protocol: Protocol | None = None
        self.disconnecting = False
        self._is_open = True
        self._is_aborted = False
        self._ready_at = 0.0
        self._producer: Any = None

    def write(self, data: bytes) -> None:
        """Send bytes, in order."""
        if self._is_open and not self.disconnecting and data:
            self._to_peer(_receive, data)

    def writeSequence(self, data: Any) -> None:
        """Send several pieces."""
        self.write(b"".join(data))

    def _to_peer(self, function: Callable[..., None], *arguments: Any) -> None:
        """Do something at the other end, after everything before it."""
        peer = self.peer
        assert peer is not None
        network = self._host.network
        due = network.clock.seconds() + network.delay_s()
        self._ready_at = max(self._ready_at, due)
        network.clock.at(self._ready_at, self._arrive, peer, function, arguments)

    def _arrive(
        self,
        peer: "SimConnection",
        function: Callable[..., None],
        arguments: tuple[Any, ...],
    ) -> None:
        network = self._host.network
        if not network.connects(self._local[0], peer._local[0]):
            # TCP repeats: look again a little later, in the same order.
            due = network.clock.seconds() + 0.2
            self._ready_at = max(self._ready_at, due)
            network.clock.at(due, self._arrive, peer, function, arguments)
            return
        function(peer, *arguments)

    def loseConnection(self) -> None:
        """Close after what was written."""
        if self._is_open and not self.disconnecting:
            self.disconnecting = True
            self._to_peer(_close, error.ConnectionDone())
            network = self._host.network
            network.clock.at(
                self._ready_at, self.close, Failure(error.ConnectionDone())
            )

    def abortConnection(self) -> None:
        """Read and write no more; the protocol is told soon, the other end later."""
        if self._is_open and not self._is_aborted:
            self.disconnecting = self._is_aborted = True
            self._to_peer(_close, error.ConnectionLost())
            clock = self._host.network.clock
            clock.at(clock.seconds(), self.close, Failure(error.ConnectionAborted()))

    def loseWriteConnection(self) -> None:
        """End our direction after what was written."""
        if self._is_open:
            self._to_peer(_half_close)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Take a push producer; nobody is ever paused, for all bytes have room."""
        assert streaming
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: there are no segments here."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Do nothing: no host vanishes without a trace."""

    def close(self, reason: Failure) -> None:
        """Tell the protocol that the connection is over."""
        if self._is_open:
            self._is_open = False
            self._host.connections.pop(self, None)
            if self._producer is not None:
                self._producer.stopProducing()
            if self.protocol is not None:
                self.protocol.connectionLost(reason)

    @property
    def is_open(self) -> bool:
        """Whether bytes can still arrive."""
        return self._is_open and not self._is_aborted

    def getPeer(self) -> address.IPv4Address:
        """Return where the other end is."""
        assert self.peer is not None
        return address.IPv4Address("TCP", *self.peer._local)

    def getHost(self) -> address.IPv4Address:
        """Return where this end is."""
        return address.IPv4Address("TCP", *self._local)


def _receive(peer: SimConnection, data: bytes) -> None:
    if peer.is_open and peer.protocol is not None:
        peer.protocol.dataReceived(data)


def _half_close(peer: SimConnection) -> None:
    if not peer.is_open:
        return
    protocol: Any = peer.protocol
    if IHalfCloseableProtocol.providedBy(protocol):
        protocol.readConnectionLost()
    else:
        peer.loseConnection()


def _close(peer: SimConnection, reason: Exception) -> None:
    peer.close(Failure(reason))


@implementer(IConnector)
class SimConnector:
    """An attempt to connect."""

    def __init__(
        self,
        host: "SimHost",
        factory: Any,
        local: tuple[str, int],
        target: tuple[str, int],
    ) -> None:
        self.factory = factory
        self._target = target
        self.connection = SimConnection(host, local)
        self.is_settled = False

    def stopConnecting(self) -> None:  # noqa: N802 - Twisted's name
        """Give up."""
        self.fail(error.UserError())

    def fail(self, reason: Exception) -> None:
        """Report that there will be no connection."""
        if not self.is_settled:
            self.is_settled = True
            self.factory.clientConnectionFailed(self, Failure(reason))

    def disconnect(self) -> None:
        """Give up, or close."""
        if self.is_settled:
            self.connection.loseConnection()
        else:
            self.stopConnecting()

    def connect(self) -> None:
        """Never used: every attempt is made by `connectTCP`."""
        raise RuntimeError("a simulated connector connects once")

    def getDestination(self) -> address.IPv4Address:  # noqa: N802 - the same
        """Return where this end is to be connected to."""
        return address.IPv4Address("TCP", *self._target)


class SimPort:
    """A listening socket, TCP or UDP."""

    def __init__(
        self,
        kind: Literal["TCP", "UDP"],
        local: tuple[str, int],
        stop: Callable[[], None],
    ) -> None:
        self._kind = kind
        self._local = local
        self._stop = stop

    def getHost(self) -> address.IPv4Address:
        """Return the address listened on."""
        return address.IPv4Address(self._kind, *self._local)

    def stopListening(self) -> None:
        """Listen no more."""
        self._stop()


class SimDatagrams(SimPort):
    """The transport of a simulated UDP socket."""

    def __init__(
        self, host: "SimHost", local: tuple[str, int], stop: Callable[[], None]
    ) -> None:
        super().__init__("UDP", local, stop)
        self._host = host

    def write(self, packet: bytes, addr: tuple[str, int]) -> None:
        """Send a datagram."""
        self._host.network.send(packet, self._local, addr)


@implementer(IReactorTime)
class SimHost:
    """One machine: an address, a clock, sockets.

    Args:
        network: where it is plugged in.
        host: its address.
    """

    def __init__(self, network: Network, host: str) -> None:
        self.network = network
        self.host = host
        self.connections: dict[SimConnection, None] = {}
        self._listening: dict[int, Factory] = {}
        self._bound: dict[int, DatagramProtocol] = {}
        self._calls: dict[SimCall, None] = {}
        self._next_port = _EPHEMERAL
        self.is_up = True
        network.hosts[host] = self

    # --- time and threads -------------------------------------------------------

    def seconds(self) -> float:
        """Return the virtual time."""
        return self.network.clock.seconds()

    def callLater(
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002 - Twisted's name
        *args: Any,
        **kw: Any,
    ) -> SimCall:
        """Call a function after a delay, if the host still runs then."""
        call = self.network.clock.callLater(delay, callable, *args, **kw)
        self._calls = {c: None for c in self._calls if c.active()} | {call: None}
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """Return the calls that are still to be made."""
        return [call for call in self._calls if call.active()]

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """Call at once: there is only one thread."""
        function(*args)

    def getThreadPool(self) -> InlineThreadPool:
        """Return the pool that does its work at once."""
        return InlineThreadPool()

    # --- UDP --------------------------------------------------------------------

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",  # noqa: ARG002 - a host has one address
        maxPacketSize: int = 8192,  # noqa: ARG002 - Twisted's signature
    ) -> SimDatagrams:
        """Open a datagram socket."""
        port = port or self._choose(self._bound)
        if port in self._bound:
            raise error.CannotListenError(self.host, port, OSError("in use"))
        local = (self.host, port)

        def stop() -> None:
            self._bound.pop(port, None)
            self.network.detach(local)
            protocol.doStop()

        self._bound[port] = protocol
        datagrams = SimDatagrams(self, local, stop)
        protocol.transport = datagrams  # type: ignore[assignment]
        self.network.attach(local, protocol.datagramReceived)
        protocol.doStart()
        return datagrams

    def _choose(self, taken: dict[int, Any]) -> int:
        while self._next_port in taken:
            self._next_port += 1
        self._next_port += 1
        return self._next_port - 1

    # --- TCP --------------------------------------------------------------------

    def listenTCP(
        self,
        port: int,
        factory: Factory,
        backlog: int = 50,  # noqa: ARG002 - Twisted's signature
        interface: str = "",  # noqa: ARG002 - a host has one address
    ) -> SimPort:
        """Open a listening socket."""
        port = port or self._choose(self._listening)
        if port in self._listening:
            raise error.CannotListenError(self.host, port, OSError("in use"))
        self._listening[port] = factory
        factory.doStart()

        def stop() -> None:
            if self._listening.pop(port, None) is not None:
                factory.doStop()

        return SimPort("TCP", (self.host, port), stop)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: ARG002, N803 - Twisted's signature
    ) -> SimConnector:
        """Connect to another host."""
        local = (self.host, self._choose({}))
        connector = SimConnector(self, factory, local, (host, port))
        factory.doStart()
        factory.startedConnecting(connector)
        self.callLater(timeout, connector.fail, error.TimeoutError())
        if self.network.connects(self.host, host):
            self.network.later(self._knock, connector, (host, port))
        return connector

    def _knock(self, connector: SimConnector, target: tuple[str, int]) -> None:
        """Arrive at the other host."""
        if connector.is_settled:
            return
        other = self.network.hosts.get(target[0])
        if other is None or not other.is_up:
            return
        listener = other._listening.get(target[1])
        if listener is None:
            self.network.later(connector.fail, error.ConnectionRefusedError())
            return
        near, far = connector.connection, SimConnection(other, target)
        near.peer, far.peer = far, near
        protocol = listener.buildProtocol(near.getHost())
        if protocol is None:
            self.network.later(connector.fail, error.ConnectionRefusedError())
            return
        far.protocol = protocol
        other.connections[far] = None
        protocol.makeConnection(far)
        self.network.later(self._established, connector)

    def _established(self, connector: SimConnector) -> None:
        connection = connector.connection
        if connector.is_settled or not self.is_up:
            connection.abortConnection()
            return
        connector.is_settled = True
        protocol = connector.factory.buildProtocol(connection.getPeer())
        connection.protocol = protocol
        self.connections[connection] = None
        protocol.makeConnection(connection)

    # --- life -------------------------------------------------------------------

    def crash(self) -> None:
        """Lose power: nothing is called, sent or received any more."""
        self.is_up = False
        for call in self._calls:
            if call.active():
                call.cancel()
        for port in list(self._bound):
            self.network.detach((self.host, port))
        self._bound.clear()
        self._listening.clear()
        for connection in list(self.connections):
            connection.protocol = None
            connection.abortConnection()

    def restart(self) -> None:
        """Run again, with nothing open."""
        self.is_up = True
