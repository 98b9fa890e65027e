"""Conversation: one RPC stream from the server's side.

Requests are answered one at a time and in order; those written ahead wait in the
decoder, and beyond a bound the stream is not read. When the stream is lost, the call
under way is cancelled, so that a long poll of a client that left holds nothing.
"""

from collections import deque
from typing import Any, Final
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.errors import ConsultwistError, RPCError, WireError
from consultwist.rpc.codec import (
    MessageDecoder,
    RequestHeader,
    encode_error,
    encode_response,
)
from consultwist.rpc.dispatch import Dispatcher, Method
from consultwist.wire.struct import Struct

log = Logger()

#: Requests on one stream that may wait for the one before them.
_AHEAD_MAX: Final = 64

#: Bytes of incomplete requests that one connection may hold, on all its streams.
PENDING_MAX: Final = 64 * 1024 * 1024


class Answers(Shape):
    """What runs the methods."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The methods that there are."""

    def answer(self, method: Method, request: Struct) -> Any:
        """Return the reply or a Deferred; errors are raised or failed."""


class NoAnswers:
    """Runs nothing: for connections on which no method is offered."""

    dispatcher: Final = Dispatcher(())

    def answer(self, method: Method, request: Struct) -> Any:
        """Have no method to run."""
        raise AssertionError(method, request)


class PendingBytes:
    """How many bytes of incomplete requests a connection holds."""

    def __init__(self, most: int = PENDING_MAX) -> None:
        self._left = most

    def take(self, count: int) -> bool:
        """Count bytes more, or less if negative; False where these are too many."""
        self._left -= count
        return self._left >= 0


@implementer(IHalfCloseableProtocol, IPushProducer)
class Conversation(Protocol):
    """Answers the requests of one stream."""

    def __init__(self, answers: Answers, pending: PendingBytes) -> None:
        self._answers = answers
        self._pending = pending
        self._held = 0
        self._decoder = MessageDecoder()
        self._messages: deque[tuple[dict[Any, Any], Any]] = deque()
        self._under_way: Deferred[Any] | None = None
        self._is_serving = False
        self._is_choked = False
        self._is_paused = False
        self._is_last = False
        self._is_over = False

    # --- the stream ------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._stream.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        try:
            self._messages.extend(self._decoder.feed(data))
        except WireError as error:
            log.debug("a client's stream is ended: {error}", error=error)
            self._stream.abortConnection()
            return
        before, self._held = self._held, self._decoder.pending
        if self._pending.take(self._held - before):
            self._serve()
        else:
            self._stream.abortConnection()

    def readConnectionLost(self) -> None:
        """The client asks no more; what it asked is answered."""
        self._is_last = True
        self._serve()

    def writeConnectionLost(self) -> None:
        """Our side is ended."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - whatever the reason
        self._is_over = True
        self._pending.take(-self._held)
        self._held = 0
        self._messages.clear()
        if self._under_way is not None:
            self._under_way.cancel()

    def pauseProducing(self) -> None:
        """The client does not read its answers: it gets no more for now."""
        self._is_choked = True

    def resumeProducing(self) -> None:
        """The client has read."""
        self._is_choked = False
        self._serve()

    def stopProducing(self) -> None:
        """The stream is gone; `connectionLost` follows."""

    @property
    def _stream(self) -> Any:
        return self.transport

    # --- serving ---------------------------------------------------------------------

    def _serve(self) -> None:
        """Answer what can be answered now."""
        if self._is_serving:
            return
        self._is_serving = True
        while self._messages and self._is_free:
            header, body = self._messages.popleft()
            self._take(header, body)
        self._is_serving = False
        self._pause_or_resume()
        if self._is_last and not self._messages and self._under_way is None:
            self._close()

    @property
    def _is_free(self) -> bool:
        return self._under_way is None and not self._is_choked and not self._is_over

    def _pause_or_resume(self) -> None:
        is_behind = len(self._messages) >= _AHEAD_MAX
        if is_behind and not self._is_paused:
            self._is_paused = True
            self._stream.pauseProducing()
        elif self._is_paused and not self._messages and not self._is_over:
            self._is_paused = False
            self._stream.resumeProducing()

    def _take(self, raw_header: dict[Any, Any], body: Any) -> None:
        name, seq = "", 0
        try:
            header = RequestHeader.from_raw(raw_header)
            name, seq = header.service_method, header.seq
            method = self._answers.dispatcher.find(name)
            request = method.request.from_raw(body)
        except (RPCError, WireError) as error:
            # What cannot be read ends the conversation (rpc.md section 4).
            self._stream.write(encode_error(seq, name, str(error)))
            self._close()
            return
        try:
            answer = self._answers.answer(method, request)
        except Exception:
            self._fail(Failure(), seq, name)
            return
        if isinstance(answer, Deferred):
            self._under_way = answer
            answer.addCallback(self._reply, seq, method)
            answer.addErrback(self._fail, seq, name)
            answer.addBoth(self._ended)
        else:
            self._reply_or_fail(answer, seq, method)

    def _reply_or_fail(self, value: Any, seq: int, method: Method) -> None:
        try:
            self._reply(value, seq, method)
        except Exception:
            self._fail(Failure(), seq, method.name)

    def _reply(self, value: Any, seq: int, method: Method) -> None:
        body = method.reply.pack(value)
        if not self._is_over:
            self._stream.write(encode_response(seq, method.name, body))

    def _fail(self, failure: Failure, seq: int, name: str) -> None:
        if self._is_over:
            return
        if not failure.check(ConsultwistError):
            log.failure("{method} failed", failure, method=name)
        self._stream.write(encode_error(seq, name, failure.getErrorMessage()))

    def _ended(self, _: object) -> None:
        self._under_way = None
        self._serve()

    def _close(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._messages.clear()
            self._stream.loseConnection()
