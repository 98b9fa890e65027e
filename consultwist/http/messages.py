"""What goes through the HTTP layer: `Request` in; `Response` and its like out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol
from urllib.parse import unquote_to_bytes

import attrs
from twisted.internet.defer import Deferred

from consultwist.errors import ConsultwistError

if TYPE_CHECKING:
    from consultwist.http.router import Route

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; charset=utf-8"


@attrs.frozen
class Head:
    """The header fields of a request, and what the protocol reads out of them.

    Clients send the same fields again and again, so heads are kept and shared between
    requests; nobody may change one.

    Attributes:
        fields: values by lower-case name; repeated fields are joined by a comma.
        length: the announced size of the body, -1 for a chunked body.
        close: whether the client wants the connection closed; None leaves it to the
            HTTP version.
        awaits_continue: whether the client waits for ``100 Continue``.
        accepts_gzip: whether the answer may be compressed.
        token: the ACL token, or an empty text.
    """

    fields: Mapping[str, str]
    length: int = 0
    close: bool | None = None
    awaits_continue: bool = False
    accepts_gzip: bool = False
    token: str = attrs.field(default="", repr=False)


class Finished:
    """The finished answer to a read that comes again and again, byte for byte.

    It holds while the state that it was read from has the same version, and within the
    same second, since the answer tells the date.

    Attributes:
        version: `IClusterDelegate.read_version` when it was made; -1 for none yet.
        second: the second that it tells.
        data: all its bytes.
    """

    __slots__ = ("data", "second", "version")

    def __init__(self) -> None:
        self.version = -1
        self.second = -1
        self.data = b""


class Request:
    """One request, parsed.

    Attributes:
        method: such as ``GET``.
        target: path and query as they came, undecoded.
        path: the decoded path; bytes that are not UTF-8 are surrogate escapes.
        query: the first value of each query parameter, decoded.
        head: the header fields.
        body: the whole body.
        spool: the file with the body, for routes that want one; None where the body is
            small. The protocol closes it once the request is answered.
        client: the host part of the client's address; empty for unix sockets.
        port: the client's port.
        old: whether the client speaks HTTP/1.0.
        route: what answers; there once `routed` is true.
        routed: whether the site has found the route, and parsed the query.
        started_s: when the endpoint was called, in monotonic seconds.
        finished: where the answer may be kept, shared by all requests of the same
            bytes; None where requests like it are not remembered.
    """

    __slots__ = (
        "body",
        "client",
        "finished",
        "head",
        "method",
        "old",
        "path",
        "port",
        "query",
        "raw_query",
        "route",
        "routed",
        "spool",
        "started_s",
        "target",
    )

    query: Mapping[str, str]
    route: "Route"

    def __init__(
        self, method: str, target: str, path: str, raw_query: str, head: Head
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.raw_query = raw_query
        self.head = head
        self.query = _NOTHING
        self.body = b""
        self.spool: BinaryIO | None = None
        self.client = ""
        self.port = 0
        self.old = False
        self.routed = False
        self.finished: Finished | None = None
        self.started_s = 0.0

    def again(self) -> "Request":
        """Return the same request, as if it had come once more, without its body."""
        same = Request(self.method, self.target, self.path, self.raw_query, self.head)
        same.query = self.query
        same.old = self.old
        same.routed = self.routed
        same.finished = self.finished
        if self.routed:
            same.route = self.route
        return same

    @property
    def rest(self) -> str:
        """The path behind the prefix of the route: the key, the id, the name."""
        return self.path[len(self.route.path) :]

    def field(self, name: str) -> str:
        """Return a header field by its lower-case name, or an empty text."""
        return self.head.fields.get(name, "")

    def values(self, name: str) -> list[str]:
        """Return all values of a query parameter that may repeat."""
        return [value for key, value in query_pairs(self.raw_query) if key == name]


_NOTHING: Final[Mapping[str, str]] = {}


def query_pairs(raw: str) -> Iterator[tuple[str, str]]:
    """Yield the decoded name and value of each parameter of a query string.

    Parameters are parted by ``&`` or ``;``, as Go 1.14 did.

    Raises:
        ValueError: where a percent escape is broken.
    """
    for part in raw.replace(";", "&").split("&"):
        if part:
            name, _, value = part.partition("=")
            yield decode_component(name), decode_component(value)


def decode_component(text: str) -> str:
    """Decode a name or value of a query string."""
    if "+" in text:
        text = text.replace("+", " ")
    return decode_percent(text) if "%" in text else text


def decode_percent(text: str) -> str:
    """Decode percent escapes; bytes that are not UTF-8 become surrogate escapes.

    Raises:
        ValueError: where an escape is not two hexadecimal digits.
    """
    for part in text.split("%")[1:]:
        if len(part) < 2 or not _HEXADECIMAL.issuperset(part[:2]):
            raise ValueError(f"invalid URL escape {'%' + part[:2]!r}")
    raw = text.encode("utf-8", "surrogateescape")
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


_HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF")


class Response:
    """A complete answer.

    Args:
        body: the bytes to send.
        status: the HTTP status.
        content_type: empty for an answer without a body.
        headers: further header fields, with their names as Go writes them.
    """

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers

    @classmethod
    def text(
        cls,
        text: str,
        *,
        status: int = 200,
        content_type: str = TEXT_TYPE,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> "Response":
        """Return an answer of plain text; an empty text has no content type."""
        body = text.encode("utf-8", "surrogateescape")
        return cls(
            body,
            status=status,
            content_type=content_type if body else "",
            headers=headers,
        )


@attrs.frozen
class JSON:
    """A value shown as JSON, where the value alone would not say enough.

    None returned by an endpoint is an empty answer; ``JSON(None)`` shows ``null``.
    """

    value: object
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@attrs.define
class Indexed:
    """A part of an RPC reply, with the headers that its `QueryMeta` gives.

    Attributes:
        reply: the RPC reply, a `QueryMeta`.
        payload: the part to show; bytes are JSON already. The finished bytes are kept
            and used again for a request with the same target whose payload `is` the
            same object.
        show: what makes the JSON value of the payload; it may depend on nothing but
            the payload and the target of the request.
        consistency: the value of X-Consul-Effective-Consistency, or empty.
        headers: further header fields.
        kept: whether the finished bytes are worth keeping: not where they are made
            as quickly as found, and not where the payload is never the same again.
    """

    reply: Any
    payload: object
    show: Callable[[Any], object] | None = None
    consistency: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    kept: bool = True


class FailedRead(ConsultwistError):
    """A read that failed, on an endpoint that even then tells an index.

    ``X-Consul-Index: 1``, ``X-Consul-Knownleader: false`` and
    ``X-Consul-Lastcontact: 0`` go with the error.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Sink(Protocol):
    """Where the feed of a `Stream` writes."""

    #: Called, where set, each time the sink is no longer blocked.
    on_drained: Callable[[], None] | None

    @property
    def blocked(self) -> bool:
        """Whether the client has yet to read so much that `write` would drop."""

    def write(self, data: bytes) -> bool:
        """Send data; where the sink is blocked, drop it and return False."""

    def finish(self) -> None:
        """End the answer in good order."""

    def abort(self) -> None:
        """End the answer so that the client sees that it is incomplete."""


