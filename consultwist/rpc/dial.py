"""Dialer: connections to servers, with TLS where the configuration wants it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet import error as net_error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.rpc.first_byte import FirstByte, Relay
from consultwist.rpc.security import Security

#: How long a connection may take, its TLS handshake included (rpc.md section 7.5).
DIAL_TIMEOUT_S: Final = 10.0


@implementer(IHandshakeListener)
class _Opening(Relay):
    """Writes the first byte as soon as that may be, then is out of the way."""

    def __init__(
        self, kind: FirstByte, protocol: IProtocol, verify: Callable[[Any], None]
    ) -> None:
        self._kind = kind
        self._protocol = protocol
        self._verify = verify
        self.done: Deferred[None] = Deferred()

    def begin(self) -> None:
        """Give the connection to its protocol, the first byte written."""
        transport: Any = self.transport
        transport.write(bytes([self._kind]))
        self.give_to(self._protocol)
        if not self.done.called:
            self.done.callback(None)

    def handshakeCompleted(self) -> None:
        """TLS is ready; go on if the server is who it should be."""
        try:
            self._verify(self.transport)
        except Exception:
            # Whatever the reason: without a successful check nothing is sent, and the
            # connection is aborted by whoever waits.
            if not self.done.called:
                self.done.errback(Failure())
        else:
            self.begin()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if not self.done.called:
            self.done.errback(reason)


class _Connection(Relay):
    """The TCP connection below."""

    def __init__(self, opening: _Opening, layer: IProtocol | None) -> None:
        self._opening = opening
        self._layer = layer

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        if self._layer is None:
            self.give_to(self._opening)
            self._opening.begin()
        else:
            transport.write(bytes([FirstByte.TLS]))
            self.give_to(self._layer)


class Dialer:
    """Makes connections to servers."""

    def __init__(self, reactor: Any, security: Security, source: str = "") -> None:
        """Set up.

        Args:
            reactor: provides IReactorTCP and IReactorTime.
            security: says whether and how TLS is used.
            source: the address to connect from; empty for any.
        """
        self._reactor = reactor
        self._security = security
        self._source = source

    def connect(
        self, address: str, datacenter: str, kind: FirstByte, protocol: IProtocol
    ) -> Deferred[None]:
        """Connect a protocol to a server; fires when the first byte is written.

        Args:
            address: ``ip:port`` of the server.
            datacenter: the server's; its name is checked where that is wanted.
            kind: what the connection is for.
            protocol: gets the connection, behind TLS where that is used.
        """
        layers = self._security.layers
        if self._security.is_outgoing and layers is not None:
            opening = _Opening(
                kind, protocol, partial(layers.verify_server, datacenter=datacenter)
            )
            layer = layers.client(opening, datacenter)
        else:
            opening, layer = _Opening(kind, protocol, _nothing), None
        connection = _Connection(opening, layer)
        return Deferred.fromCoroutine(self._connect(address, connection, opening))

    async def _connect(
        self, address: str, connection: _Connection, opening: _Opening
    ) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        # The endpoint takes addresses of version 6 as well: nothing is resolved.
        endpoint = TCP4ClientEndpoint(
            self._reactor,
            host,
            int(port),
            DIAL_TIMEOUT_S,
            (self._source, 0) if _same_family(self._source, host) else None,
        )
        try:
            await connectProtocol(endpoint, connection)
            opening.done.addTimeout(DIAL_TIMEOUT_S, self._reactor)
            await opening.done
        except BaseException:
            if connection.transport is not None:
                transport: Any = connection.transport
                transport.abortConnection()
            raise


def _nothing(_: object) -> None:
    """Check nothing: there is no certificate."""


def _same_family(source: str, host: str) -> bool:
    """Tell whether a source address can be used: a specific one of the same version."""
    return source not in ("", "0.0.0.0", "::") and (":" in source) == (":" in host)  # noqa: S104 - not to listen


def go_text(address: str, failure: Failure) -> str:
    """Return what Go says about a connection that could not be made."""
    if failure.check(net_error.ConnectionRefusedError):
        reason = "connect: connection refused"
    elif failure.check(net_error.TimeoutError, net_error.UserError) or "imeout" in str(
        failure.type
    ):
        reason = "i/o timeout"
    else:
        reason = failure.getErrorMessage()
    return f"dial tcp {address}: {reason}"
