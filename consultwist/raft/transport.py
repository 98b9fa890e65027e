"""Raft RPCs over streams: to peers, and from them.

To each peer there are several streams: entries, heartbeats, votes and pre-votes do not
wait for each other, and a peer that closes the stream because it does not know
pre-votes hurts nothing else. Requests on one stream are answered in their order, and
are written without waiting for earlier answers. A snapshot gets a stream of its own.

How a stream is opened is not known here: plain or in TLS, the function that is given
does it, first byte included, and hands over streams that are accepted.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet import error as net_error
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IPullProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.errors import WireError
from consultwist.raft.codec import ResponseDecoder, encode_request
from consultwist.raft.configuration import Server
from consultwist.raft.interfaces import IRaftReceiver, IRaftTransport, ISnapshotSource
from consultwist.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    Request,
    RequestPreVote,
)
from consultwist.raft.server_protocol import RaftServerProtocol

log = Logger()

#: Opens a stream to an address and connects the protocol to it. The stream is ready
#: for the first request: the first byte, and TLS where it is used, are behind it.
Connect = Callable[[str, IProtocol], "Deferred[Any]"]

#: How long connecting, and the answer to a message, may take (raft.md section 1).
IO_TIMEOUT_S: Final = 10.0

#: A snapshot may take the timeout once for each so many bytes (raft.md section 1).
_SNAPSHOT_TIMEOUT_SIZE: Final = 256 * 1024

#: After a failed attempt the next one waits, doubling up to a bound that keeps a peer
#: that comes back from waiting long.
_RECONNECT_S: Final = 0.05
_RECONNECT_MAX_S: Final = 1.0

#: Requests on one stream without an answer. The core has a few at most.
_CALLS_MAX: Final = 64

#: What a newer peer that does not take pre-votes answers (raft.md section 3).
_UNKNOWN_COMMAND: Final = "unexpected command"


@attrs.frozen
class _Call:
    ticket: int
    request: Request
    due: float


class _ClientProtocol(Protocol):
    """One stream to a peer: writes requests, cuts answers out of what comes back."""

    def __init__(self, channel: "_Channel") -> None:
        self._channel = channel
        self._decoder = ResponseDecoder()

    def connectionMade(self) -> None:
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)

    def abort(self) -> None:
        """Close the stream at once, if there is one."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        try:
            for error, raw in self._decoder.feed(data):
                self._channel.answered(error, raw)
        except WireError as error:
            log.warn(
                "raft: {address} answers nonsense: {error}",
                address=self._channel.address,
                error=error,
            )
            self._channel.drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - the answers are missing, whatever the reason
        self._channel.lost(self)


