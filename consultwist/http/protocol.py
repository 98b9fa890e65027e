"""One connection: bytes to requests, answers to bytes, in the order of the requests.

A request that can be answered at once is parsed, answered and written within one call
of `dataReceived`. Where the answer must wait, the connection keeps what arrives, up to
a bound, and goes on when the answer is there. A client that leaves cancels the
Deferred that it waited for.
"""

from collections.abc import Callable
from typing import Any, BinaryIO, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.http.messages import Request, Sink, Stream
from consultwist.http.parser import Body, BodyTooLarge, Malformed, RequestReader
from consultwist.http.site import Site

log = Logger()

#: What a client may send ahead while it waits for an answer.
_PIPELINE_MAX_BYTES: Final = 64 * 1024

#: Bodies that nobody wants are read up to this size, so that the client gets to see
#: the answer and can go on; larger ones cost it the connection.
_DISCARD_MAX_BYTES: Final = 8 * 1024 * 1024

#: Seconds between two requests; Go's server has no limit here, but every wait of ours
#: has one. Longer than any client keeps a connection for later.
_IDLE_MAX_S: Final = 900.0
#: Seconds for the head of a request, from its first byte on.
_HEAD_MAX_S: Final = 60.0
#: Seconds without any progress of a body.
_BODY_PAUSE_MAX_S: Final = 60.0
#: Seconds in which a client must take what was written for it.
_WRITE_MAX_S: Final = 300.0
#: Seconds in which a client must close after it was refused.
_LINGER_MAX_S: Final = 5.0


