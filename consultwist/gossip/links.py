"""The sockets of a pool: packets, streams of others, streams of our own."""

from collections.abc import Callable, Hashable
from typing import Any

import attrs
from twisted.internet import error
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IConnector
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from consultwist.errors import ConfigError
from consultwist.gossip.address import Address, format_address
from consultwist.gossip.memberlist.actions import OpenStream
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.stream import StreamMessage, StreamRefused
from consultwist.gossip.stream import GossipStream, StreamListener
from consultwist.gossip.udp import PACKET_READ_SIZE, PacketPort

#: How often another port is tried where the system chose one that UDP cannot have.
_PORT_TRIES = 10


@attrs.frozen
class StreamEvents:
    """Who hears about the streams of a pool.

    Attributes:
        request_arrived: takes the message of a stream that a member opened.
        request_refused: takes the reason why such a stream could not be read.
        answer_arrived: takes the answer on a stream that we opened.
        stream_failed: takes the failure of a stream that we opened.
    """

    request_arrived: Callable[[Hashable, StreamMessage, Address], None]
    request_refused: Callable[[Hashable, str], None]
    answer_arrived: Callable[[int, StreamMessage], None]
    stream_failed: Callable[[int, str], None]


class _Dialer(ClientFactory):
    """Opens one stream."""

    noisy = False

    def __init__(self, stream: GossipStream, failed: Callable[[str], None]) -> None:
        self._stream = stream
        self._failed = failed

    def buildProtocol(self, addr: object) -> GossipStream:  # noqa: ARG002
        return self._stream

    def clientConnectionFailed(
        self,
        connector: IConnector,  # noqa: ARG002 - Twisted's signature
        reason: Failure,
    ) -> None:
        self._failed(_reason_text(reason))


def _reason_text(reason: Failure) -> str:
    """Return what a user of Consul reads about a failed connection."""
    if reason.check(error.ConnectionRefusedError):
        return "connect: connection refused"
    if reason.check(error.TimeoutError):
        return "i/o timeout"
    if reason.check(error.NoRouteError):
        return "connect: no route to host"
    return str(reason.value)


class Links:
    """Listens for packets and streams at one port, and dials.

    Args:
        reactor: provides UDP, TCP and time.
        received: takes a packet and where it came from.
        counted: told the reason of every stream that was refused.
    """

    def __init__(
        self,
        reactor: Any,
        received: Callable[[bytes, Address], None],
        counted: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._counted = counted
        self._packets = PacketPort(received)
        self._listener = StreamListener(self._accept, counted)
        self._ports: list[Any] = []
        self._dialed: dict[int, tuple[GossipStream, Any]] = {}
        self._events: StreamEvents | None = None
        self._codec: PacketCodec | None = None
        self._timeout_s = 0.0

    def listen(self, host: str, port: int) -> int:
        """Open both sockets; return their port.

        Raises:
            ConfigError: where the address cannot be used.
        """
        for attempt in range(_PORT_TRIES):
            try:
                stream_port = self._reactor.listenTCP(
                    port, self._listener, interface=host
                )
            except error.CannotListenError as problem:
                raise ConfigError(f"Failed to start TCP listener: {problem}") from None
            chosen: int = stream_port.getHost().port
            try:
                packet_port = self._reactor.listenUDP(
                    chosen, self._packets, host, PACKET_READ_SIZE
                )
            except error.CannotListenError as problem:
                stream_port.stopListening()
                if port or attempt == _PORT_TRIES - 1:
                    text = f"Failed to start UDP listener: {problem}"
                    raise ConfigError(text) from None
                continue
            self._ports = [stream_port, packet_port]
            return chosen
        raise AssertionError

    def serve(self, codec: PacketCodec, timeout_s: float, events: StreamEvents) -> None:
        """Say who takes what comes; call before the reactor turns."""
        self._codec = codec
        self._timeout_s = timeout_s
        self._events = events

    def send(self, data: bytes, address: Address) -> None:
        """Send a packet."""
        self._packets.send(data, address)

    # --- streams of others ------------------------------------------------------

    def _accept(self) -> GossipStream:
        assert self._codec is not None
        return GossipStream(
            self._reactor,
            self._codec,
            self._timeout_s,
            is_dialing=False,
            arrived=self._request_arrived,
            failed=self._request_failed,
        )

    def _request_arrived(self, stream: GossipStream, request: StreamMessage) -> None:
        assert self._events is not None
        self._events.request_arrived(stream, request, stream.source)

    def _request_failed(self, stream: GossipStream, problem: Exception) -> None:
        assert self._events is not None
        if isinstance(problem, StreamRefused):
            self._events.request_refused(stream, str(problem))
        elif stream.received_bytes:
            self._counted("gossip: a stream without a message")

    def answer(self, stream: Hashable, data: bytes) -> None:
        """Write an answer and close."""
        assert isinstance(stream, GossipStream)
        stream.answer(data)

    # --- streams of our own -----------------------------------------------------

    def dial(self, action: OpenStream) -> None:
        """Open a stream, write to it, wait for the answer."""
        assert self._codec is not None
        number = action.stream

        def arrived(stream: GossipStream, answer: StreamMessage) -> None:
            self._dialed.pop(number, None)
            stream.finish()
            assert self._events is not None
            self._events.answer_arrived(number, answer)

        def failed(_stream: GossipStream | None, problem: object) -> None:
            if self._dialed.pop(number, None) is not None:
                assert self._events is not None
                self._events.stream_failed(number, str(problem))

        stream = GossipStream(
            self._reactor,
            self._codec,
            action.timeout_s,
            is_dialing=True,
            arrived=arrived,
            failed=failed,
        )
        stream.request = action.data
        address = format_address(action.address)
        factory = _Dialer(
            stream, lambda text: failed(None, f"dial tcp {address}: {text}")
        )
        self._dialed[number] = (stream, None)
        host, port = action.address
        connector = self._reactor.connectTCP(host, port, factory, action.timeout_s)
        if number in self._dialed:
            self._dialed[number] = (stream, connector)

    def close(self, stream: Hashable) -> None:
        """Close a stream in either direction, without a word."""
        if isinstance(stream, GossipStream):
            stream.finish()
            return
        assert isinstance(stream, int)
        _, connector = self._dialed.pop(stream, (None, None))
        if connector is not None:
            connector.disconnect()

    def stop(self) -> Deferred[Any]:
        """Close everything."""
        for number in list(self._dialed):
            self.close(number)
        self._listener.abort_all()
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(port.stopListening) for port in ports])
