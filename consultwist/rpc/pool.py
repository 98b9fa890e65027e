"""ConnectionPool: calls of RPC methods on other servers.

To each server there is one yamux connection, opened when it is needed; each call that
is under way has a stream, and streams are used again. A call ends with its reply, with
the server's error, or when the stream, the connection or its time ends.
"""

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.clock import Clock
from consultwist.errors import (
    CallInterrupted,
    ConsultwistError,
    RPCError,
    ServerUnreachable,
    WireError,
    from_wire,
)
from consultwist.rpc.codec import MessageDecoder, ResponseHeader, encode_request
from consultwist.rpc.dial import Dialer, go_text
from consultwist.rpc.first_byte import FirstByte
from consultwist.yamux.protocol import YamuxProtocol

log = Logger()

#: What callers see before the text of the other server (rpc.md section 4).
CALL_PREFIX: Final = "rpc error making call: "
_CONNECT_PREFIX: Final = "rpc error getting client: failed to get conn: "

#: Idle connections are closed after so long (rpc.md section 7.5), to the tick.
CLIENT_IDLE_S: Final = 127.0
SERVER_IDLE_S: Final = 120.0
_TICK_S: Final = 5.0

#: Streams that are kept for the next call.
CLIENT_STREAMS: Final = 32
SERVER_STREAMS: Final = 64

#: How long a call may take beyond what it may block (rpc_client_timeout of newer
#: releases).
CALL_TIMEOUT_S: Final = 60.0

#: Calls under way to one server; beyond, callers are told so.
_CALLS_MAX: Final = 65536


