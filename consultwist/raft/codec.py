"""Framing of the Raft stream, incremental and bounded.

::

    request  = type byte + msgpack map     (InstallSnapshot: then Size raw bytes)
    response = msgpack string (error text, empty is fine) + msgpack map

A type byte is a small integer in msgpack, too, so both directions are sequences of
msgpack values, but for the raw bytes of a snapshot.
"""

from collections.abc import Generator, Iterator
from typing import Any, Final

import attrs

from consultwist.errors import WireError
from consultwist.raft.messages import (
    REQUESTS,
    AppendEntries,
    InstallSnapshot,
    Message,
    Request,
)
from consultwist.wire import msgpack
from consultwist.wire.msgpack import StreamUnpacker

_ENTRIES_FIRST: Final = b"\xa7Entries"

#: How large an error text may be that goes out; Go writes no longer ones.
_ERROR_TEXT_MAX: Final = 4096

#: The size of a snapshot is Go's int64.
_SNAPSHOT_SIZE_MAX: Final = 2**63 - 1


def encode_request(request: Request) -> bytes:
    """Return the bytes of a request, without those of a snapshot."""
    mark = bytes((request.kind,))
    if isinstance(request, AppendEntries) and request.entries:
        return mark + _encode_append(request)
    return mark + request.pack()


def encode_response(response: Message | None, error: str = "") -> bytes:
    """Return the bytes of a response; with an error the structure may be nil."""
    body = b"\xc0" if response is None else response.pack()
    return msgpack.pack(error[:_ERROR_TEXT_MAX]) + body


def _encode_append(request: AppendEntries) -> bytes:
    """Join the entries' own bytes: they were encoded when they were proposed."""
    assert request.entries
    rest = {
        "Leader": request.leader,
        "LeaderCommitIndex": request.leader_commit_index,
        "PrevLogEntry": request.prev_log_entry,
        "PrevLogTerm": request.prev_log_term,
        "ProtocolVersion": request.protocol_version,
        "Term": request.term,
    }
    first: dict[str, bytes] = {}
    if request.addr is not None:
        first["Addr"] = request.addr
    if request.id is not None:
        rest = {"ID": request.id, **rest}
    return b"".join(
        (
            bytes((0x81 + len(first) + len(rest),)),
            msgpack.pack(first)[1:],
            _ENTRIES_FIRST,
            msgpack.array_header(len(request.entries)),
            *[entry.encoded for entry in request.entries],
            msgpack.pack(rest)[1:],
        )
    )


@attrs.frozen
class SnapshotBytes:
    """A piece of the snapshot that follows an InstallSnapshot."""

    data: bytes
    is_last: bool


class RequestDecoder:
    """Cuts a stream into requests and pieces of snapshots."""

    def __init__(self) -> None:
        self._unpacker = StreamUnpacker()
        self._kind: type[Request] | None = None
        self._raw_left = 0

    @property
    def is_between_requests(self) -> bool:
        """Tell whether everything that was fed belongs to complete requests."""
        return self._kind is None and not self._raw_left and not self._unpacker.pending

    def feed(self, data: bytes) -> Iterator[Request | SnapshotBytes]:
        """Append bytes; yield what is complete by now.

        Raises:
            WireError: where the stream is no sequence of known requests.
        """
        if self._raw_left and not self._unpacker.pending:
            data = yield from self._pass_raw(data)
            if not data:
                return
        self._unpacker.feed(data)
        while True:
            if self._raw_left:
                yield from self._pass_buffered()
                if self._raw_left:
                    return
            value = next(iter(self._unpacker), _NOTHING)
            if value is _NOTHING:
                return
            request = self._take(value)
            if request is None:
                continue
            yield request
            if isinstance(request, InstallSnapshot) and not self._raw_left:
                yield SnapshotBytes(b"", is_last=True)

    def _pass_raw(self, data: bytes) -> Generator[SnapshotBytes, None, bytes]:
        piece, rest = data[: self._raw_left], data[self._raw_left :]
        self._raw_left -= len(piece)
        yield SnapshotBytes(piece, is_last=not self._raw_left)
        return rest

    def _pass_buffered(self) -> Iterator[SnapshotBytes]:
        piece = self._unpacker.read_raw(self._raw_left)
        if piece:
            self._raw_left -= len(piece)
            yield SnapshotBytes(piece, is_last=not self._raw_left)

    def _take(self, value: Any) -> Request | None:
        if self._kind is None:
            kind = REQUESTS.get(value) if value.__class__ is int else None
            if kind is None:
                raise WireError(f"raft: unknown request type {value!r:.40}")
            self._kind = kind
            return None
        request = self._kind.from_raw(value)
        self._kind = None
        if isinstance(request, InstallSnapshot):
            if not 0 <= request.size <= _SNAPSHOT_SIZE_MAX:
                raise WireError(f"raft: a snapshot of {request.size} bytes")
            self._raw_left = request.size
        return request


_NOTHING: Final = object()


class ResponseDecoder:
    """Cuts a stream into responses: error text and undecoded structure."""

    def __init__(self) -> None:
        self._unpacker = StreamUnpacker()
        self._error: str | None = None

    def feed(self, data: bytes) -> Iterator[tuple[str, Any]]:
        """Append bytes; yield what is complete by now.

        Raises:
            WireError: where the stream is no sequence of responses.
        """
        self._unpacker.feed(data)
        for value in self._unpacker:
            if self._error is None:
                if not isinstance(value, bytes):
                    raise WireError("raft: a response without an error text")
                self._error = value.decode("utf-8", "replace")
            else:
                error, self._error = self._error, None
                yield error, value
