"""Term and vote on disk."""

from pathlib import Path

import pytest

from consultwist.errors import StorageError
from consultwist.raft.storage.stable import HardState, StableStore


def test_term_and_vote_are_remembered(tmp_path: Path) -> None:
    """A server that has never voted starts with term 0."""
    store = StableStore(tmp_path / "state")
    assert store.load() == HardState()
    store.save(HardState(term=7, vote="10.0.0.1:8300"))
    store.save(HardState(term=8))
    assert StableStore(tmp_path / "state").load() == HardState(term=8)


def test_a_crash_while_saving_leaves_the_old_file(tmp_path: Path) -> None:
    """The new one has another name until it is durable."""
    store = StableStore(tmp_path / "state")
    store.save(HardState(term=7, vote="a"))
    (tmp_path / "state.tmp").write_bytes(b"CWST")
    assert store.load() == HardState(term=7, vote="a")


def test_any_damage_is_an_error(tmp_path: Path) -> None:
    """A server must not forget its vote without anyone noticing."""
    store = StableStore(tmp_path / "state")
    store.save(HardState(term=7, vote="a"))
    content = store.path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        store.path.write_bytes(bytes(damaged))
        with pytest.raises(StorageError, match="state"):
            store.load()
        store.path.write_bytes(content[:place])
        with pytest.raises(StorageError, match="state"):
            store.load()
