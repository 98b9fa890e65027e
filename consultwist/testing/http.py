"""HTTP in memory: a client that talks to the real protocol without a network.

::

    site = make_site(FruitEndpoints)
    client = HTTPClient(site)
    answer = client.get("/v1/fruits?pretty")
    assert answer.status == 200
    assert answer.json == ["apple"]
"""

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from consultwist.acl.authorizer import ALLOW_ALL, Authorizer
from consultwist.http.protocol import HTTPProtocol
from consultwist.http.router import collect_routes
from consultwist.http.site import Site
from consultwist.testing.agent import RecordingAgent


@attrs.define
class LogSettings:
    """The part of the configuration that says how much is logged."""

    log_level: str = "INFO"


@attrs.define
class HTTPSettings:
    """The part of the configuration that the HTTP layer reads, with its defaults."""

    datacenter: str = "dc1"
    node_name: str = "n1"
    segment_name: str = ""
    dev_mode: bool = False
    translate_wan_addrs: bool = False
    disable_http_unprintable_char_filter: bool = False
    discovery_max_stale: float = 0.0
    http_use_cache: bool = True
    http_response_headers: Mapping[str, str] = attrs.Factory(dict)
    http_block_endpoints: tuple[str, ...] = ()
    allow_write_http_from: tuple[str, ...] = ()
    http_max_conns_per_client: int = 200
    https_handshake_timeout: float = 5.0
    kv_max_value_size: int = 524288
    txn_max_req_len: int = 524288
    enable_ui: bool = False
    ui_dir: str = ""
    ui_content_path: str = "/ui/"
    logging: LogSettings = attrs.Factory(LogSettings)


class HTTPAgent(RecordingAgent):
    """A recording agent that also resolves tokens.

    Attributes:
        authorizers: what tokens allow, by secret; others allow everything.
    """

    def __init__(
        self,
        config: Any = None,
        methods: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        super().__init__(HTTPSettings() if config is None else config, methods)
        self.authorizers: dict[str, Authorizer] = {}

    def resolve_token(self, token: str) -> Authorizer:
        """Return what a token allows."""
        return self.authorizers.get(token, ALLOW_ALL)


def make_site(
    endpoints: Callable[[Any], object], agent: RecordingAgent | None = None
) -> Site:
    """Return a site with the routes of one class of endpoints."""
    agent = agent or HTTPAgent()
    return Site(agent, collect_routes(endpoints(agent)))


class FakeTransport:
    """The server's end of a connection.

    Attributes:
        written: what the server has sent and the client not yet taken.
        room: how many bytes the client takes before the server is told to hold back;
            None for a client that reads all.
        reading: whether the server wants more.
        closed: whether the server closed the connection.
        half_closed: whether the server said that it sends no more.
        aborted: whether the server dropped the connection.
    """

    def __init__(self) -> None:
        self.written = bytearray()
        self.room: int | None = None
        self.reading = True
        self.closed = False
        self.half_closed = False
        self.aborted = False
        self.producer: Any = None
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        """Take bytes; they are lost once the connection is closed."""
        if self.closed or self.half_closed:
            return
        self.written += data
        if self.room is not None and len(self.written) > self.room and self.producer:
            self.producer.pauseProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Note whom to hold back."""
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Note that nobody is to be held back."""
        self.producer = None

    def pauseProducing(self) -> None:
        """Stop reading."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        self.reading = True

    def loseWriteConnection(self) -> None:
        """Send no more."""
        self.half_closed = True

    def loseConnection(self) -> None:
        """Close."""
        self._end()

    def abortConnection(self) -> None:
        """Drop the connection."""
        self.aborted = True
        self._end()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@attrs.frozen
class HTTPAnswer:
    """One answer as the client sees it.

    Attributes:
        status: the HTTP status.
        headers: the fields by name, as they were written.
        body: the body, decompressed and without chunks.
        version: the HTTP version of the status line.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    version: str = "HTTP/1.1"

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class HTTPClient:
    """A client with one connection.

    Args:
        site: what it talks to.
        host: the address that the server sees.
    """

    def __init__(self, site: Site, host: str = "127.0.0.1", port: int = 40000) -> None:
        self.address = IPv4Address("TCP", host, port)
        self.transport = FakeTransport()
        self.protocol = HTTPProtocol(site, host, port)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.protocol.dataReceived(data)

    def leave(self) -> None:
        """Close the client's end."""
        self.transport._end()

    def taken(self) -> bytes:
        """Take all that the server has sent."""
        data = bytes(self.transport.written)
        self.transport.written.clear()
        return data

    def drain(self) -> None:
        """Read all, and let the server go on."""
        self.taken()
        if self.transport.producer is not None:
            self.transport.producer.resumeProducing()

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> HTTPAnswer:
        """Send one request, and return its answer, which must be there at once."""
        self.ask(method, target, body, headers)
        return self.answer(without_body=method == "HEAD")

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send one request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: consul"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body or method in ("PUT", "POST"):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.send(head.encode("utf-8", "surrogateescape") + body)

    def get(self, target: str, **headers: str) -> HTTPAnswer:
        """Send a GET; underscores in the names of fields stand for hyphens."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", target, headers=fields)

    def put(self, target: str, body: bytes = b"", **headers: str) -> HTTPAnswer:
        """Send a PUT."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("PUT", target, body, fields)

    def answer(self, *, without_body: bool = False) -> HTTPAnswer:
        """Take the next answer off what the server has sent."""
        found, rest = parse_answer(self.taken(), without_body=without_body)
        self.transport.written[:0] = rest
        return found

    def answers(self) -> list[HTTPAnswer]:
        """Take all answers."""
        data = self.taken()
        found = []
        while data:
            answer, data = parse_answer(data)
            found.append(answer)
        return found


def parse_answer(
    data: bytes, *, without_body: bool = False
) -> tuple[HTTPAnswer, bytes]:
    """Return the first answer of some bytes, and the bytes behind it."""
    head, separator, rest = data.partition(b"\r\n\r\n")
    assert separator, f"no complete answer: {data[:200]!r}"
    status_line, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    version, status, _ = status_line.split(" ", 2)
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines), f"a field came twice: {lines}"
    body = b""
    if int(status) == 100 or without_body:
        pass
    elif headers.get("Transfer-Encoding") == "chunked":
        body, rest = _chunks(rest)
    elif "Content-Length" in headers:
        size = int(headers["Content-Length"])
        assert len(rest) >= size, "the body is cut"
        body, rest = rest[:size], rest[size:]
    else:
        body, rest = rest, b""
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return HTTPAnswer(int(status), headers, body, version), rest


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    parts = []
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        parts.append(data[:size])
        assert data[size : size + 2] == b"\r\n"
        data = data[size + 2 :]
        if not size:
            return b"".join(parts), data
