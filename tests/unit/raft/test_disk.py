"""Storage with a data directory, and the thread that writes."""

import queue
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface import implementer
from zope.interface.verify import verifyObject

from consultwist.errors import StorageError
from consultwist.raft.actions import (
    CompactLog,
    PersistEntries,
    PersistState,
    ResetLog,
    TruncateLog,
    Write,
)
from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.interfaces import (
    IRaftStorage,
    ISnapshotSink,
    ISnapshotSource,
)
from consultwist.raft.log import SnapshotPoint
from consultwist.raft.messages import Entry, LogType
from consultwist.raft.storage.disk import DiskStorage
from consultwist.raft.storage.snapshot_files import SnapshotMeta
from consultwist.raft.storage.writer import BatchWriter
from consultwist.testing.deferred import result_of
from consultwist.testing.host import InlineThreadPool

#: How long a thread may take, on a machine that is busy with other things.
PATIENCE_S = 20.0


@implementer(IReactorFromThreads)
class ThreadReactor:
    """Runs what threads hand over, when the test says so."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def callFromThread(
        self,
        callable: Callable[..., Any],  # noqa: A002 - Twisted's name
        *args: Any,
        **kw: Any,
    ) -> None:
        self._calls.put(lambda: callable(*args, **kw))

    def getThreadPool(self) -> InlineThreadPool:
        return InlineThreadPool()

    def run_one(self) -> None:
        self._calls.get(timeout=PATIENCE_S)()


class Disk:
    """A storage on a folder, with what it reported."""

    def __init__(self, folder: Path) -> None:
        self.reactor = ThreadReactor()
        self.storage = DiskStorage(self.reactor, folder / "raft", random.Random(1))
        self.recovered = self.storage.open()
        self.durable: list[int] = []
        self.errors: list[BaseException] = []
        self.storage.start(self.durable.append, self.errors.append)

    def write(self, *writes: Write) -> None:
        for write in writes:
            self.storage.write(write)
        self.storage.flush()
        self.reactor.run_one()

    def close(self) -> None:
        closed = self.storage.close()
        while not closed.called:
            self.reactor.run_one()
        result_of(closed)


CONFIGURATION = Configuration.of([Server(id="a", address="1:1")])
FIRST = Entry.make(1, 1, LogType.CONFIGURATION, CONFIGURATION.pack())


def commands(first: int, count: int, term: int = 1) -> list[Entry]:
    return [Entry.make(first + i, term, 0, b"x") for i in range(count)]


def snapshot(disk: Disk, index: int, term: int) -> SnapshotMeta:
    meta = SnapshotMeta.of(index, term, CONFIGURATION, 1, float(index))
    sink = disk.storage.create_snapshot(meta)
    verifyObject(ISnapshotSink, sink)
    sink.write(b"state")
    done = sink.finish()
    disk.reactor.run_one()
    return result_of(done)


def test_an_empty_folder_is_a_new_server(tmp_path: Path) -> None:
    """Term 0, no entries."""
    disk = Disk(tmp_path)
    verifyObject(IRaftStorage, disk.storage)
    assert (disk.recovered.term, disk.recovered.last_index) == (0, 0)
    disk.close()


def test_a_batch_is_reported_once_with_its_last_number(tmp_path: Path) -> None:
    """Term, vote, entries, truncation: written in order."""
    disk = Disk(tmp_path)
    disk.write(
        PersistState(1, 3, ""),
        PersistState(2, 3, "1:1"),
        PersistEntries(3, [FIRST, *commands(2, 4)], 0),
        TruncateLog(4, 3),
        PersistEntries(5, commands(4, 1, term=3), 3),
        PersistEntries(6, commands(5, 1, term=3), 3),
    )
    assert disk.durable == [6]
    assert disk.storage.read(3, 4, 1 << 20) == commands(3, 1) + commands(4, 1, term=3)
    disk.close()
    recovered = Disk(tmp_path).recovered
    assert (recovered.term, recovered.vote) == (3, "1:1")
    assert (recovered.first_index, recovered.last_index) == (1, 5)
    assert recovered.terms == [(1, 1), (4, 3)]
    assert recovered.configurations == [FIRST]
    assert recovered.commit_index == 3


def test_what_comes_during_a_write_is_the_next_batch(tmp_path: Path) -> None:
    """One hand-over for all of it."""
    disk = Disk(tmp_path)
    disk.storage.write(PersistState(1, 1, ""))
    disk.storage.flush()
    was_busy = disk.storage.is_busy
    for number in range(2, 10):
        disk.storage.write(PersistState(number, number, ""))
        disk.storage.flush()
    disk.reactor.run_one()
    disk.reactor.run_one()
    assert disk.durable == [1, 9]
    assert (was_busy, disk.storage.is_busy) == (True, False)
    disk.close()


def test_closing_writes_what_was_gathered(tmp_path: Path) -> None:
    """Then the thread ends."""
    disk = Disk(tmp_path)
    disk.storage.write(PersistState(1, 7, ""))
    disk.close()
    assert Disk(tmp_path).recovered.term == 7


def test_a_write_that_fails_is_reported_and_nothing_follows(tmp_path: Path) -> None:
    """A gap in the log would be worse than an end."""
    disk = Disk(tmp_path)
    disk.write(PersistEntries(1, commands(5, 1), 0))
    disk.write(PersistEntries(2, commands(9, 1), 0))
    (error,) = disk.errors
    assert isinstance(error, StorageError)
    disk.storage.write(PersistState(3, 9, ""))
    disk.close()
    assert disk.durable == [1]


def test_a_snapshot_carries_the_log_on(tmp_path: Path) -> None:
    """Compaction, and the configuration that is in no entry any more."""
    disk = Disk(tmp_path)
    disk.write(PersistEntries(1, [FIRST, *commands(2, 9)], 5))
    meta = snapshot(disk, 6, 1)
    source = disk.storage.open_snapshot(6, 1)
    verifyObject(ISnapshotSource, source)
    assert b"".join(source.chunks()) == b"state"
    source.close()
    disk.write(CompactLog(2, 4))
    disk.close()
    recovered = Disk(tmp_path).recovered
    assert recovered.snapshot == SnapshotPoint(6, 1)
    assert recovered.snapshot_configuration == CONFIGURATION
    assert recovered.last_index == 10
    assert meta.size == 5


@pytest.mark.parametrize("index", [20, 5], ids=["beyond the log", "of another term"])
def test_a_received_snapshot_replaces_a_log_it_does_not_continue(
    tmp_path: Path, index: int
) -> None:
    """Also where the crash came before the log was reset."""
    disk = Disk(tmp_path)
    disk.write(PersistEntries(1, [FIRST, *commands(2, 9)], 0))
    snapshot(disk, index, 2)
    disk.close()
    disk = Disk(tmp_path)
    assert disk.recovered.last_index == index
    assert disk.recovered.first_index == index + 1
    assert disk.recovered.term == 2
    disk.write(ResetLog(1, index + 1), PersistEntries(2, commands(index + 1, 1, 2), 0))
    disk.close()
    assert Disk(tmp_path).recovered.last_index == index + 1


def test_the_writer_hands_batches_over_in_order() -> None:
    """Whatever is added while one is under way."""
    reactor = ThreadReactor()
    seen: list[list[int]] = []
    writer: BatchWriter[int] = BatchWriter(
        reactor,
        lambda batch: seen.append(list(batch)),
        lambda batch: None,
        lambda error: None,
    )
    writer.start()
    for number in range(50):
        writer.add(number)
        writer.flush()
        if number % 7 == 0:
            reactor.run_one()
    closed = writer.close()
    assert writer.close() is closed
    while not closed.called:
        reactor.run_one()
    assert [number for batch in seen for number in batch] == list(range(50))
