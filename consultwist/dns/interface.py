"""The DNS interface: listeners for UDP and TCP that hand messages to the responder."""

import os
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    maybeDeferred,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.config.runtime import ListenAddress
from consultwist.dns.responder import Answer, Responder
from consultwist.errors import ConfigError
from consultwist.interfaces import IAgent, IAgentInterface, IDNSForm

log = Logger()

#: The largest question that is read from UDP; with all extensions they have some
#: hundred bytes.
DATAGRAM_MAX: Final = 4096
#: How long a connection may be silent (the stock agent's DNS library: 8 s).
IDLE_TIMEOUT_S: Final = 8.0
#: Connections at once; a process has often no more than 1024 descriptors.
CONNECTIONS_MAX: Final = 512

_LENGTH: Final = struct.Struct(">H")


@implementer(IAgentInterface)
class DNSInterface:
    """Answers DNS questions about the catalog."""

    name = "dns"

    def make_service(self, agent: IAgent) -> Service | None:
        """Make the listeners, with all forms of names that are installed."""
        if not agent.config.dns_addrs:
            return None
        return DNSService(agent, agent.plugins.dns_forms)


class DNSService(Service):
    """Listens on the configured addresses."""

    name = "dns"

    def __init__(self, agent: IAgent, forms: Sequence[IDNSForm]) -> None:
        self._agent = agent
        self._responder = Responder(agent, forms)
        self._ports: list[IListeningPort] = []
        self._factories: list[DNSStreamFactory] = []

    def privilegedStartService(self) -> None:
        """Bind while that is still allowed: port 53 needs privileges."""
        self._listen()

    def startService(self) -> None:
        """Bind, where that was not done before."""
        super().startService()
        self._listen()

    def _listen(self) -> None:
        if self._ports:
            return
        errors = []
        for address in self._agent.config.dns_addrs:
            try:
                self._ports.append(self._bind(address))
            except CannotListenError as error:
                errors.append(_bind_error(address, error))
                continue
            log.info(
                "Started DNS server: address={address} network={network}",
                address=f"{address.host}:{address.port}",
                network=address.network,
            )
        if errors:
            raise ConfigError(several_errors(errors))

    def _bind(self, address: ListenAddress) -> IListeningPort:
        reactor = self._agent.reactor
        if address.network == "udp":
            port: IListeningPort = reactor.listenUDP(
                address.port,
                DNSDatagrams(self._responder),
                interface=address.host,
                maxPacketSize=DATAGRAM_MAX,
            )
            return port
        factory = DNSStreamFactory(reactor, self._responder)
        port = reactor.listenTCP(address.port, factory, interface=address.host)
        self._factories.append(factory)
        return port

    def stopService(self) -> Deferred[Any]:
        """Close the listeners and all connections."""
        for factory in self._factories:
            factory.close_all()
        ports, self._ports = self._ports, []
        closed = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList([*closed, maybeDeferred(super().stopService)])


def _bind_error(address: ListenAddress, error: CannotListenError) -> str:
    cause = error.socketError
    number = getattr(cause, "errno", None)
    reason = os.strerror(number).lower() if isinstance(number, int) else str(cause)
    return f"listen {address.network} {address.location}: bind: {reason}"


def several_errors(errors: Sequence[str]) -> str:
    """Return errors that came together as one text, in Consul's form."""
    count = f"{len(errors)} error{'s' if len(errors) > 1 else ''} occurred:"
    return "\n".join([count, *(f"\t* {error}" for error in errors), "\n"])


class DNSDatagrams(DatagramProtocol):
    """Answers datagrams, straight on the socket: `transport.write` costs more."""

    noisy = False

    def __init__(self, responder: Responder) -> None:
        self._respond = responder.respond
        self._send: Callable[[bytes, Any], Any] = lambda *_: None

    def startProtocol(self) -> None:
        """Take the socket."""
        assert self.transport is not None
        port: Any = self.transport
        self._send = port.socket.sendto

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer a question, at once where that is possible."""
        answer = self._respond(datagram, addr[0], stream=False)
        if isinstance(answer, Deferred):
            answer.addCallback(self._reply, addr)
            answer.addErrback(_report)
        elif answer is not None:
            self._reply(answer, addr)

    def _reply(self, answer: Answer, addr: Any) -> None:
        if answer is not None:
            try:
                self._send(answer, addr)
            except OSError as error:
                # The buffer is full, or the client has gone: it asks again.
                log.debug("no answer to {addr}: {error}", addr=addr, error=str(error))


class DNSStreamFactory(ServerFactory):
    """Makes the protocols of connections, up to a number."""

    noisy = False

    def __init__(self, reactor: Any, responder: Responder) -> None:
        self.reactor = reactor
        self.responder = responder
        self.connections: dict[DNSStream, None] = {}

    def buildProtocol(self, addr: IAddress | None) -> "DNSStream | None":
        """Return a protocol; None, which closes the connection, for one too many."""
        if len(self.connections) >= CONNECTIONS_MAX:
            return None
        protocol = DNSStream(self, addr)
        self.connections[protocol] = None
        return protocol

    def close_all(self) -> None:
        """Close all connections."""
        for protocol in list(self.connections):
            protocol.close()


class DNSStream(Protocol):
    """A connection: messages with their length before them, answered in order."""

    def __init__(self, factory: DNSStreamFactory, peer: IAddress | None) -> None:
        self._factory = factory
        self._wire: Any = None
        self._address = str(getattr(peer, "host", ""))
        self._buffer = bytearray()
        self._waiting: Deferred[Any] | None = None
        self._idle: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Begin to wait for the first question."""
        self._wire = self.transport
        self._idle = self._factory.reactor.callLater(IDLE_TIMEOUT_S, self.close)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Forget the connection."""
        del reason
        self._factory.connections.pop(self, None)
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        """End the connection."""
        self._wire.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Answer what has arrived whole."""
        self._buffer += data
        self._answer_all()

    def _answer_all(self) -> None:
        while self._waiting is None:
            message = self._next_message()
            if message is None:
                return
            answer = self._factory.responder.respond(
                message, self._address, stream=True
            )
            if isinstance(answer, Deferred):
                self._wait(answer)
            else:
                self._reply(answer)

    def _next_message(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return None
        message = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        if self._idle is not None:
            self._idle.reset(IDLE_TIMEOUT_S)
        return message

    def _wait(self, answer: Deferred[Answer]) -> None:
        """Read no more until an answer is there: the client holds back, not we."""
        self._waiting = answer
        self._wire.pauseProducing()
        answer.addCallbacks(self._resume, _report)

    def _resume(self, answer: Answer) -> None:
        self._waiting = None
        self._reply(answer)
        self._wire.resumeProducing()
        self._answer_all()

    def _reply(self, answer: Answer) -> None:
        if answer is not None:
            self._wire.write(_LENGTH.pack(len(answer)) + answer)


def _report(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("DNS question not answered", failure)
