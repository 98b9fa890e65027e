"""The storage of a server with a data directory."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from consultwist.raft.actions import (
    CompactLog,
    PersistEntries,
    PersistState,
    ResetLog,
    TruncateLog,
    Write,
)
from consultwist.raft.interfaces import IRaftStorage
from consultwist.raft.log import SnapshotPoint
from consultwist.raft.messages import Entry
from consultwist.raft.state import Recovered
from consultwist.raft.storage import files
from consultwist.raft.storage.segment_log import LogContents, SegmentLog
from consultwist.raft.storage.snapshot_files import (
    FileSink,
    FileSource,
    SnapshotFiles,
    SnapshotMeta,
)
from consultwist.raft.storage.stable import HardState, StableStore
from consultwist.raft.storage.writer import BatchWriter


@implementer(IRaftStorage)
class DiskStorage:
    """Term, vote, log and snapshots under one folder.

    ::

        <folder>/state          term and vote
        <folder>/log/           segments
        <folder>/snapshots/     a folder for each
    """

    def __init__(self, reactor: Any, folder: Path, rng: Random) -> None:
        """Set up; nothing is read or written before `open`.

        Args:
            reactor: provides IReactorFromThreads and IReactorThreads.
            folder: ``<data directory>/raft``.
            rng: for the salt of segments.
        """
        self.folder = folder
        self._reactor = reactor
        self._stable = StableStore(folder / "state")
        self._log = SegmentLog(folder / "log", rng)
        self._snapshots = SnapshotFiles(folder / "snapshots", self._in_thread)
        self._writer: BatchWriter[Write] | None = None

    def _in_thread(self, function: Callable[[], Any]) -> "Deferred[Any]":
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function)

    @property
    def is_busy(self) -> bool:
        """Whether a write is under way."""
        return self._writer is not None and self._writer.is_busy

    def open(self) -> Recovered:
        """Return what the disk holds.

        Raises:
            StorageError: where it holds what cannot be trusted.
        """
        files.make_folder(self.folder)
        state = self._stable.load()
        contents = self._log.open()
        meta = self._snapshots.open(contents.first_index)
        if meta is None:
            meta = SnapshotMeta()
        if not _continues(contents, meta):
            # The crash came between a received snapshot and the end of the old log.
            self._log.reset()
            contents = LogContents(0, 0, [], [], 0)
        next_index = meta.index + 1
        return Recovered(
            term=max(state.term, meta.term),
            vote=state.vote if state.term >= meta.term else "",
            first_index=contents.first_index or next_index,
            last_index=contents.last_index or meta.index,
            terms=contents.terms,
            configurations=contents.configurations,
            commit_index=contents.commit_index,
            snapshot=SnapshotPoint(meta.index, meta.term),
            snapshot_configuration=meta.configuration,
            snapshot_configuration_index=meta.configuration_index,
        )

    def start(
        self,
        on_durable: Callable[[int], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        """Begin to take writes."""
        self._writer = BatchWriter(
            self._reactor,
            self._write_batch,
            lambda batch: on_durable(batch[-1].sequence),
            on_failed,
        )
        self._writer.start()

    def write(self, write: Write) -> None:
        """Add a write to the batch that is being gathered."""
        assert self._writer is not None
        self._writer.add(write)

    def flush(self) -> None:
        """Let the gathered batch go to the disk as soon as that is free."""
        assert self._writer is not None
        self._writer.flush()

    def _write_batch(self, batch: Sequence[Write]) -> None:
        """Write in order, in the thread; neighbouring appends are one."""
        entries: list[Entry] = []
        commit_index = 0
        for write, after in itertools.zip_longest(batch, batch[1:]):
            if isinstance(write, PersistEntries):
                entries += write.entries
                commit_index = write.commit_index
                continue
            if entries:
                self._log.append(entries, commit_index)
                entries = []
            # A new term and the vote in it come one after the other.
            is_outdated = isinstance(after, PersistState)
            if not (is_outdated and isinstance(write, PersistState)):
                self._write_other(write)
        if entries:
            self._log.append(entries, commit_index)

    def _write_other(self, write: Write) -> None:
        if isinstance(write, PersistState):
            self._stable.save(HardState(term=write.term, vote=write.vote))
        elif isinstance(write, TruncateLog):
            self._log.truncate(write.last_index)
        elif isinstance(write, CompactLog):
            self._log.compact(write.last_index)
        else:
            assert isinstance(write, ResetLog)
            self._log.reset()

    def read(self, first: int, last: int, size_max: int) -> Sequence[Entry]:
        """Return durable entries; fewer, but at least one, if they are too large."""
        return self._log.read(first, last, size_max)

    def create_snapshot(self, meta: SnapshotMeta) -> FileSink:
        """Begin to write a snapshot."""
        return self._snapshots.create(meta)

    def open_snapshot(self, index: int, term: int) -> FileSource:
        """Open the newest snapshot that reaches at least so far."""
        return self._snapshots.source(index, term)

    def drop_snapshot(self, meta: SnapshotMeta) -> None:
        """Remove a snapshot that turned out to be of no use."""
        self._snapshots.drop(meta)

    def close(self) -> "Deferred[None]":
        """Write what was gathered, then let go of the disk."""
        closed: Deferred[None] = Deferred()
        if self._writer is None:
            closed.callback(None)
        else:
            closed = self._writer.close()
        return closed.addCallback(lambda _: self._log.close())


def _continues(contents: LogContents, meta: SnapshotMeta) -> bool:
    """Tell whether the log goes on from the snapshot, or overlaps it in agreement."""
    if not contents.last_index:
        return True
    if contents.last_index < meta.index:
        return False
    if contents.first_index > meta.index:
        return True
    term = 0
    for start, run_term in contents.terms:
        if start <= meta.index:
            term = run_term
    return term == meta.term
