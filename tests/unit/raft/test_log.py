"""The log in memory against a plain list."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from consultwist.raft import log as log_module
from consultwist.raft.log import RaftLog, SnapshotPoint
from consultwist.raft.messages import Entry


class LogMachine(RuleBasedStateMachine):
    """Appends, truncates, compacts and reads, with a tiny cache."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[int, Entry] = {}
        self.log = RaftLog(self.read)
        self.term = 1

    def read(self, first: int, last: int, size_max: int) -> list[Entry]:
        assert last <= self.log.stable_index
        return [self.entries[index] for index in range(first, last + 1)]

    @rule(count=st.integers(1, 6), newer=st.booleans())
    def append(self, count: int, newer: bool) -> None:
        self.term += newer
        first = self.log.last_index + 1
        fresh = [Entry.make(first + i, self.term, 0, b"x") for i in range(count)]
        self.log.append(fresh)
        self.entries.update((entry.index, entry) for entry in fresh)

    @rule(share=st.floats(0, 1))
    def persist_and_apply(self, share: float) -> None:
        log = self.log
        log.stable_index += int(share * (log.last_index - log.stable_index))
        log.commit_index = max(log.commit_index, log.stable_index)
        log.applied_index = log.commit_index

    @precondition(lambda self: self.log.commit_index < self.log.last_index)
    @rule(share=st.floats(0, 0.99))
    def truncate(self, share: float) -> None:
        log = self.log
        last = log.commit_index + int(share * (log.last_index - log.commit_index))
        log.truncate(last)
        self.entries = {i: e for i, e in self.entries.items() if i <= last}
        self.term += 1

    @rule(share=st.floats(0, 1))
    def compact(self, share: float) -> None:
        log = self.log
        index = log.applied_index
        if index <= log.snapshot.index:
            return
        log.snapshot = SnapshotPoint(index, self.entries[index].term)
        last = int(share * index)
        log.compact(last)
        self.entries = {i: e for i, e in self.entries.items() if i > last}

    @rule()
    def reset(self) -> None:
        index = self.log.last_index + 3
        self.log.reset(SnapshotPoint(index, self.term))
        self.entries = {}

    @invariant()
    def terms_agree(self) -> None:
        for index, entry in self.entries.items():
            assert self.log.term(index) == entry.term
        assert self.log.term(self.log.last_index + 1) is None

    @invariant()
    def entries_agree(self) -> None:
        if not self.entries:
            return
        assert min(self.entries) == self.log.first_index
        assert max(self.entries) == self.log.last_index
        got: list[Any] = []
        index = self.log.first_index
        while index <= self.log.last_index:
            part = self.log.entries(index, self.log.last_index, 1 << 20)
            got += part
            index += len(part)
        assert got == [self.entries[i] for i in sorted(self.entries)]


def test_the_log_agrees_with_a_plain_list(monkeypatch: Any) -> None:
    """Whatever is appended, truncated, compacted and evicted from memory."""
    monkeypatch.setattr(log_module, "CACHE_ENTRIES_MAX", 4)
    LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
    LogMachine.TestCase("runTest").runTest()


def test_entries_stop_at_a_size_but_one_always_comes() -> None:
    """A message must not grow without bound, and must make progress."""
    log = RaftLog(lambda *_: [])
    entries = [Entry.make(i, 1, 0, b"x" * 1000) for i in range(1, 6)]
    log.append(entries)
    assert list(log.entries(1, 5, 2500)) == entries[:2]
    assert list(log.entries(1, 5, 10)) == entries[:1]


def test_a_newer_log_is_one_of_a_later_term_or_longer() -> None:
    """Section 5.4.1 of the paper."""
    log = RaftLog(lambda *_: [])
    log.append([Entry.make(1, 1, 0), Entry.make(2, 3, 0)])
    assert log.is_up_to_date(2, 3)
    assert log.is_up_to_date(1, 4)
    assert log.is_up_to_date(3, 3)
    assert not log.is_up_to_date(1, 3)
    assert not log.is_up_to_date(9, 2)