class _Channel:
    """A stream to one peer for one kind of request, opened when it is needed."""

    def __init__(self, owner: "RaftTransport", address: str) -> None:
        self.address = address
        self._owner = owner
        self._protocol: _ClientProtocol | None = None
        self._is_open = False
        self._calls: deque[_Call] = deque()
        self._timer: IDelayedCall | None = None
        self._attempt: Deferred[Any] | None = None
        self._retry_at = 0.0
        self._retry_s = _RECONNECT_S

    @property
    def is_idle(self) -> bool:
        """Tell whether no answer is awaited."""
        return not self._calls

    def call(self, ticket: int, request: Request, timeout_s: float) -> None:
        """Send a request; it fails where the peer cannot be reached for now."""
        now = self._owner.clock.monotonic()
        is_waiting = self._protocol is None and now < self._retry_at
        if is_waiting or len(self._calls) >= _CALLS_MAX:
            self._owner.fail_soon(ticket)
            return
        self._calls.append(_Call(ticket, request, now + timeout_s))
        self._arm()
        if self._is_open:
            self.write(encode_request(request))
        elif self._protocol is None:
            self._connect()

    def write(self, data: bytes) -> None:
        """Write bytes to the open stream."""
        assert self._protocol is not None
        assert self._protocol.transport is not None
        self._protocol.transport.write(data)

    def _connect(self) -> None:
        protocol = _ClientProtocol(self)
        self._protocol = protocol
        self._attempt = self._owner.connect(self.address, protocol)
        self._attempt.addCallbacks(
            lambda _: self._connected(protocol), lambda _: self.lost(protocol)
        )

    def _connected(self, protocol: _ClientProtocol) -> None:
        if self._protocol is not protocol:
            protocol.abort()
            return
        self._attempt = None
        self._is_open = True
        self._retry_s = _RECONNECT_S
        for call in self._calls:
            self.write(encode_request(call.request))
        self.opened(protocol)

    def opened(self, protocol: _ClientProtocol) -> None:
        """Go on after the stream was opened; for subclasses."""

    def answered(self, error: str, raw: Any) -> None:
        """Take the answer to the oldest request."""
        if not self._calls:
            raise WireError("raft: an answer without a request")
        call = self._calls.popleft()
        self._arm()
        if error:
            log.debug("raft: {address}: {error}", address=self.address, error=error)
            unsupported = _UNKNOWN_COMMAND in error
            self._owner.failed(call.ticket, unsupported=unsupported)
            return
        response = call.request.response.from_raw(raw)
        self._owner.receiver.response_received(call.ticket, response)

    def drop(self) -> None:
        """Close the stream and fail what is under way."""
        protocol = self._protocol
        if self._attempt is not None:
            attempt, self._attempt = self._attempt, None
            attempt.cancel()
        if protocol is not None:
            self.lost(protocol)
            protocol.abort()

    def lost(self, protocol: _ClientProtocol) -> None:
        """Fail what is under way: the stream is gone, or could not be opened."""
        if self._protocol is not protocol:
            return
        was_open = self._is_open
        self._protocol = None
        self._attempt = None
        self._is_open = False
        if not was_open:
            self._retry_at = self._owner.clock.monotonic() + self._retry_s
            self._retry_s = min(2 * self._retry_s, _RECONNECT_MAX_S)
        calls, self._calls = self._calls, deque()
        self._arm()
        for call in calls:
            # A stock server closes the stream at a request that it does not know.
            unsupported = was_open and isinstance(call.request, RequestPreVote)
            self._owner.failed(call.ticket, unsupported=unsupported)

    def _arm(self) -> None:
        """Keep a timer for the oldest request, moved only when it fires."""
        if self._timer is None and self._calls:
            delay_s = self._calls[0].due - self._owner.clock.monotonic()
            self._timer = self._owner.reactor.callLater(
                max(0.0, delay_s), self._time_out
            )
        elif self._timer is not None and not self._calls and self._protocol is None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        if self._calls and self._calls[0].due <= self._owner.clock.monotonic():
            self.drop()
        else:
            self._arm()

    def close(self) -> None:
        """Close the stream for good."""
        self.drop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@implementer(IPullProducer)
class _SnapshotChannel(_Channel):
    """A stream for one snapshot: its bytes follow the request as fast as they go."""

    def __init__(
        self, owner: "RaftTransport", address: str, source: ISnapshotSource
    ) -> None:
        super().__init__(owner, address)
        self._source = source
        self._chunks = source.chunks()

    def opened(self, protocol: _ClientProtocol) -> None:
        """Feed the stream: it asks for the next chunk when it has room."""
        transport: Any = protocol.transport
        self._transport = transport
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write the next chunk."""
        try:
            chunk = next(self._chunks, None)
        except Exception:
            log.failure("raft: a snapshot cannot be sent")
            self.drop()
            return
        if chunk is None:
            self._transport.unregisterProducer()
        else:
            self._transport.write(chunk)

    def stopProducing(self) -> None:
        """Stop; the stream is gone."""

    def answered(self, error: str, raw: Any) -> None:
        """Take the answer, then close the stream."""
        super().answered(error, raw)
        self.drop()

    def lost(self, protocol: _ClientProtocol) -> None:
        """Let go of the snapshot as well."""
        super().lost(protocol)
        self._source.close()
        self._owner.snapshot_ended(self)


class _Probe(Protocol):
    """A stream that is closed at once: the peer's process is there."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


