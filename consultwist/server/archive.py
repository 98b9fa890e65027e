"""Archives: a snapshot as users keep it, in a file that stock Consul reads and writes.

One gzip member around a tar of three regular files: ``meta.json`` says what the
snapshot stands for, ``state.bin`` is the stream of records, ``SHA256SUMS`` has the sum
of the two others. Both directions work piece by piece, in bounded memory::

    for piece in pack(meta, source.chunks()): ...

    reader = ArchiveReader(state_file)
    for piece in pieces:
        reader.feed(piece)
    meta = reader.finish()

The texts of refusals are those of Consul where it has one.
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import attrs
import msgspec

from consultwist.errors import ConsultwistError
from consultwist.raft.storage.snapshot_files import SnapshotMeta
from consultwist.wire import json

META: Final = "meta.json"
STATE: Final = "state.bin"
SUMS: Final = "SHA256SUMS"

#: What is unpacked at once: about a millisecond's work.
PIECE_BYTES: Final = 64 * 1024

#: A state is held in memory by every server; beyond this size it is an attack.
STATE_MAX_BYTES: Final = 4 * 1024 * 1024 * 1024

#: ``meta.json`` lists a handful of servers, ``SHA256SUMS`` two files.
_SMALL_MAX_BYTES: Final = 1024 * 1024

_BLOCK: Final = tarfile.BLOCKSIZE
_MODE: Final = 0o600
#: Go's tar reader wants the two blocks of zeros, and complains of more.
_END: Final = bytes(2 * _BLOCK)

#: zlib's number for the gzip format with its largest window.
_GZIP_WBITS: Final = 31
#: Fast: the whole state goes through the reactor's thread.
_GZIP_LEVEL: Final = 1

#: How every gzip file of ours and of Go's begins, and the size of its head.
_GZIP_MAGIC: Final = b"\x1f\x8b\x08"
_GZIP_HEAD_BYTES: Final = 10

_SUM_LINE: Final = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


class BadArchive(ConsultwistError):
    """The archive cannot be read, or is not what it says."""


# --- writing -------------------------------------------------------------------------


def pack(meta: SnapshotMeta, chunks: Iterable[bytes], wall: float) -> Iterator[bytes]:
    """Yield the pieces of an archive; some may be empty.

    Args:
        meta: of the snapshot; its size must be that of the chunks.
        chunks: the state.
        wall: seconds since the epoch, the time of the files inside.
    """
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WBITS)
    for part in _tar(meta, chunks, int(wall)):
        yield packer.compress(part)
    yield packer.flush()


def _tar(meta: SnapshotMeta, chunks: Iterable[bytes], mtime: int) -> Iterator[bytes]:
    text = _meta_text(meta)
    yield _member(META, len(text), mtime) + text + _padding(len(text))
    yield _member(STATE, meta.size, mtime)
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size != meta.size:
        raise BadArchive(f"the snapshot has {size} bytes, and should have {meta.size}")
    yield _padding(size)
    meta_sum = hashlib.sha256(text).hexdigest()
    sums = f"{meta_sum}  {META}\n{digest.hexdigest()}  {STATE}\n"
    yield _member(SUMS, len(sums), mtime) + sums.encode() + _padding(len(sums))
    yield _END


def _meta_text(meta: SnapshotMeta) -> bytes:
    plain = meta.to_plain()
    # Ours alone; the archive has its own sums.
    plain.pop("Checksum")
    return json.encode_plain(plain) + b"\n"


def _member(name: str, size: int, mtime: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, _MODE, mtime
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


# --- reading -------------------------------------------------------------------------


@attrs.define
class _File:
    """A file of the archive that is being read."""

    name: str
    left: int
    padding: int
    digest: Any = attrs.field(factory=hashlib.sha256)
    content: bytearray = attrs.field(factory=bytearray)


class ArchiveReader:
    """Reads an archive as it comes in, and checks it.

    Args:
        state_file: where the state goes; it may be used after `finish`.
        state_max: the largest state that is taken.
    """

    def __init__(self, state_file: BinaryIO, state_max: int = STATE_MAX_BYTES) -> None:
        self._state_file = state_file
        self._state_max = state_max
        self._unpacker = zlib.decompressobj(_GZIP_WBITS)
        self._head: bytearray | None = bytearray()
        self._buffer = bytearray()
        self._file: _File | None = None
        self._sums: dict[str, str] = {}
        self._contents: dict[str, bytes] = {}
        self._state_size = 0
        self._is_at_end = False

    def feed(self, data: bytes) -> Iterator[None]:
        """Take a piece of the archive; yields after each bit of work.

        Raises:
            BadArchive: where it cannot be part of one.
        """
        if self._head is not None:
            self._head += data
            if len(self._head) < _GZIP_HEAD_BYTES:
                return
            data, self._head = bytes(self._head), None
            if not data.startswith(_GZIP_MAGIC):
                raise BadArchive("failed to decompress snapshot: gzip: invalid header")
        while data:
            if self._unpacker.eof:
                raise BadArchive("extra data after the snapshot")
            try:
                plain = self._unpacker.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise BadArchive(f"failed to read snapshot file: {error}") from error
            data = self._unpacker.unconsumed_tail or self._unpacker.unused_data
            self._buffer += plain
            while self._step():
                pass
            yield

    def finish(self) -> SnapshotMeta:
        """Return the metadata of the archive, which is complete.

        Raises:
            BadArchive: where it is cut off, lacks a file, or a sum is wrong.
        """
        if self._head is not None:
            problem = "unexpected EOF" if self._head else "EOF"
            raise BadArchive(f"failed to decompress snapshot: {problem}")
        if not self._unpacker.eof or self._file is not None or self._buffer:
            raise BadArchive("failed to read snapshot file: unexpected EOF")
        self._check_sums()
        meta = _read_meta(self._contents[META])
        if meta.size != self._state_size:
            raise BadArchive(
                f"failed to read snapshot: {STATE} has {self._state_size} bytes, "
                f"and should have {meta.size}"
            )
        return meta

    def _step(self) -> bool:
        """Take what is next out of the buffer; tell whether there was enough."""
        if self._file is not None:
            return self._read_content(self._file)
        if len(self._buffer) < _BLOCK:
            return False
        block = bytes(self._buffer[:_BLOCK])
        del self._buffer[:_BLOCK]
        if not block.strip(b"\0"):
            self._is_at_end = True
        elif self._is_at_end:
            raise BadArchive("extra data after the snapshot")
        else:
            self._begin_file(block)
        return True

    def _begin_file(self, block: bytes) -> None:
        try:
            entry = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise BadArchive(f"failed to read snapshot: {error}") from error
        name = entry.name
        if name not in (META, STATE, SUMS) or not entry.isreg():
            raise BadArchive(f'unexpected file "{name}" in snapshot')
        if name in self._sums:
            raise BadArchive(f'duplicate file "{name}" in snapshot')
        limit = self._state_max if name == STATE else _SMALL_MAX_BYTES
        if not 0 <= entry.size <= limit:
            raise BadArchive(f'file "{name}" in snapshot is too large')
        self._file = _File(name, entry.size, -entry.size % _BLOCK)
        if name == STATE:
            self._state_size = entry.size

    def _read_content(self, file: _File) -> bool:
        if file.left:
            part = bytes(self._buffer[: file.left])
            if not part:
                return False
            del self._buffer[: len(part)]
            file.left -= len(part)
            file.digest.update(part)
            if file.name == STATE:
                self._state_file.write(part)
            else:
                file.content += part
            return True
        if len(self._buffer) < file.padding:
            return False
        del self._buffer[: file.padding]
        self._sums[file.name] = file.digest.hexdigest()
        self._contents[file.name] = bytes(file.content)
        self._file = None
        return True

    def _check_sums(self) -> None:
        if SUMS not in self._contents:
            raise BadArchive(f'missing file "{SUMS}" in snapshot')
        stated = _read_sums(self._contents[SUMS])
        for name in (META, STATE):
            if name not in self._contents:
                raise BadArchive(f'missing file "{name}" in snapshot')
            if name not in stated:
                raise BadArchive(f'missing hash for "{name}"')
            if stated[name] != self._sums[name]:
                raise BadArchive(f'hash check failed for "{name}"')


def _read_sums(content: bytes) -> dict[str, str]:
    sums: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        found = _SUM_LINE.fullmatch(line)
        if found is None:
            raise BadArchive(f"failed to read snapshot: malformed {SUMS}")
        sums[found.group(2)] = found.group(1).lower()
    return sums


class _Meta(msgspec.Struct, rename="pascal"):
    """The part of ``meta.json`` that a restore depends on."""

    version: int = 0
    index: int = 0
    term: int = 0
    size: int = 0


def _read_meta(content: bytes) -> SnapshotMeta:
    try:
        found = msgspec.json.decode(content, type=_Meta)
    except msgspec.DecodeError as error:
        raise BadArchive(f"failed to decode snapshot metadata: {error}") from error
    if min(found.index, found.term, found.size) < 0:
        raise BadArchive("failed to decode snapshot metadata: a number is negative")
    return SnapshotMeta(
        version=found.version, index=found.index, term=found.term, size=found.size
    )
