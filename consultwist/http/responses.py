"""Results and failures to bytes: the only place that makes responses.

`Responder.render` takes whatever an endpoint returned, `Responder.failure` whatever
it raised. `Read` asks the servers and shows a part of the reply; most endpoints that
read are one of it.
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist import durations
from consultwist.clock import Clock
from consultwist.errors import ConsultwistError, MethodNotAllowed
from consultwist.http.messages import (
    JSON,
    JSON_TYPE,
    TEXT_TYPE,
    FailedRead,
    Indexed,
    MaybeLater,
    Request,
    Response,
    Stream,
)
from consultwist.http.params import consistency_level
from consultwist.http.router import Route
from consultwist.interfaces import IAgent
from consultwist.structs.query import QueryMeta, QueryOptions
from consultwist.wire import json

if TYPE_CHECKING:
    from consultwist.agent.cache import Cached

log = Logger()

#: Fast rather than small: an answer is compressed in the reactor's thread.
_GZIP_LEVEL: Final = 1
#: zlib's number for the gzip format with its largest window.
_GZIP_WBITS: Final = 31
#: Larger answers go out as they are: compressing more would hold up everybody else
#: for over 20 ms.
_GZIP_MAX_BYTES: Final = 2 * 1024 * 1024

#: How many finished bodies are kept, and how many bytes of them.
_KEPT_MAX: Final = 2048
_KEPT_MAX_BYTES: Final = 32 * 1024 * 1024


@attrs.frozen
class Read:
    """A read of the servers, and how its reply is shown.

    Attributes:
        method: the RPC method, such as ``Catalog.ListNodes``.
        part: the attribute of the reply that is shown, or a function that picks it.
            To profit from kept answers it must return the same object for the same
            reply payload.
        show: makes the JSON value of that part; see `Indexed.show`.
        empty: what is shown where the part is None: ``()`` gives ``[]``.
        consistency: whether the answer tells its consistency mode.
        index_on_error: whether errors of the servers come with an index of 1.
        cached: whether ``?cached`` reads by way of the agent's cache.
    """

    method: str
    part: str | Callable[[Any], object]
    show: Callable[[Any], object] | None = None
    empty: object = ()
    consistency: bool = False
    index_on_error: bool = False
    cached: bool = False

    def ask(
        self,
        agent: IAgent,
        query: QueryOptions,
        show: Callable[[Any], object] | None = None,
    ) -> MaybeLater:
        """Ask the servers; `show` takes the place of the one declared."""
        cached = self.cached and query.use_cache
        ask, replied = (
            (agent.cached, self._found) if cached else (agent.rpc, self._replied)
        )
        try:
            reply = ask(self.method, query)
        except ConsultwistError as error:
            self._failed(error)
        if isinstance(reply, Deferred):
            reply.addCallback(replied, agent, query, show)
            if self.index_on_error:
                reply.addErrback(self._failed_later)
            return reply
        return replied(reply, agent, query, show)

    def _failed_later(self, failure: Failure) -> NoReturn:
        assert failure.value is not None
        self._failed(failure.value)

    def _failed(self, error: BaseException) -> NoReturn:
        if (
            self.index_on_error
            and isinstance(error, ConsultwistError)
            and not isinstance(error, FailedRead)
        ):
            raise FailedRead(error) from error
        raise error

    def _found(
        self,
        found: "Cached",
        agent: IAgent,
        query: QueryOptions,
        show: Callable[[Any], object] | None,
    ) -> MaybeLater:
        headers = cache_headers(found)
        answer = self._replied(found.reply, agent, query, show)
        return then(answer, lambda shown: attrs.evolve(shown, headers=headers))

    def _replied(
        self,
        reply: Any,
        agent: IAgent,
        query: QueryOptions,
        show: Callable[[Any], object] | None,
    ) -> MaybeLater:
        if (
            query.max_stale_duration
            and query.allow_stale
            and reply.last_contact > query.max_stale_duration
        ):
            fresh = msgspec.structs.replace(query, allow_stale=False, use_cache=False)
            return self.ask(agent, fresh, show)
        part = self.part
        found = getattr(reply, part) if isinstance(part, str) else part(reply)
        return Indexed(
            reply,
            self.empty if found is None else found,
            show or self.show,
            consistency_level(query) if self.consistency else "",
        )


def index_headers(reply: QueryMeta) -> tuple[tuple[str, str], ...]:
    """Return the header fields that tell at which index a reply was made."""
    return (
        ("X-Consul-Index", str(reply.index or 1)),
        ("X-Consul-Knownleader", "true" if reply.known_leader else "false"),
        ("X-Consul-Lastcontact", str(reply.last_contact // durations.MILLISECOND)),
    )


def cache_headers(found: "Cached") -> tuple[tuple[str, str], ...]:
    """Return the header fields that tell whether the agent's cache knew an answer."""
    if not found.hit:
        return (("X-Cache", "MISS"),)
    return (("X-Cache", "HIT"), ("Age", f"{found.age_s:.0f}"))


