"""The file that remembers members across restarts.

Text, a record a line, appended; the same that Serf writes, so that either can go on
where the other stopped.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

import attrs

from consultwist.errors import StorageError
from consultwist.gossip.address import Address, format_address

#: Serf's snapshotCompactionThreshold and snapshotBytesPerNode.
_COMPACT_SIZE: Final = 128 * 1024
_COMPACT_SIZE_PER_MEMBER: Final = 256

#: Serf compacts at 128 KiB or 256 bytes a member; more than this is not its file.
_FILE_SIZE_MAX: Final = 64 * 1024 * 1024


@attrs.define
class Remembered:
    """What a snapshot tells.

    Attributes:
        alive: the addresses of the members that were alive, by name.
        clock: the highest Lamport time of members seen.
        event_clock: the same for user events.
        query_clock: the same for queries.
    """

    alive: dict[str, Address] = attrs.Factory(dict)
    clock: int = 0
    event_clock: int = 0
    query_clock: int = 0

    def replay(self, lines: Iterable[str], *, rejoin_after_leave: bool) -> None:
        """Apply records in order; lines that cannot be read are skipped."""
        for line in lines:
            kind, _, rest = line.rstrip("\n").partition(": ")
            if kind == "alive":
                self._replay_alive(rest)
            elif kind == "not-alive":
                self.alive.pop(rest, None)
            elif kind in ("clock", "event-clock", "query-clock"):
                self._replay_clock(kind, rest)
            elif kind == "leave" and not rejoin_after_leave:
                self.alive.clear()
                self.clock = self.event_clock = self.query_clock = 0

    def _replay_alive(self, text: str) -> None:
        # A name may hold spaces: the address is behind the last one.
        name, _, address = text.rpartition(" ")
        parsed = parse_address(address)
        if name and parsed is not None:
            self.alive[name] = parsed

    def _replay_clock(self, kind: str, text: str) -> None:
        if not text.isascii() or not text.isdigit() or len(text) > 20:
            return
        setattr(self, kind.replace("-", "_"), int(text))

    def lines(self) -> list[str]:
        """Return the fewest records that tell the same."""
        found = [alive_line(name, address) for name, address in self.alive.items()]
        found.append(f"clock: {self.clock}\n")
        found.append(f"event-clock: {self.event_clock}\n")
        found.append(f"query-clock: {self.query_clock}\n")
        return found


def parse_address(text: str) -> Address | None:
    """Return the address in ``ip:port`` or ``[ip]:port``, or None."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or len(port) > 5:
        return None
    return host, int(port)


def alive_line(name: str, address: Address) -> str:
    """Return the record that a member is alive."""
    return f"alive: {name} {format_address(address)}\n"


def not_alive_line(name: str) -> str:
    """Return the record that a member is gone."""
    return f"not-alive: {name}\n"


class SnapshotFile:
    """The file on disk: read once, then appended to and compacted.

    Raises:
        StorageError: where the file cannot be read or written.
    """

    def __init__(self, path: str, *, rejoin_after_leave: bool) -> None:
        self._path = Path(path)
        self._rejoin_after_leave = rejoin_after_leave
        self.remembered = Remembered()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._replay()
            self._file: IO[str] = self._open("a")
            self._size = self._path.stat().st_size
        except OSError as error:
            raise StorageError(f"serf snapshot: {error}") from error

    def _open(self, mode: str, path: Path | None = None) -> IO[str]:
        return (path or self._path).open(
            mode, encoding="utf-8", errors="surrogateescape", newline="\n"
        )

    def _replay(self) -> None:
        if not self._path.exists():
            return
        if self._path.stat().st_size > _FILE_SIZE_MAX:
            raise StorageError(f"serf snapshot: {self._path} is too large")
        with self._open("r") as file:
            self.remembered.replay(file, rejoin_after_leave=self._rejoin_after_leave)

    def append(self, lines: list[str]) -> None:
        """Write records behind the others, and compact a file that has grown."""
        if any("\n" in line[:-1] for line in lines):
            # A name with a line break would forge a record.
            lines = [line for line in lines if "\n" not in line[:-1]]
        text = "".join(lines)
        self.remembered.replay(lines, rejoin_after_leave=self._rejoin_after_leave)
        try:
            self._file.write(text)
            self._file.flush()
            self._size += len(text)
            members = len(self.remembered.alive)
            if self._size > max(_COMPACT_SIZE, _COMPACT_SIZE_PER_MEMBER * members):
                self._compact()
        except OSError as error:
            raise StorageError(f"serf snapshot: {error}") from error

    def _compact(self) -> None:
        compacted = Path(f"{self._path}.compact")
        text = "".join(self.remembered.lines())
        with self._open("w", compacted) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        compacted.replace(self._path)
        self._file = self._open("a")
        self._size = len(text)

    def close(self) -> None:
        """Make sure that everything is on disk, and close the file."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise StorageError(f"serf snapshot: {error}") from error
