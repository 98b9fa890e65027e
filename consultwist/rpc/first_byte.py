"""The first byte of a connection to a server says what it is.

`Selector` reads it and hands the connection to the protocol of that kind. Connections
that begin with TLS (a byte for it, or a TLS record at once) say it inside, by another
byte or by their ALPN name.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer


class FirstByte(IntEnum):
    """What a connection can be (rpc.md section 1)."""

    RPC = 0
    RAFT = 1
    TLS = 3
    MULTIPLEX = 4
    SNAPSHOT = 5
    INSECURE_TLS = 7


#: What ALPN says in the place of the byte (rpc.md section 2.3).
ALPN_NAMES: Final = {
    b"consul/rpc-single": FirstByte.RPC,
    b"consul/raft": FirstByte.RAFT,
    b"consul/rpc-multi": FirstByte.MULTIPLEX,
    b"consul/rpc-snapshot": FirstByte.SNAPSHOT,
}


class Relay(Protocol):
    """Stands before another protocol, which it gives the connection to.

    From then on bytes go to the other one directly.
    """

    inner: Any = None

    def give_to(self, inner: IProtocol, rest: bytes = b"") -> None:
        """Let a protocol have the connection, and the bytes that came already."""
        assert self.transport is not None
        self.inner = inner
        inner.makeConnection(self.transport)
        if not isinstance(inner, Relay):
            # Bytes need not pass here any more: the attribute hides the method. (A
            # relay's own will change.)
            self.dataReceived = inner.dataReceived  # type: ignore[method-assign]
        if rest:
            inner.dataReceived(rest)

    def dataReceived(self, data: bytes) -> None:
        self.inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.inner is not None:
            self.inner.connectionLost(reason)

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.readConnectionLost()
        else:
            self.close()

    def writeConnectionLost(self) -> None:
        """We send no more."""
        if IHalfCloseableProtocol.providedBy(self.inner):
            self.inner.writeConnectionLost()

    def close(self) -> None:
        """End the connection."""
        transport: Any = self.transport
        transport.loseConnection()


#: Makes the protocol for a first byte, or None where that is refused.
MakeProtocol = Callable[[int], IProtocol | None]


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Selector(Relay):
    """Reads the first byte, or the ALPN name of a connection in TLS.

    Attributes:
        make: makes the protocol of a kind, or None to refuse it.
        by_name: whether the ALPN name says it and no byte follows.
    """

    def __init__(self, make: MakeProtocol, *, by_name: bool = False) -> None:
        self._make = make
        self._by_name = by_name

    def handshakeCompleted(self) -> None:
        """TLS is ready."""
        if self._by_name:
            transport: Any = self.transport
            kind = ALPN_NAMES.get(transport.negotiatedProtocol)
            self._select(-1 if kind is None else kind, b"")

    def dataReceived(self, data: bytes) -> None:
        if data:
            self._select(data[0], data)

    def _select(self, kind: int, data: bytes) -> None:
        if self.inner is not None:
            return
        inner = self._make(kind)
        if inner is None:
            transport: Any = self.transport
            transport.abortConnection()
            return
        # A TLS record is not preceded by a byte of ours.
        starts_at_once = self._by_name or kind > FirstByte.INSECURE_TLS
        self.give_to(inner, data if starts_at_once else data[1:])