@attrs.frozen
class Stream:
    """An answer whose end is not known when it begins.

    Attributes:
        start: called once when the head was sent; returns what stops the feed, which
            is called once when the client has gone or the stream was finished.
        content_type: of the whole; empty to send none.
        status: the HTTP status.
        headers: further header fields.
    """

    start: Callable[[Sink], Callable[[], None]]
    content_type: str = ""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def stream_of(
    chunks: Iterable[bytes],
    content_type: str,
    headers: tuple[tuple[str, str], ...] = (),
) -> Stream:
    """Return a stream that takes the next chunk when the client has read the last."""
    iterator = iter(chunks)

    def start(sink: Sink) -> Callable[[], None]:
        stopped = False

        def stop() -> None:
            nonlocal stopped
            stopped = True

        def pump() -> None:
            try:
                while not stopped and not sink.blocked:
                    chunk = next(iterator, None)
                    if chunk is None:
                        sink.finish()
                    elif chunk:
                        sink.write(chunk)
            except Exception:
                sink.abort()
                raise

        sink.on_drained = pump
        pump()
        return stop

    return Stream(start, content_type, headers=headers)


#: What an endpoint may return: see the package's documentation.
Answer = Response | JSON | Indexed | Stream | object | None
MaybeLater = Answer | Deferred[Any]
