"""A network of canned HTTP servers for the checks under test."""

import gzip
import json
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost, getConnectError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

VECTORS = Path(__file__).parents[2] / "vectors" / "checks"
PROBES = json.loads((VECTORS / "probes.json").read_text())
REQUESTS = json.loads((VECTORS / "requests.json").read_text())["requests"]

_ZIPPED = gzip.compress(b"zipped body")
REPLIES: dict[str, bytes] = {
    path: reply.encode() for path, reply in PROBES["replies"].items()
} | {
    "/gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    % len(_ZIPPED)
    + _ZIPPED,
    "/badgzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    b"Content-Length: 3\r\n\r\nabc",
    "/rslow": b"HTTP/1.1 302 Found\r\nLocation: /slow\r\nContent-Length: 0\r\n\r\n",
    "/slowbody": b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc",
}
ABSENT = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"

#: Paths whose server never closes the connection.
SLOW = ("/slow", "/slowbody")
#: The port whose server never answers at all.
HANGING_PORT = 7620
#: The ports with a server.
SERVED_PORTS = (7601, 7602)

_ADDRESSES = {"localhost": ("127.0.0.1", "::1")}


@implementer(IHostnameResolver)
class Resolver:
    """Knows one name."""

    def resolveHostName(  # noqa: N802 - Twisted's name
        self,
        resolutionReceiver: Any,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: Any = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> Any:
        """Answer at once."""
        receiver, name = resolutionReceiver, hostName
        receiver.resolutionBegan(None)
        for address in _ADDRESSES.get(name, ()):
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()
        return receiver


class Network:
    """Answers the connections that a simulated reactor was asked for."""

    def __init__(self, reactor: MemoryReactorClock, replies: dict[str, bytes]) -> None:
        self._reactor = reactor
        self._replies = replies
        self._done = len(reactor.tcpClients)
        self.requests: list[bytes] = []
        self.transports: list[StringTransport] = []
        reactor.nameResolver = Resolver()

    def serve(self) -> None:
        """Answer all connections, also those that come of the answers."""
        while self._done < len(self._reactor.tcpClients):
            host, port, factory, *_ = self._reactor.tcpClients[self._done]
            self._done += 1
            if port in SERVED_PORTS:
                self._answer(host, port, factory)
            elif port != HANGING_PORT:
                number = 101 if host == "255.255.255.255" else 111
                failed = getConnectError((number, "refused"))
                connector: Any = self._reactor.connectors[self._done - 1]
                factory.clientConnectionFailed(connector, Failure(failed))

    def _answer(self, host: str, port: int, factory: Any) -> None:
        protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        transport = StringTransport(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 50000),
            peerAddress=IPv4Address("TCP", host, port),
        )
        self.transports.append(transport)
        protocol.makeConnection(transport)
        request = transport.value()
        if not request:
            return
        self.requests.append(request)
        target = request.split(b" ", 2)[1].decode("utf-8", "surrogateescape")
        path = target.partition("?")[0]
        if path == "/reset":
            protocol.connectionLost(Failure(ConnectionLost()))
            return
        reply = b"" if path == "/slow" else self._replies.get(path, ABSENT)
        # One byte at a time: no reader may count on the cuts of the network.
        for number in range(len(reply)):
            protocol.dataReceived(reply[number : number + 1])
        if path not in SLOW:
            protocol.connectionLost(Failure(ConnectionDone()))
