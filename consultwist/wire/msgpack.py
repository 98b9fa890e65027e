"""MessagePack in the old dialect that Go's codec writes.

Strings and byte strings are one raw type on the wire, `str8` and `bin` are never
written. What is read keeps its bytes: turning them into text is for the field that
knows what it holds (`wire.struct`).
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

from consultwist.errors import WireError

#: Consul's own limits on a message are far smaller (a KV value is 512 KiB, a chunked
#: write a few MiB); a push/pull of 100,000 members is some 20 MiB.
MESSAGE_SIZE_MAX = 64 * 1024 * 1024

#: Deeper nesting than this has no meaning in any structure of Consul's.
DEPTH_MAX = 64

_packer = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")


def pack(value: object) -> bytes:
    """Return the old-dialect encoding of plain values; text keeps odd bytes."""
    packed: bytes = _packer.pack(value)
    return packed


def unpack(data: bytes | memoryview) -> Any:
    """Return the one value that `data` holds; raw strings stay bytes.

    Raises:
        WireError: where the bytes are not exactly one value.
    """
    try:
        return msgpack.unpackb(data, raw=True, strict_map_key=False, max_ext_len=0)
    except Exception as error:
        raise WireError(f"msgpack: {error}") from error


def unpack_first(data: bytes | memoryview) -> tuple[Any, bytes]:
    """Return the value that `data` begins with, and the bytes behind it.

    Raises:
        WireError: where the bytes do not begin with a value.
    """
    try:
        return msgpack.unpackb(data, raw=True, strict_map_key=False, max_ext_len=0), b""
    except msgpack.ExtraData as error:
        return error.unpacked, bytes(error.extra)
    except Exception as error:
        raise WireError(f"msgpack: {error}") from error


class StreamUnpacker:
    """Cuts a stream of values out of chunks of bytes, within a bound.

    A message may span any number of chunks. More than `size_max` buffered bytes
    without a complete value is an error, so a stalling peer cannot grow memory.
    """

    def __init__(self, size_max: int = MESSAGE_SIZE_MAX) -> None:
        self._unpacker = msgpack.Unpacker(
            raw=True, strict_map_key=False, max_buffer_size=size_max, max_ext_len=0
        )
        self._fed = 0
        #: Up to where values are complete; the unpacker's own place may be inside one.
        self._complete = 0

    def feed(self, data: bytes) -> None:
        """Append bytes from the stream."""
        self._fed += len(data)
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull as error:
            raise WireError("msgpack: message too large") from error

    def read_raw(self, count: int) -> bytes:
        """Take up to so many raw bytes off the stream, in place of a value.

        For protocols that put plain bytes between values; call it only where a value
        is complete.
        """
        raw: bytes = self._unpacker.read_bytes(count)
        self._complete = int(self._unpacker.tell())
        return raw

    @property
    def pending(self) -> int:
        """Tell how many bytes were fed that are not part of a complete value."""
        return self._fed - self._complete

    def __iter__(self) -> Iterator[Any]:
        """Yield every value that is complete by now."""
        # Asking for a value where there are no bytes would cost an exception.
        while self.pending:
            try:
                value = self._unpacker.unpack()
            except msgpack.OutOfData:
                return
            except Exception as error:
                raise WireError(f"msgpack: {error}") from error
            self._complete = int(self._unpacker.tell())
            yield value


def plain(value: Any, depth: int = 0) -> Any:
    """Turn raw strings in a free-form value into text, maps' keys too."""
    if depth > DEPTH_MAX:
        raise WireError("msgpack: nested too deeply")
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {plain(k, depth + 1): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(item, depth + 1) for item in value]
    return value


def map_header(count: int) -> bytes:
    """Return what stands before the pairs of a map."""
    return _header(count, 0x80, 0xDE, 0xDF)


def array_header(count: int) -> bytes:
    """Return what stands before the items of an array."""
    return _header(count, 0x90, 0xDC, 0xDD)


def _header(count: int, fix: int, short: int, long: int) -> bytes:
    if count < 16:
        return bytes([fix | count])
    if count < 65536:
        return struct.pack(">BH", short, count)
    return struct.pack(">BI", long, count)
