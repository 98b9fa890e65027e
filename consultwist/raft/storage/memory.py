"""Storage that forgets: for development mode, and for tests of crashes.

A `MemoryDisk` is what survives the server; a `MemoryStorage` is one life of a server
upon it. Writes reach the disk only when they are reported durable, so that a server
that is dropped before loses them, as it would by a crash.
"""

from collections.abc import Callable, Iterator, Sequence

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from consultwist.errors import StorageError
from consultwist.raft.actions import (
    CompactLog,
    PersistEntries,
    PersistState,
    ResetLog,
    TruncateLog,
    Write,
)
from consultwist.raft.interfaces import IRaftStorage, ISnapshotSink, ISnapshotSource
from consultwist.raft.log import SnapshotPoint
from consultwist.raft.messages import Entry, LogType
from consultwist.raft.state import Recovered
from consultwist.raft.storage.snapshot_files import SnapshotMeta


@attrs.define
class MemoryDisk:
    """What is durable: term, vote, entries by index, the newest snapshot."""

    term: int = 0
    vote: str = ""
    entries: dict[int, Entry] = attrs.field(factory=dict)
    commit_index: int = 0
    snapshot: tuple[SnapshotMeta, bytes] | None = None

    def recovered(self) -> Recovered:
        """Return what a server finds here when it starts."""
        meta = self.snapshot[0] if self.snapshot else SnapshotMeta()
        last = max(self.entries, default=0)
        at_snapshot = self.entries.get(meta.index)
        if last < meta.index or (at_snapshot and at_snapshot.term != meta.term):
            self.entries.clear()
        first = min(self.entries, default=meta.index + 1)
        ordered = [self.entries[index] for index in sorted(self.entries)]
        last = ordered[-1].index if ordered else meta.index
        return Recovered(
            term=max(self.term, meta.term),
            vote=self.vote if self.term >= meta.term else "",
            first_index=first,
            last_index=last,
            terms=_runs(ordered),
            configurations=[e for e in ordered if e.type == LogType.CONFIGURATION],
            commit_index=min(self.commit_index, last),
            snapshot=SnapshotPoint(meta.index, meta.term),
            snapshot_configuration=meta.configuration,
            snapshot_configuration_index=meta.configuration_index,
        )

    def write(self, write: Write) -> None:
        """Do what a write asks for."""
        if isinstance(write, PersistState):
            self.term, self.vote = write.term, write.vote
        elif isinstance(write, PersistEntries):
            self.entries.update((entry.index, entry) for entry in write.entries)
            self.commit_index = write.commit_index
        elif isinstance(write, TruncateLog):
            self._keep(lambda index: index <= write.last_index)
        elif isinstance(write, CompactLog):
            self._keep(lambda index: index > write.last_index)
        else:
            assert isinstance(write, ResetLog)
            self.entries.clear()

    def _keep(self, is_kept: Callable[[int], bool]) -> None:
        self.entries = {i: entry for i, entry in self.entries.items() if is_kept(i)}


def _runs(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for entry in entries:
        if not runs or runs[-1][1] != entry.term:
            runs.append((entry.index, entry.term))
    return runs


@implementer(IRaftStorage)
class MemoryStorage:
    """One server's use of a memory disk; each batch takes a delay to be durable."""

    def __init__(
        self,
        reactor: IReactorTime,
        disk: MemoryDisk | None = None,
        delay: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.disk = disk or MemoryDisk()
        self._reactor = reactor
        self._delay = delay
        self._gathered: list[Write] = []
        self._under_way: list[Write] = []
        self._pending: IDelayedCall | None = None
        self._on_durable: Callable[[int], None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a write is under way."""
        return self._pending is not None

    @property
    def under_way(self) -> int:
        """How many writes are in the batch under way."""
        return len(self._under_way)

    def open(self) -> Recovered:
        """Return what the disk holds."""
        return self.disk.recovered()

    def start(
        self,
        on_durable: Callable[[int], None],
        on_failed: Callable[[BaseException], None],  # noqa: ARG002 - memory never fails
    ) -> None:
        """Begin to take writes."""
        self._on_durable = on_durable

    def write(self, write: Write) -> None:
        """Add a write to the batch that is being gathered."""
        self._gathered.append(write)

    def flush(self) -> None:
        """Let the gathered batch go to the disk as soon as that is free."""
        if self._gathered and self._pending is None:
            self._under_way, self._gathered = self._gathered, []
            self._pending = self._reactor.callLater(self._delay(), self._written)

    def _written(self) -> None:
        self._pending = None
        batch, self._under_way = self._under_way, []
        for write in batch:
            self.disk.write(write)
        assert self._on_durable is not None
        self._on_durable(batch[-1].sequence)
        self.flush()

    def read(self, first: int, last: int, size_max: int) -> Sequence[Entry]:
        """Return durable entries; fewer, but at least one, if they are too large."""
        entries: list[Entry] = []
        size = 0
        for index in range(first, last + 1):
            entry = self.disk.entries.get(index)
            if entry is None:
                raise StorageError(f"raft: entry {index} is not there")
            size += len(entry.encoded)
            if entries and size > size_max:
                break
            entries.append(entry)
        return entries

    def create_snapshot(self, meta: SnapshotMeta) -> "MemorySink":
        """Begin to write a snapshot."""
        return MemorySink(self.disk, meta)

    def open_snapshot(self, index: int, term: int) -> "MemorySource":
        """Open the newest snapshot that reaches at least so far."""
        if self.disk.snapshot is not None:
            meta, content = self.disk.snapshot
            if (meta.term, meta.index) >= (term, index):
                return MemorySource(meta, content)
        raise StorageError(f"raft: no snapshot of entry {index}")

    def drop_snapshot(self, meta: SnapshotMeta) -> None:
        """Remove a snapshot that turned out to be of no use."""
        if self.disk.snapshot is not None and self.disk.snapshot[0] == meta:
            self.disk.snapshot = None

    def close(self) -> "Deferred[None]":
        """Write what was gathered, then let go of the disk."""
        for write in self._under_way + self._gathered:
            self.disk.write(write)
        self.crash()
        return succeed(None)

    def crash(self, kept: int = 0) -> None:
        """Lose what is not durable, but for the first writes of the batch under way."""
        for write in self._under_way[:kept]:
            self.disk.write(write)
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
        self._pending = None
        self._under_way, self._gathered = [], []


@implementer(ISnapshotSink)
class MemorySink:
    """A snapshot that is being gathered in memory."""

    def __init__(self, disk: MemoryDisk, meta: SnapshotMeta) -> None:
        self._disk = disk
        self._meta = meta
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Append a chunk."""
        self._chunks.append(data)

    def finish(self) -> "Deferred[SnapshotMeta]":
        """Keep the snapshot."""
        content = b"".join(self._chunks)
        meta = msgspec.structs.replace(self._meta, size=len(content))
        self._disk.snapshot = (meta, content)
        return succeed(meta)

    def chunks(self) -> Iterator[bytes]:
        """Yield what was written so far."""
        yield from self._chunks

    def abort(self) -> None:
        """Throw away what was written."""
        self._chunks = []


@implementer(ISnapshotSource)
class MemorySource:
    """A snapshot that is being read from memory."""

    def __init__(self, meta: SnapshotMeta, content: bytes) -> None:
        self.meta = meta
        self._content = content

    def chunks(self) -> Iterator[bytes]:
        """Yield its bytes."""
        for start in range(0, len(self._content), 64 * 1024):
            yield self._content[start : start + 64 * 1024]

    def close(self) -> None:
        """Let go of it."""
