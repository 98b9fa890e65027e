"""Commands that were too large for one entry, joined again.

A chunk's place is told by the entry's extensions, a small protobuf message:
1 operation number, 2 sequence number, 3 number of chunks, 4 extensions of the whole.
"""

from collections.abc import Iterator
from typing import Any, Final

import attrs

from consultwist.errors import WireError
from consultwist.wire import varint
from consultwist.wire.msgpack import pack
from consultwist.wire.struct import Struct

#: Commands longer than this are cut; Raft entries of Consul's are no longer (Consul's
#: own chunk size, raft's suggested largest entry).
CHUNK_SIZE: Final = 512 * 1024

#: Operations being joined at one time. A leader has one write in flight a client, and
#: drops them all when the term changes.
OPERATIONS_MAX: Final = 1024

#: Chunks of one operation: 64 operations of 512 kB, the largest transaction.
CHUNKS_MAX: Final = 128


@attrs.frozen
class ChunkPlace:
    """Which part of which command a chunk is."""

    operation: int
    sequence: int
    count: int

    def encode(self) -> bytes:
        """Return the protobuf bytes, zero fields left out as protobuf does."""
        fields = ((1, self.operation), (2, self.sequence), (3, self.count))
        return b"".join(
            bytes([number << 3]) + varint.encode(value)
            for number, value in fields
            if value
        )

    @classmethod
    def decode(cls, data: bytes) -> "ChunkPlace":
        """Read the protobuf bytes; unknown fields are refused."""
        values = {1: 0, 2: 0, 3: 0}
        at = 0
        while at < len(data):
            tag, at = varint.decode(data, at)
            number, kind = tag >> 3, tag & 7
            value, at = varint.decode(data, at)
            if kind == 2:
                at += value
            elif kind == 0 and number in values:
                values[number] = value
            else:
                raise WireError("raft: malformed chunk extensions")
        return cls(values[1], values[2], values[3])


def split(command: bytes, operation: int) -> list[tuple[bytes, bytes]]:
    """Cut a command; return (data, extensions) for each chunk, in order."""
    parts = [command[at : at + CHUNK_SIZE] for at in range(0, len(command), CHUNK_SIZE)]
    return [
        (part, ChunkPlace(operation, number, len(parts)).encode())
        for number, part in enumerate(parts)
    ]


class _Chunk(Struct):
    """A chunk in the snapshot record."""

    data: bytes = b""
    term: int = 0


class Chunks:
    """The chunks seen of commands that are not complete yet."""

    def __init__(self) -> None:
        self._term = 0
        self._operations: dict[int, list[bytes | None]] = {}

    def add(self, term: int, extensions: bytes, data: bytes) -> bytes | None:
        """Take a chunk; return the whole command when this one completes it."""
        place = ChunkPlace.decode(extensions)
        if term != self._term:
            self._operations.clear()
            self._term = term
        if not 0 < place.count <= CHUNKS_MAX or place.sequence >= place.count:
            return None
        parts = self._operations.get(place.operation)
        if parts is None:
            if len(self._operations) >= OPERATIONS_MAX:
                return None
            parts = self._operations[place.operation] = [None] * place.count
        if place.sequence >= len(parts):
            return None
        parts[place.sequence] = data
        if not all(parts):
            return None
        del self._operations[place.operation]
        return b"".join(part for part in parts if part)

    def records(self) -> bytes:
        """Return the msgpack value of the snapshot record that keeps these chunks."""
        chunk_map = {
            operation: [
                None
                if part is None
                else {
                    "Data": part,
                    "NumChunks": len(parts),
                    "OpNum": operation,
                    "SequenceNum": number,
                    "Term": self._term,
                }
                for number, part in enumerate(parts)
            ]
            for operation, parts in self._operations.items()
        }
        return pack({"ChunkMap": chunk_map})

    @classmethod
    def from_record(cls, raw: Any) -> "Chunks":
        """Rebuild from the decoded value of the snapshot record.

        Raises:
            WireError: where the value is malformed.
        """
        chunks = cls()
        chunk_map = raw.get(b"ChunkMap") if isinstance(raw, dict) else None
        if not isinstance(chunk_map, dict | None):
            raise WireError("snapshot: malformed chunks")
        for operation, parts in (chunk_map or {}).items():
            if not isinstance(operation, int) or not isinstance(parts, list):
                raise WireError("snapshot: malformed chunks")
            read = [None if part is None else _Chunk.from_raw(part) for part in parts]
            for chunk in read:
                chunks._term = chunks._term if chunk is None else chunk.term
            data = [None if chunk is None else chunk.data for chunk in read]
            chunks._operations[operation] = data
        return chunks

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers of the operations that are not complete."""
        return iter(self._operations)