@implementer(IRaftTransport)
class RaftTransport:
    """Streams to all peers, and protocols for the streams that peers open."""

    receiver: IRaftReceiver

    def __init__(
        self,
        reactor: IReactorTime,
        clock: Clock,
        connect: Connect,
        *,
        io_timeout_s: float = IO_TIMEOUT_S,
    ) -> None:
        """Set up.

        Args:
            reactor: schedules timeouts.
            clock: the time.
            connect: opens a stream to an address, see `Connect`.
            io_timeout_s: how long an answer may take.
        """
        self.reactor = reactor
        self.clock = clock
        self.connect = connect
        self._io_timeout_s = io_timeout_s
        self._channels: dict[tuple[str, str], _Channel] = {}
        self._snapshots: list[_SnapshotChannel] = []
        self._probes: dict[str, Deferred[Any]] = {}
        self._accepted: dict[RaftServerProtocol, None] = {}
        self._is_closed = False

    def start(self, receiver: IRaftReceiver) -> None:
        """Begin; requests and outcomes go to the receiver."""
        self.receiver = receiver

    # --- from peers -----------------------------------------------------------------

    def server_protocol(self) -> RaftServerProtocol:
        """Return the protocol for a stream that a peer opened, first byte read."""
        protocol = RaftServerProtocol(
            self.reactor, self.clock, self.receiver, self._accepted
        )
        if self._is_closed:
            protocol.refuse()
        return protocol

    # --- to peers -------------------------------------------------------------------

    def send(self, ticket: int, peer: Server, request: Request) -> None:
        """Send a request; its outcome is told to the receiver, exactly once."""
        key = (peer.address, _kind(request))
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(self, peer.address)
        channel.call(ticket, request, self._io_timeout_s)

    def send_snapshot(
        self, ticket: int, peer: Server, request: InstallSnapshot, source: Any
    ) -> None:
        """Send a snapshot from an `ISnapshotSource`, which is closed at the end."""
        channel = _SnapshotChannel(self, peer.address, source)
        self._snapshots.append(channel)
        shares = max(1.0, request.size / _SNAPSHOT_TIMEOUT_SIZE)
        channel.call(ticket, request, self._io_timeout_s * shares)

    def snapshot_ended(self, channel: _SnapshotChannel) -> None:
        """Forget a stream that sent a snapshot."""
        if channel in self._snapshots:
            self._snapshots.remove(channel)

    def keep(self, addresses: list[str]) -> None:
        """Close the idle streams to all other addresses."""
        for key, channel in list(self._channels.items()):
            if key[0] not in addresses and channel.is_idle:
                channel.close()
                del self._channels[key]

    def fail_soon(self, ticket: int) -> None:
        """Fail a request that is not sent, but not while it is being asked for."""
        self.reactor.callLater(0, self.failed, ticket, unsupported=False)

    def failed(self, ticket: int, *, unsupported: bool) -> None:
        """Tell the receiver that a request was not answered."""
        if not self._is_closed:
            self.receiver.request_failed(ticket, unsupported=unsupported)

    # --- looking after a peer -------------------------------------------------------

    def probe(self, address: str) -> None:
        """Try whether an address takes streams; if it refuses, tell the receiver."""
        if address in self._probes or self._is_closed:
            return
        attempt = self.connect(address, _Probe())
        self._probes[address] = attempt
        timer = self.reactor.callLater(self._io_timeout_s, attempt.cancel)

        def ended(result: Any) -> None:
            if timer.active():
                timer.cancel()
            self._probes.pop(address, None)
            refused = isinstance(result, Failure) and result.check(
                net_error.ConnectionRefusedError
            )
            if refused and not self._is_closed:
                self.receiver.peer_refused(address)

        attempt.addBoth(ended)

    # --- the end --------------------------------------------------------------------

    def close(self) -> "Deferred[None]":
        """Close all streams."""
        self._is_closed = True
        for attempt in list(self._probes.values()):
            attempt.cancel()
        for channel in [*self._channels.values(), *self._snapshots]:
            channel.close()
        self._channels.clear()
        for protocol in list(self._accepted):
            protocol.refuse()
        return succeed(None)


def _kind(request: Request) -> str:
    """Return which of a peer's streams a request takes."""
    if isinstance(request, AppendEntries):
        return "heartbeats" if request.entries is None else "entries"
    return "pre-votes" if isinstance(request, RequestPreVote) else "votes"
