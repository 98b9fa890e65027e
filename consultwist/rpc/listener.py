"""RPCListener: the port on which a server is reached by agents and other servers."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.config.runtime import RuntimeConfig
from consultwist.host import Host
from consultwist.rpc.conversation import (
    Answers,
    Conversation,
    NoAnswers,
    PendingBytes,
)
from consultwist.rpc.first_byte import FirstByte, Selector
from consultwist.rpc.limits import ConnectionLimit
from consultwist.rpc.security import Security
from consultwist.yamux.protocol import YamuxProtocol

#: Connections that wait to be accepted.
_BACKLOG: Final = 1024

#: Makes the protocol of a connection of some kind.
MakeProtocol = Callable[[], IProtocol]


class RPCListener(Service):
    """Accepts connections and gives each to what its first byte names."""

    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        security: Security,
        answers: Answers,
        others: dict[int, MakeProtocol],
    ) -> None:
        """Set up.

        Args:
            host: the reactor and the clock.
            config: where to listen, and the limits.
            security: which TLS there is, and whether it is required.
            answers: what runs RPC methods.
            others: by first byte, what makes protocols that are not RPC.
        """
        self._host = host
        self._config = config
        self._security = security
        self._answers = answers
        self._others = others
        self._connections: dict[_Accepted, None] = {}
        self.limit = ConnectionLimit(config.rpc_max_conns_per_client)
        self._port: Any = None

    def startService(self) -> None:
        """Listen."""
        super().startService()
        address = self._config.rpc_bind_addr
        factory = _Factory(self)
        self._port = self._host.reactor.listenTCP(
            address.port, factory, _BACKLOG, address.host
        )

    def stopService(self) -> Deferred[Any]:
        """Listen no more, and end all connections."""
        super().stopService()
        port, self._port = self._port, None
        stopped = maybeDeferred(port.stopListening) if port else maybeDeferred(int)
        for connection in list(self._connections):
            connection.abort()
        return stopped

    def reconfigure(self, config: RuntimeConfig) -> None:
        """Take the limits of a new configuration."""
        self._config = config
        self.limit.most = config.rpc_max_conns_per_client

    @property
    def handshake_timeout_s(self) -> float:
        """How long a connection may take to say what it is."""
        return self._config.rpc_handshake_timeout

    @property
    def host(self) -> Host:
        """The reactor and the clock."""
        return self._host

    def entered(self, connection: "_Accepted") -> None:
        """Note a connection that has begun."""
        self._connections[connection] = None

    def left(self, connection: "_Accepted") -> None:
        """Note a connection that is gone."""
        self._connections.pop(connection, None)

    # --- kinds of connections --------------------------------------------------------

    def make(
        self, kind: int, connection: "_Accepted", *, is_inside: bool = False
    ) -> Any:
        """Return the protocol for a first byte, or None where that is refused."""
        if kind == FirstByte.TLS or kind > FirstByte.INSECURE_TLS:
            return None if is_inside else self._in_tls(kind, connection)
        if kind == FirstByte.INSECURE_TLS:
            return None if is_inside else self._insecure(connection)
        if self._security.is_required and not is_inside:
            self.log.warn(
                "Non-TLS connection attempted with VerifyIncoming set: {source}",
                source=connection.source,
            )
            return None
        protocol = self._make_inner(kind)
        if protocol is None:
            self.log.error("unrecognized RPC byte: {byte}", byte=kind)
        connection.settled()
        return protocol

    def _make_inner(self, kind: int) -> Any:
        if kind == FirstByte.RPC:
            return self._conversation(PendingBytes())
        if kind == FirstByte.MULTIPLEX:
            return YamuxProtocol(
                self._host.reactor,
                self._host.clock,
                is_client=False,
                accept=partial(self._conversation, PendingBytes()),
            )
        make = self._others.get(kind)
        return make() if make is not None else None

    def _conversation(self, pending: PendingBytes) -> Any:
        return Conversation(self._answers, pending)

    def _in_tls(self, kind: int, connection: "_Accepted") -> IProtocol | None:
        layers = self._security.layers
        if layers is None:
            return None
        is_native = kind != FirstByte.TLS
        inner: Any = Selector(
            partial(self.make, connection=connection, is_inside=True),
            by_name=is_native,
        )
        return layers.server(inner, "native" if is_native else "byte")

    def _insecure(self, connection: "_Accepted") -> IProtocol | None:
        layers = self._security.layers
        if layers is None:
            return None
        connection.settled()
        inner: Any = Conversation(NoAnswers(), PendingBytes())
        return layers.server(inner, "insecure")


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, listener: RPCListener) -> None:
        self._listener = listener

    def buildProtocol(self, addr: Any) -> Protocol:
        return _Accepted(self._listener, getattr(addr, "host", ""))


class _Accepted(Selector):
    """An accepted connection: counted, and given little time to say what it is."""

    def __init__(self, listener: RPCListener, source: str) -> None:
        super().__init__(partial(listener.make, connection=self))
        self.source = source
        self._listener = listener
        self._is_counted = False
        self._timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        listener = self._listener
        self._is_counted = listener.limit.enter(self.source)
        if not self._is_counted:
            self.abort()
            return
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        listener.entered(self)
        self._timer = listener.host.reactor.callLater(
            listener.handshake_timeout_s, self._too_late
        )

    def settled(self) -> None:
        """Note that the connection has said what it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.settled()
        self._listener.left(self)
        if self._is_counted:
            self._is_counted = False
            self._listener.limit.leave(self.source)
        super().connectionLost(reason)
