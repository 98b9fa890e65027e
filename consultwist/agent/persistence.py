"""The files that remember what was registered over HTTP.

``services/`` and ``checks/`` of the data directory hold a JSON file for each service
and check; names and contents are Consul's, so that an agent may take over the data
directory of a stock one. A file is written aside, flushed and renamed: after a crash
it is whole or not there. Writing happens in a thread, so that the reactor never waits
for the disk.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.errors import ConsultwistError, StorageError
from consultwist.host import Host
from consultwist.raft.storage.files import make_folder, sync_folder, write_new
from consultwist.structs.catalog import CheckType, HealthCheck, NodeService
from consultwist.wire import json, json_decode
from consultwist.wire.struct import Struct

T = TypeVar("T")

#: Files of anybody else, and unfinished ones, are left alone.
_TEMPORARY: Final = ".tmp"

#: Larger files were not written by an agent: a check's output is 4 KiB.
_FILE_SIZE_MAX: Final = 4 * 1024 * 1024


class PersistedService(Struct):
    """What a file in ``services/`` holds."""

    token: str = ""
    service: NodeService | None = None
    source: str = ""


class PersistedCheck(Struct):
    """What a file in ``checks/`` holds."""

    check: HealthCheck | None = None
    chk_type: CheckType | None = None
    token: str = ""
    source: str = ""


class FileWriter:
    """Changes files in a thread, and tells when the changes are on the disk.

    What is asked for in one turn of the reactor, or while the thread is busy, becomes
    one batch: one hand-over to the thread, and one flush of each folder. Changes happen
    in the order in which they were asked for.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._gathered: list[_Change] = []
        self._is_busy = False

    def change(self, path: Path, content: bytes | None) -> Deferred[None]:
        """Write a file, or remove it where there is no content."""
        if not self._gathered and not self._is_busy:
            self._host.reactor.callLater(0, self._begin)
        change = _Change(path, content)
        self._gathered.append(change)
        return change.done

    def _begin(self) -> None:
        batch, self._gathered = self._gathered, []
        self._is_busy = True
        reactor = self._host.reactor
        pool = reactor.getThreadPool()
        written = deferToThreadPool(reactor, pool, _change_all, batch)
        written.addBoth(self._ended, batch)

    def _ended(self, result: Any, batch: "list[_Change]") -> None:
        self._is_busy = False
        if self._gathered:
            self._begin()
        failures = result if isinstance(result, list) else [result] * len(batch)
        for change, failure in zip(batch, failures, strict=True):
            change.done.callback(failure)


@attrs.frozen(eq=False)
class _Change:
    path: Path
    content: bytes | None
    done: "Deferred[Any]" = attrs.field(factory=Deferred)


class Files:
    """The files of one directory, by the id of what they remember.

    Without a directory, as in development mode, nothing is written and nothing found.
    """

    log = Logger()

    def __init__(self, writer: FileWriter, directory: Path | None) -> None:
        self._writer = writer
        self._directory = directory

    def save(self, key: str, record: Struct) -> Deferred[None]:
        """Write a record; fires when it is on the disk."""
        if self._directory is None:
            return succeed(None)
        return self._writer.change(
            self._directory / _file_name(key), json.encode(record)
        )

    def remove(self, key: str) -> Deferred[None]:
        """Remove a record, if there is one; fires when that is on the disk."""
        if self._directory is None:
            return succeed(None)
        path = self._directory / _file_name(key)
        return self._writer.change(path, None)

    def load(self, kind: type[Struct]) -> Iterator[Any]:
        """Yield the records; a file that cannot be read is reported and left there."""
        if self._directory is None or not self._directory.is_dir():
            return
        for path in sorted(self._directory.iterdir()):
            if not path.is_file() or path.suffix == _TEMPORARY:
                continue
            try:
                if path.stat().st_size > _FILE_SIZE_MAX:
                    raise StorageError("the file is too large")
                yield json_decode.decode(kind, path.read_bytes(), strict=False)
            except (OSError, ConsultwistError) as error:
                self.log.error(
                    "failed to read {path}, its definition is not loaded: {error}",
                    path=str(path),
                    error=error,
                )


def _file_name(key: str) -> str:
    # Consul names files by the MD5 of the id, whatever characters the id has.
    return hashlib.md5(key.encode("utf-8", "surrogateescape")).hexdigest()  # noqa: S324


def _change_all(batch: list[_Change]) -> list[Failure | None]:
    """Make changes, in the thread; return for each what went wrong, or None."""
    failures = [_attempt(_change_one, change) for change in batch]
    folders = {change.path.parent for change in batch}
    flushed = {folder: _attempt(_flush, folder) for folder in folders}
    return [
        failure or flushed[change.path.parent]
        for change, failure in zip(batch, failures, strict=True)
    ]


def _flush(folder: Path) -> None:
    # Nothing was ever written where there is no folder, so nothing had to be removed.
    with contextlib.suppress(FileNotFoundError):
        sync_folder(folder)


def _attempt(act: Callable[[T], None], subject: T) -> Failure | None:
    try:
        act(subject)
    except OSError:
        return Failure()
    return None


def _change_one(change: _Change) -> None:
    path = change.path
    if change.content is None:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(path.name + _TEMPORARY)
    try:
        try:
            write_new(temporary, change.content)
        except FileNotFoundError:
            make_folder(path.parent)
            write_new(temporary, change.content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
