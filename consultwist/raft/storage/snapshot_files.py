"""Snapshots on disk: a folder for each, with the state and its metadata.

A snapshot is written under a temporary name and appears, whole and durable, by a
rename. The newest two are kept: the older one for a transfer that is under way, and
in case the newer is found damaged while the log still reaches back so far.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

import attrs
import msgspec
from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.errors import StorageError
from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.interfaces import ISnapshotSink, ISnapshotSource
from consultwist.raft.settings import SNAPSHOT_VERSION
from consultwist.raft.storage import files
from consultwist.wire import json
from consultwist.wire.struct import Struct

#: How many snapshots are kept.
KEPT: Final = 2

#: Snapshots are read in pieces of this size.
CHUNK_SIZE: Final = 64 * 1024

_STATE: Final = "state.bin"
_META: Final = "meta.json"


class SnapshotMeta(Struct):
    """What a snapshot stands for; the fields are those of Consul's ``meta.json``.

    ``checksum`` is ours: the SHA-256 of the state, in hexadecimal digits.
    """

    version: int = SNAPSHOT_VERSION
    id: str = ""
    index: int = 0
    term: int = 0
    peers: bytes = b""
    configuration: Configuration = Configuration()
    configuration_index: int = 0
    size: int = 0
    checksum: str = ""

    @classmethod
    def of(
        cls,
        index: int,
        term: int,
        configuration: Configuration,
        configuration_index: int,
        wall: float,
    ) -> Self:
        """Return the metadata of a snapshot that is begun now; its size is not known.

        Args:
            index: of the last entry in it.
            term: of that entry.
            configuration: in force at that entry.
            configuration_index: the index of the configuration's entry.
            wall: seconds since the epoch, which tell snapshots of one index apart.
        """
        return cls(
            id=f"{term}-{index}-{int(wall * 1000)}",
            index=index,
            term=term,
            peers=configuration.pack_peers(),
            configuration=configuration,
            configuration_index=configuration_index,
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Return the metadata that a ``meta.json`` holds.

        Raises:
            ValueError: where it is not sound.
        """
        plain: Any = msgspec.json.decode(content)
        servers = [
            Server(id=s["ID"], address=s["Address"], suffrage=s["Suffrage"])
            for s in plain["Configuration"]["Servers"]
        ]
        configuration = Configuration(servers=servers)
        return cls(
            version=plain["Version"],
            id=plain["ID"],
            index=plain["Index"],
            term=plain["Term"],
            peers=configuration.pack_peers(),
            configuration=configuration,
            configuration_index=plain["ConfigurationIndex"],
            size=plain["Size"],
            checksum=plain["Checksum"],
        )


#: Runs a blocking function elsewhere; the Deferred fires with its result.
RunInThread = Callable[[Callable[[], SnapshotMeta]], "Deferred[SnapshotMeta]"]


@implementer(ISnapshotSink)
class FileSink:
    """A snapshot that is being written into a folder."""

    def __init__(self, folder: Path, meta: SnapshotMeta, run: RunInThread) -> None:
        self._folder = folder
        self._meta = meta
        self._run = run
        self._size = 0
        self._digest = hashlib.sha256()
        self._temporary = folder / f"{meta.id}.tmp"
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(mode=0o700)
        self._descriptor = os.open(
            self._temporary / _STATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )

    def write(self, data: bytes) -> None:
        """Append a chunk."""
        files.write_all(self._descriptor, data, self._size)
        self._size += len(data)
        self._digest.update(data)

    def finish(self) -> "Deferred[SnapshotMeta]":
        """Make the snapshot durable; fires with its metadata, size included."""
        return self._run(self._finish)

    def _finish(self) -> SnapshotMeta:
        meta = msgspec.structs.replace(
            self._meta, size=self._size, checksum=self._digest.hexdigest()
        )
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)
        files.write_new(self._temporary / _META, json.encode(meta) + b"\n")
        files.sync_folder(self._temporary)
        final = self._folder / meta.id
        shutil.rmtree(final, ignore_errors=True)
        self._temporary.rename(final)
        files.sync_folder(self._folder)
        for _, old in _find(self._folder)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        return meta

    def chunks(self) -> Iterator[bytes]:
        """Yield what was written so far."""
        descriptor = os.open(self._temporary / _STATE, os.O_RDONLY)
        try:
            for offset in range(0, self._size, CHUNK_SIZE):
                yield files.read_all(descriptor, offset, CHUNK_SIZE)
        finally:
            os.close(descriptor)

    def abort(self) -> None:
        """Throw away what was written."""
        os.close(self._descriptor)
        shutil.rmtree(self._temporary, ignore_errors=True)