class _CallStream(Protocol):
    """One stream: one call at a time."""

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection
        self._decoder = MessageDecoder()
        self._seq = 0
        self._done: Deferred[Any] | None = None
        self.due = 0.0

    def call(self, method: str, body: bytes, due: float) -> Deferred[Any]:
        """Send a request; fires with the raw reply."""
        self._seq += 1
        self.due = due
        done: Deferred[Any] = Deferred(lambda _: self.cut(CancelledError()))
        self._done = done
        assert self.transport is not None
        self.transport.write(encode_request(self._seq, method, body))
        return done

    def cut(self, error: Exception) -> None:
        """End the stream at once; the call fails."""
        done, self._done = self._done, None
        transport: Any = self.transport
        transport.abortConnection()
        if done is not None and not done.called:
            done.errback(error)

    def dataReceived(self, data: bytes) -> None:
        try:
            for header, body in self._decoder.feed(data):
                self._answered(ResponseHeader.from_raw(header), body)
        except WireError as error:
            log.debug("a server answers nonsense: {error}", error=error)
            self.cut(CallInterrupted(f"{CALL_PREFIX}{error}"))

    def _answered(self, header: ResponseHeader, body: Any) -> None:
        done, self._done = self._done, None
        if done is None or header.seq != self._seq:
            self._done = done
            raise WireError("rpc: an answer without a request")
        # As Consul's: after any error the stream is not used again.
        self._connection.released(self, reuse=not header.error)
        if header.error:
            done.errback(from_wire(CALL_PREFIX + header.error))
        else:
            done.callback(body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - whatever the reason
        self._connection.forget(self)
        done, self._done = self._done, None
        if done is not None:
            done.errback(CallInterrupted(f"{CALL_PREFIX}EOF"))


class _Session(YamuxProtocol):
    """The session of a connection, which is told when it is over."""

    owner: "_Connection"

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.owner.lost()


class _Connection:
    """The connection to one server."""

    def __init__(self, pool: "ConnectionPool", key: tuple[str, str]) -> None:
        self._pool = pool
        self._key = key
        self._idle: list[_CallStream] = []
        self._busy: dict[_CallStream, None] = {}
        self._waiting: dict[Deferred[None], None] = {}
        self._last_used = 0.0
        self._session = _Session(pool.reactor, pool.clock, is_client=True)
        self._session.owner = self
        self._is_ready = False
        address, datacenter = key
        self._attempt = pool.dialer.connect(
            address, datacenter, FirstByte.MULTIPLEX, self._session
        )
        self._attempt.addCallbacks(self._connected, self._failed)

    @property
    def is_usable(self) -> bool:
        """Tell whether calls can be made, now or when the connection is there."""
        return not self._is_ready or self._session.is_usable

    def call(self, method: str, body: bytes, timeout_s: float) -> Deferred[Any]:
        """Make a call, as soon as the connection is there."""
        if len(self._busy) + len(self._waiting) >= _CALLS_MAX:
            raise RPCError("too many calls wait for one server")
        if self._is_ready:
            return self._call(method, body, timeout_s)
        ready: Deferred[None] = Deferred(self._forget_waiting)
        self._waiting[ready] = None
        return ready.addCallback(lambda _: self._call(method, body, timeout_s))

    def _call(self, method: str, body: bytes, timeout_s: float) -> Deferred[Any]:
        now = self._pool.clock.monotonic()
        self._last_used = now
        if self._idle:
            stream = self._idle.pop()
        else:
            stream = _CallStream(self)
            self._session.open(stream)
        self._busy[stream] = None
        return stream.call(method, body, now + timeout_s)

    def released(self, stream: _CallStream, *, reuse: bool) -> None:
        """Note that a stream's call has ended."""
        self._busy.pop(stream, None)
        if reuse and len(self._idle) < self._pool.streams_max:
            self._idle.append(stream)
        else:
            transport: Any = stream.transport
            transport.loseConnection()

    def forget(self, stream: _CallStream) -> None:
        """Note that a stream is gone."""
        self._busy.pop(stream, None)
        if stream in self._idle:
            self._idle.remove(stream)

    def tick(self, now: float) -> None:
        """Cut calls whose time is over; close the connection if it was idle long."""
        late = [stream for stream in self._busy if now >= stream.due]
        for stream in late:
            stream.cut(CallInterrupted(f"{CALL_PREFIX}rpc timeout"))
        is_used = self._busy or self._waiting or not self._is_ready
        if not is_used and now - self._last_used >= self._pool.idle_s:
            self.close()

    def close(self) -> None:
        """End the connection; calls under way fail."""
        self._attempt.cancel()
        transport: Any = self._session.transport
        if transport is not None:
            transport.abortConnection()

    def lost(self) -> None:
        """Note that the connection is gone."""
        self._pool.forget(self._key, self)

    def _connected(self, _: object) -> None:
        self._is_ready = True
        self._last_used = self._pool.clock.monotonic()
        waiting, self._waiting = self._waiting, {}
        for ready in waiting:
            ready.callback(None)

    def _failed(self, failure: Failure) -> None:
        self._pool.forget(self._key, self)
        text = _CONNECT_PREFIX + go_text(self._key[0], failure)
        waiting, self._waiting = self._waiting, {}
        for ready in waiting:
            ready.errback(ServerUnreachable(text))

    def _forget_waiting(self, ready: Deferred[None]) -> None:
        self._waiting.pop(ready, None)


class ConnectionPool:
    """Connections to servers, by address, and calls over them."""

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        dialer: Dialer,
        *,
        idle_s: float = CLIENT_IDLE_S,
        streams_max: int = CLIENT_STREAMS,
    ) -> None:
        self.reactor = reactor
        self.clock = clock
        self.dialer = dialer
        self.idle_s = idle_s
        self.streams_max = streams_max
        self._connections: dict[tuple[str, str], _Connection] = {}
        self._timer: IDelayedCall | None = None
        self._is_closed = False

    def call(
        self,
        address: str,
        datacenter: str,
        method: str,
        body: bytes,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Deferred[Any]:
        """Call a method on a server; fires with the raw reply.

        Fails with ServerUnreachable, CallInterrupted, or what the server's error text
        stands for.

        Raises:
            ConsultwistError: where the pool is closed or full.
        """
        if self._is_closed:
            raise ConsultwistError("rpc: this agent is shutting down")
        key = (address, datacenter)
        connection = self._connections.get(key)
        if connection is None or not connection.is_usable:
            connection = self._connections[key] = _Connection(self, key)
        if self._timer is None:
            self._timer = self.reactor.callLater(_TICK_S, self._tick)
        return connection.call(method, body, timeout_s)

    def forget(self, key: tuple[str, str], connection: _Connection) -> None:
        """Note that a connection is gone."""
        if self._connections.get(key) is connection:
            del self._connections[key]

    def close(self) -> None:
        """Close all connections; calls under way fail."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections.values()):
            connection.close()

    def _tick(self) -> None:
        self._timer = None
        now = self.clock.monotonic()
        for connection in list(self._connections.values()):
            connection.tick(now)
        if self._connections:
            self._timer = self.reactor.callLater(_TICK_S, self._tick)
