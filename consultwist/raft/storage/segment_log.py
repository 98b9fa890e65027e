"""The log on disk: a folder of segment files that are only appended to.

A segment is named after the index of its first entry. The last one is written into
blocks of zeros, so that making a batch durable changes no metadata; the others are
sealed: cut to their length and durable before the next one is begun. How entries lie
in a segment, and how a torn tail is told from corruption, is in `frames`.

The writer thread appends, truncates and compacts; the reactor reads. A lock guards
the table of segments, and is never held while the disk is waited for by a write.
"""

import bisect
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import attrs

from consultwist.errors import StorageError
from consultwist.raft.messages import Entry
from consultwist.raft.storage import files, frames

#: Large enough that sealing is rare, small enough that dropping whole segments keeps
#: the folder near the size that compaction allows.
SEGMENT_SIZE: Final = 8 * 1024 * 1024

#: Zeros are written ahead in steps of this size.
EXTENT_SIZE: Final = 1024 * 1024

_MAGIC: Final = b"CWLOG001"
#: Magic, first index, salt of the CRCs; then a CRC of these.
_HEAD: Final = struct.Struct("<8sQI")
_HEAD_SIZE: Final = _HEAD.size + 4
_SUFFIX: Final = ".log"


@attrs.frozen
class LogContents:
    """What the log holds; see `Recovered`."""

    first_index: int
    last_index: int
    terms: list[tuple[int, int]]
    configurations: list[Entry]
    commit_index: int


@attrs.define
class _Segment:
    path: Path
    descriptor: int
    first_index: int
    salt: int
    offsets: "array[int]"
    end: int
    size: int

    @property
    def next_index(self) -> int:
        return self.first_index + len(self.offsets)

    def end_of(self, position: int) -> int:
        """Return where the frame at a position of the table ends."""
        last = position + 1 >= len(self.offsets)
        return self.end if last else self.offsets[position + 1]