@implementer(IPushProducer)
class HTTPProtocol(Protocol):
    """One connection of a client."""

    transport: Any  # TCP, TLS or simulated: Twisted has no one interface for them

    def __init__(self, site: Site, client: str, port: int) -> None:
        self.client = client
        self._port = port
        self._site = site
        self._reader = RequestReader(site.memory)
        self._request: Request | None = None
        self._body: Body | None = None
        self._spool: BinaryIO | None = None
        self._refusal: bytes | None = None
        self._waiting: Deferred[Any] | None = None
        self._sink: _Sink | None = None
        self._advancing = False
        self._blocked = False
        self._held = False
        self._closing = False
        self._since_s: float = site.now_s

    # --- what Twisted calls ----------------------------------------------------------

    def connectionMade(self) -> None:
        """Take part in the site's count of connections."""
        self._site.joined(self)
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take what arrived, and answer what is complete."""
        if self._closing:
            return
        if not len(self._reader):
            self._since_s = self._site.now_s
            if self._is_idle():
                # What comes again and again takes the shortest way.
                answer = self._site.recall(data)
                if answer is not None:
                    self.transport.write(answer)
                    return
        self._reader.feed(data)
        if self._waiting is None and self._sink is None and not self._blocked:
            self._advance()
        elif len(self._reader) > _PIPELINE_MAX_BYTES and not self._held:
            self._held = True
            self.transport.pauseProducing()

    def _is_idle(self) -> bool:
        return (
            self._waiting is None
            and self._request is None
            and self._sink is None
            and not self._blocked
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Cancel what the client waited for."""
        self._closing = True
        self._site.left(self)
        self._reader.take()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        if self._sink is not None:
            self._sink.stop()
        self._end_spool()

    def pauseProducing(self) -> None:
        """Hold back: the client does not read fast enough."""
        self._blocked = True
        self._since_s = self._site.now_s

    def resumeProducing(self) -> None:
        """Go on: the client has read all."""
        self._blocked = False
        self._since_s = self._site.now_s
        if self._sink is not None:
            self._sink.drained()
        else:
            self._advance()

    def stopProducing(self) -> None:
        """Nothing: `connectionLost` follows."""

    # --- what the site calls ---------------------------------------------------------

    def is_overdue(self, now_s: float) -> bool:
        """Tell whether the client took too long for what it has to do next."""
        if self._closing:
            limit_s = _LINGER_MAX_S
        elif self._blocked:
            limit_s = _WRITE_MAX_S
        elif self._waiting is not None or self._sink is not None:
            return False
        elif self._body is not None:
            limit_s = _BODY_PAUSE_MAX_S
        else:
            limit_s = _HEAD_MAX_S if len(self._reader) else _IDLE_MAX_S
        return now_s - self._since_s > limit_s

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abortConnection()

    def close(self) -> None:
        """Close the connection once all is sent."""
        self._closing = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # --- from request to request -----------------------------------------------------

    def _advance(self) -> None:
        """Answer requests until one must wait or is not complete."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while (
                self._waiting is None
                and self._sink is None
                and not self._blocked
                and not self._closing
                and self._step()
            ):
                pass
        except Malformed as error:
            self._refuse(self._site.refusal(error.status, error.reason))
        finally:
            self._advancing = False
        if self._held and not self._closing and self._waiting is None:
            self._held = False
            self.transport.resumeProducing()

    def _step(self) -> bool:
        """Do the next thing; return whether there may be more to do at once."""
        request = self._request
        if request is None:
            request = self._reader.head()
            if request is None:
                return False
            request.client = self.client
            request.port = self._port
            if not request.routed:
                self._site.find(request)
            if request.head.length and not self._has_body(request):
                self._request = request
                return self._begin_body(request)
        elif not self._read_body(request):
            return False
        self._request = None
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            self._send(request, refusal)
        else:
            self._answer(request)
        return len(self._reader) > 0

    def _answer(self, request: Request) -> None:
        answer = self._site.serve(request)
        if isinstance(answer, bytes):
            self._send(request, answer)
        elif isinstance(answer, Deferred):
            self._waiting = answer
            answer.addCallbacks(
                self._answered, self._failed, (request,), errbackArgs=(request,)
            )
        else:
            self._begin_stream(request, answer)

    def _answered(self, result: Any, request: Request) -> None:
        if self._closing:
            return
        self._waiting = None
        answer = self._site.render(request, result)
        if isinstance(answer, bytes):
            self._send(request, answer)
        else:
            self._begin_stream(request, answer)
        self._advance()

    def _failed(self, failure: Failure, request: Request) -> None:
        if self._closing:
            return
        self._waiting = None
        assert failure.value is not None
        self._send(request, self._site.failure(request, failure.value))
        self._advance()

    def _send(self, request: Request, data: bytes) -> None:
        self._since_s = self._site.now_s
        if self._spool is not None:
            self._end_spool()
        if request.old or request.head.close or request.method == "HEAD":
            data, stays_open = _framed(request, data)
            self.transport.write(data)
            if not stays_open:
                self.close()
        else:
            self.transport.write(data)
        if self._site.debug:
            self._site.log_request(request)

    # --- bodies ----------------------------------------------------------------------

    def _has_body(self, request: Request) -> bool:
        """Take the body if it came with the head, as small ones do, and is wanted."""
        route, head = request.route, request.head
        if not (0 < head.length <= route.body_max) or not route.reads_body:
            return False
        body = None if head.awaits_continue else self._reader.body(head.length)
        if body is None:
            return False
        request.body = body
        return True

    def _begin_body(self, request: Request) -> bool:
        """Decide what happens to the body; return whether it is to be read."""
        route, head = request.route, request.head
        if route.reads_body and head.length <= route.body_max:
            if head.awaits_continue and not request.old:
                self.transport.write(_CONTINUE)
            if route.open_spool is not None:
                self._spool = request.spool = route.open_spool()
            self._body = Body(head.length, route.body_max, spool=self._spool)
            return True
        if route.reads_body:
            self._refusal = self._site.too_large(request, head.length)
        if head.awaits_continue or head.length > _DISCARD_MAX_BYTES:
            self._refuse_body(request)
            return False
        self._body = Body(head.length, _DISCARD_MAX_BYTES, kept=False)
        return True

    def _read_body(self, request: Request) -> bool:
        body = self._body
        assert body is not None
        try:
            data = body.read(self._reader)
        except BodyTooLarge as error:
            if request.route.reads_body:
                self._refusal = self._site.too_large(request, error.size)
            self._refuse_body(request)
            return False
        if data is None:
            return False
        self._body = None
        request.body = data
        return True

    def _end_spool(self) -> None:
        """Let go of the file with the body of a request that is over."""
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()

    def _refuse_body(self, request: Request) -> None:
        """Answer without having read the body, and give up the connection."""
        self._end_spool()
        answer = self._refusal
        if answer is None:
            served = self._site.serve(request)
            assert isinstance(served, bytes), "routes that read no body answer at once"
            answer = served
        self._refuse(_with_field(answer, b"Connection: close"))

    def _refuse(self, answer: bytes) -> None:
        """Send a last answer, and wait for the client to close.

        Closing at once with unread bytes would reset the connection, and the client
        might never see the answer.
        """
        self._closing = True
        self._reader.take()
        self._since_s = self._site.now_s
        self.transport.unregisterProducer()
        self.transport.write(answer)
        self._end_writing()

    def _end_writing(self) -> None:
        self.transport.loseWriteConnection()

    # --- streams ---------------------------------------------------------------------

    def _begin_stream(self, request: Request, stream: Stream) -> None:
        self._end_spool()
        head = self._site.stream_head(request, stream)
        ends_by_close = request.old or bool(request.head.close)
        if ends_by_close:
            head = _with_field(head, b"Connection: close")
        self.transport.write(head)
        if self._site.debug:
            self._site.log_request(request)
        sink = self._sink = _Sink(self, chunked=not request.old, closes=ends_by_close)
        try:
            sink.start(stream.start)
        except Exception:
            log.failure("A stream failed: {path}", path=request.route.path)
            sink.abort()

    def stream_write(self, data: bytes) -> None:
        """Send a part of a stream."""
        self.transport.write(data)

    def stream_ended(self, *, closes: bool) -> None:
        """Go on to the next request after a stream."""
        self._sink = None
        self._since_s = self._site.now_s
        if closes:
            self.close()
        elif not self._blocked:
            self._advance()

    @property
    def is_blocked(self) -> bool:
        """Whether the client has yet to read what was written."""
        return self._blocked


_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def _framed(request: Request, data: bytes) -> tuple[bytes, bool]:
    """Fit an answer to what the client speaks; tell whether the connection stays."""
    close = request.head.close
    if request.method == "HEAD":
        data = data[: data.index(b"\r\n\r\n") + 4]
    if request.old:
        data = b"HTTP/1.0" + data[8:]
        if close is False:
            return _with_field(data, b"Connection: keep-alive"), True
        return data, False
    if close:
        return _with_field(data, b"Connection: close"), False
    return data, True


def _with_field(answer: bytes, line: bytes) -> bytes:
    status, rest = answer.split(b"\r\n", 1)
    return b"%s\r\n%s\r\n%s" % (status, line, rest)


class _Sink:
    """The end of a stream that its feed writes to."""

    def __init__(self, protocol: HTTPProtocol, *, chunked: bool, closes: bool) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._protocol = protocol
        self._chunked = chunked
        self._closes = closes
        self._stop: Callable[[], None] | None = None
        self._ended = False

    @property
    def blocked(self) -> bool:
        """Whether `write` would drop."""
        return self._ended or self._protocol.is_blocked

    def start(self, start: Callable[[Sink], Callable[[], None]]) -> None:
        """Let the feed begin; it may even end at once."""
        stop = start(self)
        if self._ended:
            stop()
        else:
            self._stop = stop

    def write(self, data: bytes) -> bool:
        """Send data, or drop it where the client is too slow."""
        if self.blocked:
            return False
        if data:
            framed = b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data
            self._protocol.stream_write(framed)
        return True

    def finish(self) -> None:
        """End the answer in good order."""
        if self._ended:
            return
        self.stop()
        if self._chunked:
            self._protocol.stream_write(b"0\r\n\r\n")
        self._protocol.stream_ended(closes=self._closes)

    def abort(self) -> None:
        """Drop the connection, so that the client sees that the answer is cut."""
        if not self._ended:
            self.stop()
            self._protocol.abort()

    def drained(self) -> None:
        """Tell the feed that the client has caught up."""
        if self.on_drained is not None and not self._ended:
            self.on_drained()

    def stop(self) -> None:
        """Stop the feed, once."""
        self._ended = True
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()


@implementer(IHandshakeListener)
class HTTPSProtocol(HTTPProtocol):
    """One connection by TLS, which must complete its handshake in time."""

    _handshake: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Give the client its time for the handshake."""
        super().connectionMade()
        site = self._site
        self._handshake = site.reactor.callLater(site.handshake_max_s, self._too_slow)

    def handshakeCompleted(self) -> None:
        """Stop the clock."""
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            handshake.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the clock as well."""
        self.handshakeCompleted()
        super().connectionLost(reason)

    def _end_writing(self) -> None:
        # TLS knows no half-closed connection.
        self.transport.loseConnection()

    def _too_slow(self) -> None:
        self._handshake = None
        self.abort()
