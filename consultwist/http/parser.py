r"""Bytes to requests: HTTP/1.x as RFC 9112 has it, without I/O.

`RequestReader` is fed whatever arrives; `head` gives the next request as soon as its
header fields are complete, and a `Body` takes the bytes that follow. The result does
not depend on how the bytes were cut into pieces.

Strict where leniency has let requests be smuggled past proxies: lines end in CRLF,
names are tokens, there is one Host and at most one body size, and a request with both
Content-Length and Transfer-Encoding is refused.
"""

import re
from typing import BinaryIO, Final

from consultwist.http.messages import Finished, Head, Request, decode_percent

#: Stock Consul 1.8 keeps the default of Go's server.
HEAD_MAX_BYTES: Final = 1024 * 1024

#: A chunk's size with its extensions, or one trailer field.
_CHUNK_LINE_MAX: Final = 4096
#: All trailer fields after the last chunk; nobody reads them.
_TRAILER_MAX: Final = 16 * 1024

#: How much is kept of what was read before, and how large a thing is kept.
_HEADS_MAX: Final = 512
_REQUESTS_MAX: Final = 1024
_KEPT_MAX_BYTES: Final = 1024

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE: Final = rb"[^\x00-\x08\x0a-\x1f\x7f]*"
_FIELDS: Final = re.compile(rb"(?:" + _TOKEN + rb":" + _VALUE + rb"\r\n)*")
_FIELD: Final = re.compile(rb"([^:\r\n]*):([^\r\n]*)\r\n")
_METHOD: Final = re.compile(_TOKEN)
_TARGET: Final = re.compile(rb"[^\x00-\x20\x7f]+")
_AUTHORITY: Final = re.compile(r"https?://[^/?]*", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9!$%&'()*+,\-.:;=\[\]@_~]*")
_GZIP: Final = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?(?:,|$)")

#: More digits than any body of ours has.
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class Malformed(Exception):
    """The bytes are no request; the connection cannot go on.

    Attributes:
        status: the HTTP status to answer with.
        reason: what to tell the client besides the status; may be empty.
    """

    def __init__(self, status: int = 400, reason: str = "") -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class BodyTooLarge(Exception):
    """A body is larger than allowed.

    Attributes:
        size: its size, or what is known of it so far.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class Memory:
    """What was read before, shared between all connections.

    Clients send the same header fields with every request, and many send whole
    requests again and again. Both are kept here, and bounded.
    """

    __slots__ = ("_heads", "requests")

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        #: Requests without a body, by all their bytes.
        self.requests: dict[bytes, Request] = {}

    def head(self, block: bytes) -> Head:
        """Return the head of a block of header lines.

        Raises:
            Malformed: where it is none.
        """
        head = self._heads.get(block)
        if head is None:
            head = parse_head(block)
            if len(block) <= _KEPT_MAX_BYTES:
                if len(self._heads) >= _HEADS_MAX:
                    self._heads.clear()
                self._heads[block] = head
        return head

    def keep(self, data: bytes, request: Request) -> None:
        """Keep a request by its bytes."""
        if len(self.requests) >= _REQUESTS_MAX:
            self.requests.clear()
        self.requests[data] = request


class RequestReader:
    """Turns the bytes of one connection into requests.

    Args:
        memory: what was read before, on this connection or others.
    """

    __slots__ = ("_at", "_buffer", "_memory", "_scanned")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._scanned = 0

    def __len__(self) -> int:
        """Return how many bytes wait to be read."""
        return len(self._buffer) - self._at

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        if self._at == len(self._buffer):
            self._buffer = data
            self._at = self._scanned = 0
        elif isinstance(self._buffer, bytearray):
            self._buffer += data
        else:
            # Grown in place from here on, since the rest may come byte by byte.
            self._buffer = bytearray(self._buffer[self._at :])
            self._buffer += data
            self._at = self._scanned = 0

    def take(self) -> bytes:
        """Return all bytes that wait, and forget them."""
        data = bytes(self._buffer[self._at :])
        self._buffer = b""
        self._at = self._scanned = 0
        return data

    def body(self, size: int) -> bytes | None:
        """Return the next bytes, or None where so many have not come yet."""
        at, end = self._at, self._at + size
        if end > len(self._buffer):
            return None
        self._at = self._scanned = end
        return bytes(self._buffer[at:end])

    def head(self) -> Request | None:
        """Return the next request, without its body, or None where more is needed.

        Raises:
            Malformed: where the bytes are no request.
        """
        buffer = self._buffer
        at = self._at
        if at == len(buffer):
            return None
        if at == 0 and isinstance(buffer, bytes):
            known = self._memory.requests.get(buffer)
            if known is not None:
                self._at = len(buffer)
                return known.again()
        end = buffer.find(b"\r\n\r\n", max(at, self._scanned))
        if end < 0:
            self._check_incomplete(buffer, at)
            return None
        if end - at > HEAD_MAX_BYTES:
            raise Malformed(431)
        if isinstance(buffer, bytearray):
            buffer = self._buffer = bytes(buffer)
        line_end = buffer.find(b"\r\n", at)
        head = self._memory.head(buffer[line_end + 2 : end + 2])
        request = _request(buffer[at:line_end], head)
        self._at = self._scanned = end + 4
        if at == 0 and self._at == len(buffer) <= _KEPT_MAX_BYTES and not head.length:
            if request.method == "GET" and not request.old and not head.close:
                request.finished = Finished()
            self._memory.keep(buffer, request)
        return request

    def _check_incomplete(self, buffer: bytes | bytearray, at: int) -> None:
        if len(buffer) - at > HEAD_MAX_BYTES:
            raise Malformed(431)
        # An empty line without its carriage return ends a head for lenient parsers.
        start = max(at, self._scanned - 3)
        if buffer.find(b"\n\n", start) >= 0 or buffer.find(b"\n\r\n", start) >= 0:
            raise Malformed
        self._scanned = max(at, len(buffer) - 3)


def parse_head(block: bytes) -> Head:
    """Return the header fields of a block of lines, each with its CRLF.

    Raises:
        Malformed: where a line is no field, or fields contradict each other.
    """
    if not _FIELDS.fullmatch(block):
        raise Malformed(reason=_fault(block))
    fields: dict[str, str] = {}
    for raw_name, raw_value in _FIELD.findall(block):
        name = raw_name.decode().lower()
        value = raw_value.decode("utf-8", "surrogateescape").strip(" \t")
        if name in fields:
            value = _joined(name, fields[name], value)
        fields[name] = value
    if not _HOST.fullmatch(fields.get("host", "")):
        raise Malformed(reason="malformed Host header")
    expectation = fields.get("expect", "").lower()
    if expectation not in ("", "100-continue"):
        raise Malformed(417)
    return Head(
        fields=fields,
        length=_body_length(fields),
        close=_closes(fields.get("connection", "")),
        awaits_continue=expectation != "",
        accepts_gzip=_accepts_gzip(fields.get("accept-encoding", "")),
        token=fields.get("x-consul-token") or _bearer(fields.get("authorization", "")),
    )


def _fault(block: bytes) -> str:
    for line in block.split(b"\r\n")[:-1]:
        name, colon, value = line.partition(b":")
        if not colon:
            return ""
        if not _METHOD.fullmatch(name):
            return "invalid header name"
        if not re.fullmatch(_VALUE, value):
            return "invalid header value"
    return ""


def _joined(name: str, first: str, second: str) -> str:
    if name == "host":
        raise Malformed(reason="too many Host headers")
    if name == "content-length":
        if first != second:
            raise Malformed
        return first
    return f"{first}, {second}"


def _body_length(fields: dict[str, str]) -> int:
    length = fields.get("content-length")
    coding = fields.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise Malformed(501, "Unsupported transfer encoding")
        if length is not None:
            raise Malformed
        return -1
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise Malformed
    return int(length)


def _closes(connection: str) -> bool | None:
    words = {word.strip() for word in connection.lower().split(",")}
    if "close" in words:
        return True
    return False if "keep-alive" in words else None


def _accepts_gzip(value: str) -> bool:
    found = _GZIP.search(value.lower())
    return found is not None and (found[1] is None or found[1].strip("0.") != "")


def _bearer(authorization: str) -> str:
    """Return the token of an Authorization field: the first word after the scheme."""
    scheme, _, rest = authorization.partition(" ")
    return rest.strip().partition(" ")[0] if scheme.lower() == "bearer" else ""


def _request(line: bytes, head: Head) -> Request:
    try:
        raw_method, raw_target, version = line.split(b" ")
    except ValueError:
        raise Malformed from None
    old = version == b"HTTP/1.0"
    if version != b"HTTP/1.1" and not old:
        if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
            raise Malformed(400, "unsupported protocol version")
        raise Malformed
    method = _METHODS.get(raw_method)
    if method is None:
        if not _METHOD.fullmatch(raw_method):
            raise Malformed
        method = raw_method.decode()
    if not old and "host" not in head.fields:
        raise Malformed(reason="missing required Host header")
    if not _TARGET.fullmatch(raw_target):
        raise Malformed
    request = _with_target(method, raw_target.decode("utf-8", "surrogateescape"), head)
    request.old = old
    return request


_METHODS: Final = {name.encode(): name for name in ("GET", "PUT", "POST", "DELETE")}


def _with_target(method: str, target: str, head: Head) -> Request:
    if target[0] != "/":
        authority = _AUTHORITY.match(target)
        if authority is None:
            raise Malformed
        target = target[authority.end() :]
        if target[:1] != "/":
            target = "/" + target
    path, _, query = target.partition("?")
    if "%" in path:
        try:
            path = decode_percent(path)
        except ValueError:
            raise Malformed from None
    return Request(method, target, path, query, head)


class Body:
    """The bytes of one body, as they come in.

    Args:
        length: the announced size, or -1 for a chunked body.
        limit: the largest size that is taken.
        kept: whether the bytes are wanted, or thrown away.
        spool: where wanted bytes go, instead of being returned.

    Raises:
        BodyTooLarge: where the announced size is over the limit.
    """

    __slots__ = ("_chunks", "_data", "_kept", "_left", "_limit", "_size", "_spool")

    def __init__(
        self,
        length: int,
        limit: int,
        *,
        kept: bool = True,
        spool: BinaryIO | None = None,
    ) -> None:
        if length > limit:
            raise BodyTooLarge(length)
        self._limit = limit
        self._kept = kept
        self._spool = spool
        self._data = bytearray()
        self._left = max(length, 0)
        self._size = 0
        self._chunks = _Chunks() if length < 0 else None

    def read(self, reader: RequestReader) -> bytes | None:
        """Take what belongs to the body; return it all once it is complete.

        Raises:
            BodyTooLarge: where a chunked body grew over the limit.
            Malformed: where the chunks are none.
        """
        data = reader.take()
        if self._chunks is not None:
            return self._read_chunks(reader, data)
        part = data[: self._left]
        if len(data) > self._left:
            reader.feed(data[self._left :])
        self._left -= len(part)
        if self._left:
            self._keep(part)
            return None
        if not self._data and self._spool is None:
            return part if self._kept else b""
        self._keep(part)
        return bytes(self._data)

    def _read_chunks(self, reader: RequestReader, data: bytes) -> bytes | None:
        chunks = self._chunks
        assert chunks is not None
        rest = chunks.feed(data)
        for part in chunks.take():
            self._keep(part)
        if self._size > self._limit:
            raise BodyTooLarge(self._limit + 1)
        if rest is None:
            return None
        if rest:
            reader.feed(rest)
        return bytes(self._data)

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._spool is not None:
            self._spool.write(part)
        elif self._kept:
            self._data += part


class _Chunks:
    """The chunked coding."""

    __slots__ = ("_in_trailer", "_left", "_line", "_parts", "_trailer_left")

    def __init__(self) -> None:
        self._line = b""
        self._left = 0
        self._in_trailer = False
        self._trailer_left = _TRAILER_MAX
        self._parts: list[bytes] = []

    def take(self) -> list[bytes]:
        """Return the parts of the body since the last call."""
        parts, self._parts = self._parts, []
        return parts

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes; return those behind the body once it is complete."""
        at = 0
        while at < len(data):
            if self._left > 2:
                part = data[at : at + self._left - 2]
                self._parts.append(part)
                self._left -= len(part)
                at += len(part)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                self._check_line()
                return None
            self._line += data[at : end + 1]
            at = end + 1
            self._check_line()
            if self._end_line():
                return data[at:]
        return None

    def _check_line(self) -> None:
        if len(self._line) > _CHUNK_LINE_MAX:
            raise Malformed
        if self._left and not b"\r\n".startswith(self._line):
            raise Malformed

    def _end_line(self) -> bool:
        """Read a whole line; return whether it was the last."""
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise Malformed
        line = line[:-2]
        if self._left:
            self._left = 0  # the line break behind a chunk
            return False
        if self._in_trailer:
            self._trailer_left -= len(line)
            if self._trailer_left < 0:
                raise Malformed
            return not line
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise Malformed
        length = int(size[1], 16)
        if length:
            self._left = length + 2
        else:
            self._in_trailer = True
        return False
