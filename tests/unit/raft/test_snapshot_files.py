"""Snapshots on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred

from consultwist.errors import StorageError
from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.storage.snapshot_files import SnapshotFiles, SnapshotMeta
from consultwist.testing.deferred import result_of

CONFIGURATION = Configuration.of([Server(id="a", address="1:1")])


def run_here(function: Callable[[], Any]) -> "Deferred[Any]":
    return maybeDeferred(function)


def snapshots(folder: Path) -> SnapshotFiles:
    found = SnapshotFiles(folder / "snapshots", run_here)
    found.open(1)
    return found


def take(files: SnapshotFiles, index: int, content: bytes) -> SnapshotMeta:
    sink = files.create(SnapshotMeta.of(index, 2, CONFIGURATION, 1, 1000.0 + index))
    for byte in content:
        sink.write(bytes((byte,)))
    assert b"".join(sink.chunks()) == content
    return result_of(sink.finish())


def test_a_snapshot_is_read_back_with_its_metadata(tmp_path: Path) -> None:
    """Size and checksum are filled in at the end."""
    files = snapshots(tmp_path)
    meta = take(files, 10, b"state")
    assert (meta.index, meta.size, meta.configuration) == (10, 5, CONFIGURATION)
    source = files.source(10, 2)
    assert b"".join(source.chunks()) == b"state"
    assert source.meta == meta
    source.close()
    assert files.open(1) == meta


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """One that is being read stays readable when it is pruned."""
    files = snapshots(tmp_path)
    take(files, 1, b"one")
    source = files.source(1, 2)
    for index in (2, 3, 4):
        take(files, index, b"later")
    assert len(list(files.folder.iterdir())) == 2
    assert b"".join(source.chunks()) == b"one"
    source.close()


def test_an_aborted_or_unfinished_snapshot_does_not_exist(tmp_path: Path) -> None:
    """What a crash left is cleared away at the next start."""
    files = snapshots(tmp_path)
    sink = files.create(SnapshotMeta.of(5, 1, CONFIGURATION, 1, 0.0))
    sink.write(b"x")
    sink.abort()
    files.create(SnapshotMeta.of(6, 1, CONFIGURATION, 1, 0.0)).write(b"y")
    assert snapshots(tmp_path).open(1) is None
    assert list(files.folder.iterdir()) == []


def test_a_damaged_snapshot_is_passed_over_if_the_log_reaches_back(
    tmp_path: Path,
) -> None:
    """The older one serves as well, if no entry between it and the log is missing."""
    files = snapshots(tmp_path)
    older = take(files, 10, b"older state")
    newer = take(files, 20, b"newer state")
    (files.folder / newer.id / "state.bin").write_bytes(b"newer stXte")
    assert files.open(5) == older
    with pytest.raises(StorageError, match=newer.id):
        files.open(15)
    (files.folder / older.id / "state.bin").write_bytes(b"")
    with pytest.raises(StorageError, match="damaged"):
        files.open(1)


def test_a_log_that_needs_a_snapshot_does_not_start_without(tmp_path: Path) -> None:
    """Entries before the log's first are nowhere."""
    with pytest.raises(StorageError, match="begins at entry 7"):
        snapshots(tmp_path).open(7)


def test_damaged_metadata_is_an_error(tmp_path: Path) -> None:
    """It is not taken for no snapshot."""
    files = snapshots(tmp_path)
    meta = take(files, 10, b"state")
    (files.folder / meta.id / "meta.json").write_bytes(b'{"Version":1')
    with pytest.raises(StorageError, match=r"meta\.json"):
        files.open(1)


def test_a_snapshot_can_be_dropped(tmp_path: Path) -> None:
    """One whose state was refused must not be found at the next start."""
    files = snapshots(tmp_path)
    files.drop(take(files, 10, b"state"))
    assert files.open(1) is None
    with pytest.raises(StorageError, match="no snapshot"):
        files.source(10, 2)