class SegmentLog:
    """The entries of one server, durable, in order, without gaps."""

    def __init__(
        self,
        folder: Path,
        rng: Random,
        *,
        segment_size: int = SEGMENT_SIZE,
        extent_size: int = EXTENT_SIZE,
    ) -> None:
        self._folder = folder
        self._rng = rng
        self._segment_size = segment_size
        self._extent_size = extent_size
        self._segments: list[_Segment] = []
        self._lock = threading.Lock()

    # --- opening --------------------------------------------------------------------

    def open(self) -> LogContents:
        """Read the folder, cut off a torn tail, and return what is there.

        Raises:
            StorageError: where an entry that was durable is damaged or missing.
        """
        files.make_folder(self._folder)
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()
        paths = sorted(self._folder.glob("*" + _SUFFIX))
        terms: list[tuple[int, int]] = []
        configurations: list[Entry] = []
        commit_index = 0
        for path in paths:
            segment, found = self._open_segment(path, is_last=path == paths[-1])
            first = segment.first_index
            terms += [(first + place, term) for place, term in found.terms]
            commit_index = max(commit_index, found.commit_index)
            for place in found.configurations:
                index = first + place
                configurations += self.read(index, index, 0)
        if not self._segments:
            return LogContents(0, 0, [], [], 0)
        last_index = self._segments[-1].next_index - 1
        return LogContents(
            self._segments[0].first_index,
            last_index,
            _merge_runs(terms),
            configurations,
            min(commit_index, last_index),
        )

    def _open_segment(
        self, path: Path, *, is_last: bool
    ) -> tuple[_Segment, frames.Scan]:
        descriptor = os.open(path, os.O_RDWR)
        try:
            segment, found = self._read_segment(path, descriptor, is_last=is_last)
        except BaseException:
            os.close(descriptor)
            raise
        self._segments.append(segment)
        return segment, found

    def _read_segment(
        self, path: Path, descriptor: int, *, is_last: bool
    ) -> tuple[_Segment, frames.Scan]:
        size = os.fstat(descriptor).st_size
        content = files.read_all(descriptor, 0, size)
        first_index, salt = _read_head(path, content)
        if self._segments and self._segments[-1].next_index != first_index:
            raise StorageError(
                f"{path}: entries {self._segments[-1].next_index} to "
                f"{first_index - 1} are missing"
            )
        found = frames.scan(content, _HEAD_SIZE, salt)
        segment = _Segment(
            path, descriptor, first_index, salt, found.offsets, found.end, size
        )
        if found.end < size:
            self._repair(segment, content, is_last=is_last)
        return segment, found

    def _repair(self, segment: _Segment, content: bytes, *, is_last: bool) -> None:
        end = segment.end
        if is_last and frames.is_clean(content, end):
            return
        if not is_last or not frames.is_torn(content, end, segment.salt):
            raise StorageError(
                f"{segment.path}: entry {segment.next_index} at offset {end} is corrupt"
            )
        _cut(segment, end)

    # --- reading --------------------------------------------------------------------

    def read(self, first: int, last: int, size_max: int) -> list[Entry]:
        """Return entries; fewer, but at least one, if they exceed a size.

        Raises:
            StorageError: where an entry is not there or not sound.
        """
        with self._lock:
            segment = self._segment_of(first)
            place = first - segment.first_index
            stop = min(last, segment.next_index - 1) - segment.first_index
            begin = segment.offsets[place]
            while stop > place and segment.end_of(stop) - begin > size_max:
                stop = max(place, bisect.bisect(segment.offsets, begin + size_max) - 2)
            content = files.read_all(
                segment.descriptor, begin, segment.end_of(stop) - begin
            )
        return _decode_all(segment, content, begin, first)

    def _segment_of(self, index: int) -> _Segment:
        starts = [segment.first_index for segment in self._segments]
        place = bisect.bisect_right(starts, index) - 1
        if place < 0 or index >= self._segments[place].next_index:
            raise StorageError(f"{self._folder}: entry {index} is not there")
        return self._segments[place]

    # --- writing --------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], commit_index: int) -> None:
        """Append entries and return when they are durable."""
        position = 0
        while position < len(entries):
            segment = self._writable(entries[position].index)
            encoded = frames.encode_batch(
                entries[position:], commit_index, segment.salt
            )
            position += self._write(segment, encoded)
            os.fdatasync(segment.descriptor)

    def _write(self, segment: _Segment, encoded: list[bytes]) -> int:
        """Write frames as far as the segment takes them; return how many."""
        end = segment.end
        offsets: list[int] = []
        for frame in encoded:
            if offsets and end >= self._segment_size:
                break
            offsets.append(end)
            end += len(frame)
        if end > segment.size:
            size = -(-end // self._extent_size) * self._extent_size
            files.write_all(
                segment.descriptor, bytes(size - segment.size), segment.size
            )
            segment.size = size
        written = b"".join(encoded[: len(offsets)])
        files.write_all(segment.descriptor, written, segment.end)
        with self._lock:
            segment.offsets.extend(offsets)
            segment.end = end
        return len(offsets)

    def _writable(self, index: int) -> _Segment:
        if self._segments:
            last = self._segments[-1]
            if last.next_index != index:
                raise StorageError(
                    f"{last.path}: entry {index} does not follow {last.next_index - 1}"
                )
            if last.end < self._segment_size:
                return last
            _cut(last, last.end)
        return self._begin_segment(index)

    def _begin_segment(self, index: int) -> _Segment:
        salt = self._rng.getrandbits(32)
        head = _HEAD.pack(_MAGIC, index, salt)
        head += zlib.crc32(head).to_bytes(4, "little")
        path = self._folder / f"{index:020d}{_SUFFIX}"
        # Never there in part: its name appears when its head is durable.
        files.write_atomically(path, head)
        descriptor = os.open(path, os.O_RDWR)
        segment = _Segment(
            path, descriptor, index, salt, array("Q"), _HEAD_SIZE, _HEAD_SIZE
        )
        with self._lock:
            self._segments.append(segment)
        return segment

    def truncate(self, last_index: int) -> None:
        """Remove the entries above an index, durably."""
        while self._segments and self._segments[-1].first_index > last_index:
            self._drop(len(self._segments) - 1)
        if not self._segments or self._segments[-1].next_index <= last_index + 1:
            return
        segment = self._segments[-1]
        place = last_index + 1 - segment.first_index
        with self._lock:
            segment.end = segment.offsets[place]
            del segment.offsets[place:]
        _cut(segment, segment.end)

    def compact(self, last_index: int) -> None:
        """Drop the segments that hold nothing above an index."""
        while (
            len(self._segments) > 1 and self._segments[0].next_index <= last_index + 1
        ):
            self._drop(0)

    def reset(self) -> None:
        """Drop everything; the next append may have any index."""
        while self._segments:
            self._drop(len(self._segments) - 1)

    def _drop(self, place: int) -> None:
        with self._lock:
            segment = self._segments.pop(place)
            os.close(segment.descriptor)
        segment.path.unlink()
        files.sync_folder(self._folder)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for segment in self._segments:
                os.close(segment.descriptor)
            self._segments = []


def _cut(segment: _Segment, end: int) -> None:
    """Cut a segment's file, durably; what is appended later is zeros first."""
    os.ftruncate(segment.descriptor, end)
    os.fsync(segment.descriptor)
    segment.size = end


def _read_head(path: Path, content: bytes) -> tuple[int, int]:
    head = content[: _HEAD.size]
    crc = zlib.crc32(head).to_bytes(4, "little")
    if len(content) < _HEAD_SIZE or content[_HEAD.size : _HEAD_SIZE] != crc:
        raise StorageError(f"{path}: the head of the segment at offset 0 is corrupt")
    magic, first_index, salt = _HEAD.unpack(head)
    if magic != _MAGIC:
        raise StorageError(f"{path}: this is no log segment of this version")
    return first_index, salt


def _decode_all(
    segment: _Segment, content: bytes, begin: int, first: int
) -> list[Entry]:
    entries, position = frames.decode(content, segment.salt)
    if position < len(content) or not entries:
        raise StorageError(
            f"{segment.path}: entry {first + len(entries)} at offset "
            f"{begin + position} is corrupt"
        )
    if entries[0].index != first:
        raise StorageError(
            f"{segment.path}: entry {entries[0].index} stands in place of {first}"
        )
    return entries


def _merge_runs(terms: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for index, term in terms:
        if not merged or merged[-1][1] != term:
            merged.append((index, term))
    return merged
