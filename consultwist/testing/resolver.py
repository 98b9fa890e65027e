"""ResolverReactor: a test's reactor on which other resolvers answer DNS questions."""

import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

#: Takes the recursor's host, the message and whether it came over TCP; returns what is
#: answered, None for silence; raises ConnectionRefusedError where nothing listens.
Resolve = Callable[[str, bytes, bool], bytes | None]


@attrs.define
class UDPSocket:
    """A datagram socket that leads to the resolvers."""

    protocol: DatagramProtocol
    resolve: Resolve
    host: str = ""
    closed: bool = False
    sent: list[tuple[bytes, Any]] = attrs.Factory(list)

    @property
    def socket(self) -> SimpleNamespace:
        """What a protocol that sends on the socket itself uses."""
        return SimpleNamespace(sendto=lambda data, to: self.sent.append((data, to)))

    def connect(self, host: str, port: int) -> None:
        """Remember the resolver."""
        del port
        self.host = host

    def write(self, data: bytes, to: Any = None) -> None:
        """Ask the resolver."""
        self.sent.append((data, to))
        try:
            answer = self.resolve(self.host, data, False)
        except ConnectionRefusedError:
            self.protocol.connectionRefused()
            return
        if answer is not None:
            self.protocol.datagramReceived(answer, (self.host, 53))

    def stopListening(self) -> Deferred[None]:
        """Close the socket."""
        self.closed = True
        return succeed(None)


class ResolverReactor(MemoryReactorClock):
    """A reactor whose outgoing questions a function answers, at once.

    Attributes:
        sockets: all datagram sockets ever opened.
    """

    def __init__(self, resolve: Resolve) -> None:
        super().__init__()
        self._resolve = resolve
        self.sockets: list[UDPSocket] = []

    def listenUDP(  # Twisted's name
        self, port: int, protocol: DatagramProtocol, **options: Any
    ) -> UDPSocket:
        """Open a socket."""
        del port, options
        opened = UDPSocket(protocol, self._resolve)
        self.sockets.append(opened)
        protocol.transport = opened  # type: ignore[assignment]  # all that is used
        protocol.startProtocol()
        return opened

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,  # noqa: N803  # Twisted's name
    ) -> Any:
        """Connect to a resolver that answers one question."""
        connector: Any = super().connectTCP(host, port, factory, timeout, bindAddress)
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        wire = StringTransport()
        protocol.makeConnection(wire)
        try:
            answer = self._resolve(host, wire.value()[2:], True)
        except ConnectionRefusedError:
            factory.clientConnectionFailed(connector, Failure(Refused()))
            return connector
        if answer is not None:
            protocol.dataReceived(struct.pack(">H", len(answer)) + answer)
        return connector