@implementer(ISnapshotSource)
class FileSource:
    """A snapshot that is being read; it stays readable when it is pruned."""

    def __init__(self, path: Path, meta: SnapshotMeta) -> None:
        self.meta = meta
        self._path = path
        self._descriptor: int | None = os.open(path / _STATE, os.O_RDONLY)

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes; raises StorageError at the end if they are not sound."""
        digest = hashlib.sha256()
        offset = 0
        while self._descriptor is not None:
            chunk = files.read_all(self._descriptor, offset, CHUNK_SIZE)
            if not chunk:
                break
            digest.update(chunk)
            offset += len(chunk)
            yield chunk
        if offset != self.meta.size or digest.hexdigest() != self.meta.checksum:
            raise StorageError(f"{self._path / _STATE}: the snapshot is damaged")

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@attrs.frozen
class SnapshotFiles:
    """The snapshots in a folder."""

    folder: Path
    run: RunInThread

    def open(self, first_index: int) -> SnapshotMeta | None:
        """Return the newest sound snapshot, and clear away what was never finished.

        Args:
            first_index: where the log begins; a snapshot must reach so far, or 0.

        Raises:
            StorageError: where snapshots are there, but none that can be used.
        """
        files.make_folder(self.folder)
        for leftover in self.folder.glob("*.tmp"):
            shutil.rmtree(leftover)
        damaged = ""
        for meta, path in _find(self.folder):
            error = self._damage(path, meta)
            if not error and (not damaged or first_index <= meta.index + 1):
                return meta
            damaged = damaged or error or f"{path}: the log begins at {first_index}"
        if damaged:
            raise StorageError(damaged)
        if first_index > 1:
            raise StorageError(
                f"{self.folder}: the log begins at entry {first_index}, "
                "and the snapshot that must be before it is not there"
            )
        return None

    def _damage(self, path: Path, meta: SnapshotMeta) -> str:
        try:
            source = FileSource(path, meta)
        except OSError as error:
            return str(error)
        try:
            for _ in source.chunks():
                pass
        except StorageError as error:
            return str(error)
        finally:
            source.close()
        return ""

    def create(self, meta: SnapshotMeta) -> FileSink:
        """Begin to write a snapshot."""
        return FileSink(self.folder, meta, self.run)

    def drop(self, meta: SnapshotMeta) -> None:
        """Remove a snapshot that turned out to be of no use."""
        shutil.rmtree(self.folder / meta.id, ignore_errors=True)
        files.sync_folder(self.folder)

    def source(self, index: int, term: int) -> FileSource:
        """Open the newest snapshot that reaches at least so far.

        Raises:
            StorageError: where there is none.
        """
        for meta, path in _find(self.folder)[:1]:
            if (meta.term, meta.index) >= (term, index):
                return FileSource(path, meta)
        raise StorageError(f"{self.folder}: no snapshot of entry {index}")


def _find(folder: Path) -> list[tuple[SnapshotMeta, Path]]:
    """Return the snapshots in a folder, the newest first."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".tmp" or not path.is_dir():
            continue
        try:
            meta = SnapshotMeta.parse((path / _META).read_bytes())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path / _META}: {error}") from error
        found.append((meta, path))
    found.sort(key=lambda item: (item[0].term, item[0].index, item[0].id), reverse=True)
    return found
