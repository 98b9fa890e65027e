"""The files that remember what was registered over HTTP.

``services/`` and ``checks/`` of the data directory hold a JSON file for each service
and check; names and contents are Consul's, so that an agent may take over the data
directory of a stock one. A file is written aside, flushed and renamed: after a crash
it is whole or not there. Writing happens in a thread, so that the reactor never waits
for the disk.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from consultwist.errors import ConsultwistError, StorageError
from consultwist.host import Host
from consultwist.structs.catalog import CheckType, HealthCheck, NodeService
from consultwist.wire import json, json_decode
from consultwist.wire.struct import Struct

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


class Files:
    """The files of one directory, by the id of what they remember.

    Without a directory, as in development mode, nothing is written and nothing found.
    """

    log = Logger()

    def __init__(self, host: Host, directory: Path | None) -> None:
        self._host = host
        self._directory = directory
        # One writer at a time keeps two writes of the same id in order.
        self._lock = DeferredLock()

    def save(self, key: str, record: Struct) -> Deferred[None]:
        """Write a record; fires when it is on the disk."""
        if self._directory is None:
            return succeed(None)
        path = self._directory / _file_name(key)
        data = json.encode(record)
        return self._in_thread(lambda: _write(path, data))

    def remove(self, key: str) -> Deferred[None]:
        """Remove a record, if there is one."""
        if self._directory is None:
            return succeed(None)
        path = self._directory / _file_name(key)
        return self._in_thread(lambda: path.unlink(missing_ok=True))

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

    def _in_thread(self, write: Callable[[], None]) -> Deferred[None]:
        reactor = self._host.reactor
        pool = reactor.getThreadPool()
        return cast(
            Deferred[None],
            self._lock.run(deferToThreadPool, reactor, pool, write),
        )


def _file_name(key: str) -> str:
    # Consul names files by the MD5 of the id, whatever characters the id has.
    return hashlib.md5(key.encode("utf-8", "surrogateescape")).hexdigest()  # noqa: S324


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + _TEMPORARY)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