def then(answer: Any, show: Callable[[Any], MaybeLater]) -> MaybeLater:
    """Return what a function makes of an answer, at once or when it is known."""
    if isinstance(answer, Deferred):
        return answer.addCallback(show)
    return show(answer)


class Responder:
    """Makes responses for one agent.

    Args:
        clock: for the Date field.
        headers: ``http_config.response_headers``.
        pretty: whether all JSON is indented, as in dev mode.
        translated: whether answers tell that addresses are translated.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        headers: Mapping[str, str],
        pretty: bool = False,
        translated: bool = False,
    ) -> None:
        self._clock = clock
        self._pretty = pretty
        self._kept = AnswerCache(_KEPT_MAX, _KEPT_MAX_BYTES)
        translate = {"X-Consul-Translate-Addresses": "true"} if translated else {}
        self._api_fields = _field_lines(
            [("Vary", "Accept-Encoding"), *headers.items(), *translate.items()]
        )
        self._second = -1
        self._date = b""
        self._api_tail = b""

    def render(self, request: Request, answer: Any) -> bytes | Stream:
        """Return the bytes of the response to what an endpoint returned."""
        kind = answer.__class__
        if kind is Indexed:
            return self._indexed(request, answer)
        if kind is Response:
            return self._response(request, answer)
        if kind is Stream:
            return answer  # type: ignore[no-any-return]  # kind says so
        if answer is None:
            return self._finish(request, _OK, b"", b"")
        if answer is True and not self._pretty and not request.query:
            return self._true(request)
        if kind is JSON:
            start = _start(answer.status, JSON_TYPE)
            fields = _field_lines(answer.headers)
            body = self._encode(request, answer.value)
            return self._finish(request, start, fields, body)
        return self._finish(request, _OK_JSON, b"", self._encode(request, answer))

    def failure(self, request: Request, error: BaseException) -> bytes:
        """Return the bytes of the response to what an endpoint raised."""
        headers: tuple[tuple[str, str], ...] = ()
        if isinstance(error, FailedRead):
            headers = _NO_INDEX
            error = error.cause
        if isinstance(error, MethodNotAllowed):
            headers += (("Allow", ",".join(error.allow)),)
        if isinstance(error, ConsultwistError):
            status = error.status
        else:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            log.failure(
                "An HTTP endpoint failed: {method} {path}",
                Failure(error),
                method=request.method,
                path=request.route.path,
            )
        text = str(error) or type(error).__name__
        answer = Response.text(text, status=status, headers=headers)
        return self._response(request, answer)

    def stream_head(self, request: Request, stream: Stream) -> bytes:
        """Return the head of a response whose body follows in chunks."""
        start = _start(stream.status, stream.content_type)
        fields = _field_lines(stream.headers)
        tail = self._tail(request.route)
        framing = b"" if request.old else b"Transfer-Encoding: chunked\r\n"
        return b"".join((start, fields, tail, framing, b"\r\n"))

    def refusal(self, status: int, reason: str) -> bytes:
        """Return the answer to what is no valid request; the connection is closed."""
        text = f"{status} {_phrase(status)}" + (f": {reason}" if reason else "")
        body = text.encode()
        start = _start(status, TEXT_TYPE)
        return b"%sConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
            start,
            len(body),
            body,
        )

    def forget(self) -> None:
        """Drop all kept answers, after a change of the configuration."""
        self._kept.clear()

    def _true(self, request: Request) -> bytes:
        """Return what most writes are answered with."""
        if request.head.accepts_gzip:
            start, body = _OK_JSON_ZIPPED, _TRUE_ZIPPED
        else:
            start, body = _OK_JSON, _TRUE
        return b"".join((start, self._tail(request.route), body))

    def _indexed(self, request: Request, answer: Indexed) -> bytes:
        reply = answer.reply
        fields = b"X-Consul-Index: %d\r\n%sX-Consul-Lastcontact: %d\r\n" % (
            reply.index or 1,
            _KNOWN if reply.known_leader else _UNKNOWN,
            reply.last_contact // durations.MILLISECOND,
        )
        if answer.consistency:
            fields = _CONSISTENCY[answer.consistency] + fields
        if answer.headers:
            fields += _field_lines(answer.headers)
        if not answer.kept:
            body = self._show(request, answer)
            return self._finish(request, _OK_JSON, fields, body)
        kept = self._kept.find(request, answer.payload)
        if kept is None:
            body = self._show(request, answer)
            kept = self._kept.keep(request, answer.payload, body)
        if request.head.accepts_gzip and kept.size <= _GZIP_MAX_BYTES:
            body = kept.zipped or self._kept.zip(kept)
            fields = _ENCODED + fields
        else:
            body = kept.sized
        return b"".join((_OK_JSON, fields, self._tail(request.route), body))

    def _show(self, request: Request, answer: Indexed) -> bytes:
        show = answer.show
        value = answer.payload if show is None else show(answer.payload)
        return self._encode(request, value)

    def _response(self, request: Request, answer: Response) -> bytes:
        start = _start(answer.status, answer.content_type)
        fields = _field_lines(answer.headers)
        return self._finish(request, start, fields, answer.body)

    def _finish(
        self, request: Request, start: bytes, fields: bytes, body: bytes
    ) -> bytes:
        if (
            body
            and request.head.accepts_gzip
            and request.route.api
            and len(body) <= _GZIP_MAX_BYTES
        ):
            body = compress(body)
            fields = _ENCODED + fields
        return b"".join((start, fields, self._tail(request.route), sized(body)))

    def _tail(self, route: Route) -> bytes:
        second = int(self._clock.wall())
        if second != self._second:
            self._second = second
            date = formatdate(second, usegmt=True)
            self._date = b"Date: %s\r\n" % date.encode()
            self._api_tail = self._api_fields + self._date
        return self._api_tail if route.api else self._date

    def _encode(self, request: Request, value: object) -> bytes:
        compact = value if isinstance(value, bytes) else json.encode(value)
        if self._pretty or "pretty" in request.query:
            return json.prettify(compact)
        return compact


def compress(body: bytes) -> bytes:
    """Return the gzip form of a body."""
    return zlib.compress(body, _GZIP_LEVEL, _GZIP_WBITS)


def sized(body: bytes) -> bytes:
    """Return a body with the end of the head before it: its size."""
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@attrs.define(eq=False)
class _Kept:
    """The body made of a payload, in both forms in which it is sent."""

    target: str
    payload: object
    route: Route
    size: int
    sized: bytes
    zipped: bytes = b""


class AnswerCache:
    """Finished bodies, by the target of the request.

    A body is used again only for a payload that `is` the one it was made of. Payloads
    are never changed, and the server gives the same object as long as the state behind
    it is the same, so nothing has to be told that a body is out of date.

    The least recently used bodies go first once there are too many, or too many bytes.
    """

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries: OrderedDict[str, _Kept] = OrderedDict()
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self.size_bytes = 0

    def __len__(self) -> int:
        """Return how many bodies are kept."""
        return len(self._entries)

    def find(self, request: Request, payload: object) -> _Kept | None:
        """Return the body that was made of this payload for the same target."""
        kept = self._entries.get(request.target)
        if kept is None or kept.payload is not payload:
            return None
        if kept.route is not request.route:
            return None
        self._entries.move_to_end(request.target)
        return kept

    def keep(self, request: Request, payload: object, body: bytes) -> _Kept:
        """Keep a body, unless it alone would fill a good part of the cache."""
        target = request.target
        kept = _Kept(target, payload, request.route, len(body), sized(body))
        old = self._entries.pop(request.target, None)
        if old is not None:
            self.size_bytes -= _size(old)
        if len(body) <= self._bytes_max // 4:
            self._entries[request.target] = kept
            self.size_bytes += _size(kept)
            self._shrink()
        return kept

    def zip(self, kept: _Kept) -> bytes:
        """Return the compressed form of a body, kept beside it."""
        body = kept.sized[len(kept.sized) - kept.size :]
        kept.zipped = sized(compress(body))
        if self._entries.get(kept.target) is kept:
            self.size_bytes += len(kept.zipped)
            self._shrink()
        return kept.zipped

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self.size_bytes = 0

    def _shrink(self) -> None:
        while self._entries and (
            len(self._entries) > self._entries_max or self.size_bytes > self._bytes_max
        ):
            _, old = self._entries.popitem(last=False)
            self.size_bytes -= _size(old)


def _size(kept: _Kept) -> int:
    return len(kept.sized) + len(kept.zipped)


_phrases: dict[int, str] = {413: "Request Entity Too Large"}  # as Go names it


def _phrase(status: int) -> str:
    if status not in _phrases:
        _phrases[status] = HTTPStatus(status).phrase
    return _phrases[status]


_starts: dict[tuple[int, str], bytes] = {}


def _start(status: int, content_type: str) -> bytes:
    """Return the status line and the content type, as bytes."""
    key = (status, content_type)
    start = _starts.get(key)
    if start is None:
        start = b"HTTP/1.1 %d %s\r\n" % (status, _phrase(status).encode())
        if content_type:
            start += _field_lines([("Content-Type", content_type)])
        # Content types are few, as long as no endpoint makes them of user input.
        if len(_starts) < _STARTS_MAX:
            _starts[key] = start
    return start


_STARTS_MAX: Final = 256


def _field_lines(pairs: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(
        f"{name}: {_one_line(value)}\r\n".encode("utf-8", "surrogateescape")
        for name, value in pairs
    )


def _one_line(value: str) -> str:
    # A line break in a value would begin a field, or the body, of someone's choice.
    return value.replace("\r", " ").replace("\n", " ").replace("\0", " ")


_OK: Final = _start(200, "")
_OK_JSON: Final = _start(200, JSON_TYPE)
_ENCODED: Final = b"Content-Encoding: gzip\r\n"
_OK_JSON_ZIPPED: Final = _OK_JSON + _ENCODED
_TRUE: Final = sized(b"true")
_TRUE_ZIPPED: Final = sized(compress(b"true"))
_KNOWN: Final = b"X-Consul-Knownleader: true\r\n"
_UNKNOWN: Final = b"X-Consul-Knownleader: false\r\n"
_CONSISTENCY: Final = {
    level: b"X-Consul-Effective-Consistency: %s\r\n" % level.encode()
    for level in ("leader", "consistent", "stale")
}
_NO_INDEX: Final = index_headers(QueryMeta())
