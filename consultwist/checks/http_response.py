"""HTTPResponse: one HTTP/1 response out of chunks of bytes.

A reader of our own rather than a library's, because the words for a malformed response
are part of what users see, and because the body needs no more than its last bytes.
"""

import re
import zlib
from collections.abc import Callable

from consultwist.wire.quoting import quoted

#: Consul's client gives up at headers of this size: Go's default.
HEAD_SIZE_MAX = 10 * 1024 * 1024

#: The longest line that may announce a chunk, as Go's.
CHUNK_LINE_SIZE_MAX = 4096

#: A body that is decompressed is followed to this size; what comes behind is not
#: looked at, so that a small answer cannot keep the agent busy.
UNPACKED_SIZE_MAX = 64 * 1024 * 1024

#: How much is decompressed at once.
_UNPACKED_PIECE_SIZE = 64 * 1024

_VERSION = re.compile(r"HTTP/[0-9]+\.[0-9]+")


class ResponseError(Exception):
    """A response that is not HTTP; the text is Go's."""


class HTTPResponse:
    """Reads one response.

    Feed it with `receive` and `end`; `status` is 0 until the head is complete.

    Attributes:
        status: the status code.
        status_text: the code with the reason, as in ``200 OK``.
        headers: by name in lower case; of several of a name the first.
        complete: whether the body is at its end.
    """

    def __init__(
        self, body: Callable[[bytes], None], *, has_body: bool, unpack: bool
    ) -> None:
        """Begin to read.

        Args:
            body: gets the pieces of the body.
            has_body: False for the answer to HEAD.
            unpack: whether a gzip encoding is undone.
        """
        self.status = 0
        self.status_text = ""
        self.headers: dict[str, str] = {}
        self.complete = False
        self._body = body
        self._has_body = has_body
        self._unpack = unpack
        self._buffer = bytearray()
        self._read: Callable[[], bool] = self._read_head
        self._left = 0

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the connection.

        Raises:
            ResponseError: where they are not what HTTP allows.
        """
        self._buffer += data
        while not self.complete and self._read():
            pass

    def end(self) -> None:
        """Hear that the connection is at its end.

        Raises:
            ResponseError: where the head is not complete.
        """
        if self.status:
            self.complete = True
        elif not self._buffer:
            raise ResponseError("EOF")
        elif b"\n" not in self._buffer:
            self._parse_status(self._buffer.decode("latin-1"))
        if not self.status:
            raise _broken("unexpected EOF")

    def _read_head(self) -> bool:
        lines, size = self._head_lines()
        if lines is None:
            if len(self._buffer) > HEAD_SIZE_MAX:
                raise ResponseError(
                    f"net/http: server response headers exceeded {HEAD_SIZE_MAX} "
                    "bytes; aborted"
                )
            if not self.status_text and b"\n" in self._buffer:
                self._parse_status(_text(self._buffer.partition(b"\n")[0]))
            return False
        status = self._parse_status(lines[0])
        headers = _parse_headers(lines[1:])
        del self._buffer[:size]
        if 100 <= status < 200 and status != 101:
            self.status_text = ""
            return True
        self.headers = headers
        self._choose_body(status)
        self.status = status
        return True

    def _head_lines(self) -> tuple[list[str] | None, int]:
        found = _HEAD_END.search(self._buffer)
        if found is None:
            return None, 0
        head = bytes(self._buffer[: found.start()])
        return [_text(line) for line in head.split(b"\n")], found.end()

    def _parse_status(self, line: str) -> int:
        version, space, rest = line.partition(" ")
        if not space:
            raise _broken(f"malformed HTTP response {quoted(line)}")
        self.status_text = rest.lstrip(" ")
        code = self.status_text.partition(" ")[0]
        if len(code) != 3 or not (code.isascii() and code.isdigit()):
            raise _broken(f"malformed HTTP status code {quoted(code)}")
        if not _VERSION.fullmatch(version):
            raise _broken(f"malformed HTTP version {quoted(version)}")
        return int(code)

    def _choose_body(self, status: int) -> None:
        encoding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length", "").strip()
        if not self._has_body or status in (101, 204, 304):
            self.complete = True
            return
        if self._unpack and self.headers.get("content-encoding", "") == "gzip":
            self._body = _Unpacker(self._body)
        if encoding == "chunked":
            self._read = self._read_chunk_size
        elif encoding not in ("", "identity"):
            raise _broken(f"unsupported transfer encoding: {quoted(encoding)}")
        elif not length:
            self._read = self._read_to_end
        elif length.isascii() and length.isdigit() and len(length) < 20:
            self._left = int(length)
            self._read = self._read_length
            self.complete = self._left == 0
        else:
            raise _broken(f"bad Content-Length {quoted(length)}")

    def _read_to_end(self) -> bool:
        self._hand_on(len(self._buffer))
        return False

    def _read_length(self) -> bool:
        self._left -= self._hand_on(min(self._left, len(self._buffer)))
        self.complete = self._left == 0
        return False

    def _read_chunk_size(self) -> bool:
        line, newline, _ = self._buffer.partition(b"\n")
        if not newline:
            # As every fault in a body: it ends here, the result stays.
            self.complete = len(line) > CHUNK_LINE_SIZE_MAX
            return False
        del self._buffer[: len(line) + 1]
        try:
            self._left = int(line.partition(b";")[0].strip(), 16)
        except ValueError:
            self._left = 0
        self.complete = self._left <= 0
        self._read = self._read_chunk
        return True

    def _read_chunk(self) -> bool:
        self._left -= self._hand_on(min(self._left, len(self._buffer)))
        if self._left or b"\n" not in self._buffer[:2]:
            return False
        del self._buffer[: self._buffer.index(b"\n") + 1]
        self._read = self._read_chunk_size
        return True

    def _hand_on(self, size: int) -> int:
        if size:
            self._body(bytes(self._buffer[:size]))
            del self._buffer[:size]
        return size


_HEAD_END = re.compile(rb"\n\r?\n")


def _broken(reason: str) -> ResponseError:
    return ResponseError(f"net/http: HTTP/1.x transport connection broken: {reason}")


def _text(line: bytes | bytearray) -> str:
    return line.removesuffix(b"\r").decode("utf-8", "surrogateescape")


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if line[:1] in (" ", "\t") and headers:
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise _broken(f"malformed MIME header: missing colon: {quoted(line)}")
        headers.setdefault(name.lower(), value.strip(" \t"))
    return headers


class _Unpacker:
    """Undoes gzip piece by piece; from the first fault on, nothing more comes."""

    def __init__(self, body: Callable[[bytes], None]) -> None:
        self._body = body
        self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._left = UNPACKED_SIZE_MAX

    def __call__(self, data: bytes) -> None:
        while data and self._left > 0 and not self._gzip.eof:
            try:
                piece = self._gzip.decompress(data, _UNPACKED_PIECE_SIZE)
            except zlib.error:
                self._left = 0
                return
            data = self._gzip.unconsumed_tail
            self._left -= len(piece)
            self._body(piece)
