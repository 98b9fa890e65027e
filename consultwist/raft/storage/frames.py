"""Frames: how entries lie in a segment file, and how damage is judged.

::

    frame = header, entry as on the wire, end mark
    header = magic, flags, entry type, length, term, commit index, header CRC, CRC

A segment is written into blocks of zeros, batch by batch; a batch is begun only when
the one before is durable. After a crash the last batch may be there in part, and since
disks write sectors in any order, not only its beginning. Damage is therefore a **torn
tail**, to be cut off, only if it can be explained by sectors that were not written:
they still hold zeros, or the file ends. It is **corruption**, never to be skipped, if
a sound batch begins anywhere behind it (so what is before had been durable) or if the
frame is all there, with its end mark and no sector of zeros, and its CRC is wrong.

The CRCs start from a random number of the segment's, so that no user can store a
value that looks like a frame.
"""

import struct
import zlib
from array import array
from collections.abc import Sequence
from typing import Final

import attrs

from consultwist.raft.messages import Entry, LogType

_MAGIC: Final = b"\xc5\x1e"
_END: Final = 0xE7
_BATCH_START: Final = 0x01

_HEADER: Final = struct.Struct("<2sBBIQQ")
_CRCS: Final = struct.Struct("<II")
HEADER_SIZE: Final = _HEADER.size + _CRCS.size
OVERHEAD: Final = HEADER_SIZE + 1

#: Disks write at least so much at once.
_SECTOR: Final = 512

_END_MARK: Final = bytes((_END,))


def encode_batch(entries: Sequence[Entry], commit_index: int, salt: int) -> list[bytes]:
    """Return the frames of a batch, the first one marked."""
    frames = []
    flags = _BATCH_START
    crc32 = zlib.crc32
    for entry in entries:
        payload = entry.encoded
        header = _HEADER.pack(
            _MAGIC, flags, entry.type, len(payload), entry.term, commit_index
        )
        head_crc = crc32(header, salt)
        crcs = _CRCS.pack(head_crc, crc32(payload, head_crc))
        frames.append(b"".join((header, crcs, payload, _END_MARK)))
        flags = 0
    return frames


@attrs.define
class Scan:
    """What a segment holds.

    Attributes:
        offsets: where each frame begins.
        terms: position of the first entry, and term, of each run of equal terms.
        configurations: positions of the configuration entries.
        commit_index: the highest commit index that was written along.
        end: where the last sound frame ends.
    """

    offsets: "array[int]" = attrs.field(factory=lambda: array("Q"))
    terms: list[tuple[int, int]] = attrs.field(factory=list)
    configurations: list[int] = attrs.field(factory=list)
    commit_index: int = 0
    end: int = 0


def scan(content: bytes, start: int, salt: int) -> Scan:
    """Walk over the sound frames from `start` on."""
    found = Scan(end=start)
    view = memoryview(content)
    unpack, crcs, crc32 = _HEADER.unpack_from, _CRCS.unpack_from, zlib.crc32
    position, size, last_term = start, len(content), -1
    crc_at, head_size = _HEADER.size, HEADER_SIZE
    while position + OVERHEAD <= size:
        magic, _, kind, length, term, commit = unpack(content, position)
        if magic != _MAGIC:
            break
        head_crc, crc = crcs(content, position + crc_at)
        end = position + head_size + length
        if end >= size or crc32(view[position : position + crc_at], salt) != head_crc:
            break
        if crc32(view[position + head_size : end], head_crc) != crc:
            break
        if content[end] != _END:
            break
        if term != last_term:
            found.terms.append((len(found.offsets), term))
            last_term = term
        if kind == LogType.CONFIGURATION:
            found.configurations.append(len(found.offsets))
        found.offsets.append(position)
        found.commit_index = max(found.commit_index, commit)
        position = end + 1
    found.end = position
    return found


def decode(content: bytes, salt: int) -> tuple[list[Entry], int]:
    """Return the entries of a run of frames, and where the last sound one ends."""
    found = scan(content, 0, salt)
    entries = []
    ends = [*found.offsets[1:], found.end]
    for start, end in zip(found.offsets, ends, strict=False):
        payload = content[start + HEADER_SIZE : end - 1]
        entries.append(Entry.unpack_own(payload))
    return entries, found.end


def is_torn(content: bytes, position: int, salt: int) -> bool:
    """Tell whether damage at a position is an interrupted write, not corruption."""
    if _has_later_batch(content, position, salt):
        return False
    end = _claimed_end(content, position, salt)
    if end > len(content):
        return True
    if content[end - 1] == 0 and is_clean(content, end):
        # The bytes end here, within the frame.
        return True
    first = position - position % _SECTOR
    for sector in range(first, end, _SECTOR):
        if not any(content[max(sector, position) : sector + _SECTOR]):
            return True
    return False


def is_clean(content: bytes, position: int) -> bool:
    """Tell whether nothing was ever written from a position on."""
    return content.count(0, position) == len(content) - position


def _claimed_end(content: bytes, position: int, salt: int) -> int:
    """Return the end of the frame, or of its header where that is not sound."""
    length = _sound_length(content, position, salt)
    return position + HEADER_SIZE if length is None else position + OVERHEAD + length


def _sound_length(content: bytes, position: int, salt: int) -> int | None:
    if position + HEADER_SIZE > len(content):
        return None
    magic, _, _, length, _, _ = _HEADER.unpack_from(content, position)
    head_crc, _ = _CRCS.unpack_from(content, position + _HEADER.size)
    header = memoryview(content)[position : position + _HEADER.size]
    if magic != _MAGIC or zlib.crc32(header, salt) != head_crc:
        return None
    return int(length)


def _has_later_batch(content: bytes, position: int, salt: int) -> bool:
    while (position := content.find(_MAGIC, position + 1)) >= 0:
        if (
            _sound_length(content, position, salt) is not None
            and content[position + 2] & _BATCH_START
        ):
            return True
    return False
