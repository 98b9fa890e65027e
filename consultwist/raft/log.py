"""The log as the core sees it: which entries exist, how far each stage has come.

::

    first_index          snapshot   applied   commit       stable        last
        |--- kept for followers ---|---------|------------|-------------|

Entries up to ``stable_index`` are durable here. The newest entries are kept in memory;
older ones are read from the disk where a slow follower or a restart needs them. The
term of every entry is known without reading, as runs of entries of one term.
"""

import bisect
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from consultwist.raft.messages import Entry

#: Durable and applied entries kept in memory for followers that lag a little: a few
#: seconds of heavy writing.
CACHE_ENTRIES_MAX: Final = 8192
CACHE_SIZE_MAX: Final = 8 * 1024 * 1024

#: The cache is trimmed when it is over its bound by a quarter, not at every entry.
_CACHE_SLACK: Final = 4

#: Reads entries first to last from disk, fewer where they exceed a size in bytes.
ReadEntries = Callable[[int, int, int], Sequence[Entry]]


@attrs.frozen
class SnapshotPoint:
    """Up to where a snapshot reaches."""

    index: int = 0
    term: int = 0


class RaftLog:
    """Terms and stages of the log, and its newest entries.

    Attributes:
        first_index: of the oldest entry that is still there.
        last_index: of the newest entry, or of the snapshot.
        stable_index: everything up to here is durable on this server.
        commit_index: everything up to here is durable on a quorum, for good.
        applied_index: everything up to here went through the state machine.
        snapshot: up to where the newest snapshot reaches.
    """

    def __init__(
        self,
        read: ReadEntries,
        *,
        first_index: int = 1,
        last_index: int = 0,
        terms: Sequence[tuple[int, int]] = (),
        snapshot: SnapshotPoint | None = None,
    ) -> None:
        """Describe a log that lies on disk.

        Args:
            read: reads entries that are not in memory.
            first_index: of the oldest entry.
            last_index: of the newest, ``first_index - 1`` where there is none.
            terms: the first index and the term of each run of equal terms.
            snapshot: up to where the newest snapshot reaches.
        """
        self._read = read
        self.snapshot = snapshot or SnapshotPoint()
        self.first_index = first_index
        self.last_index = last_index
        self._run_starts = [start for start, _ in terms]
        self._run_terms = [term for _, term in terms]
        self.stable_index = last_index
        self.commit_index = self.snapshot.index
        self.applied_index = self.snapshot.index
        self._cache: list[Entry] = []
        self._cache_size = 0

    @property
    def last_term(self) -> int:
        """The term of the newest entry, or of the snapshot."""
        return self.term(self.last_index) or 0

    def term(self, index: int) -> int | None:
        """Return the term of an entry, or None where it is not known any more."""
        if index == 0:
            return 0
        if self.first_index <= index <= self.last_index:
            return self._run_terms[bisect.bisect_right(self._run_starts, index) - 1]
        if index == self.snapshot.index:
            return self.snapshot.term
        return None

    def matches(self, index: int, term: int) -> bool:
        """Tell whether the entry at `index` is there and of that term."""
        return self.term(index) == term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Tell whether a log that ends so is at least as new (paper, 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append entries that follow the last one."""
        assert entries[0].index == self.last_index + 1
        for entry in entries:
            if not self._run_terms or self._run_terms[-1] != entry.term:
                self._run_starts.append(entry.index)
                self._run_terms.append(entry.term)
            self._cache_size += len(entry.encoded)
        self._cache += entries
        self.last_index = entries[-1].index
        self._trim_cache()

    def truncate(self, last_index: int) -> None:
        """Forget the entries above an index; none of them may be committed."""
        assert self.commit_index <= last_index < self.last_index
        kept = max(0, len(self._cache) - (self.last_index - last_index))
        for entry in self._cache[kept:]:
            self._cache_size -= len(entry.encoded)
        del self._cache[kept:]
        runs = bisect.bisect_right(self._run_starts, last_index)
        del self._run_starts[runs:], self._run_terms[runs:]
        self.last_index = last_index
        self.stable_index = min(self.stable_index, last_index)

    def reset(self, snapshot: SnapshotPoint) -> None:
        """Forget all entries: a snapshot stands in their place."""
        self.snapshot = snapshot
        self.first_index = snapshot.index + 1
        self.last_index = snapshot.index
        self.stable_index = self.commit_index = self.applied_index = snapshot.index
        self._run_starts, self._run_terms = [], []
        self._cache, self._cache_size = [], 0

    def compact(self, last_index: int) -> None:
        """Forget the entries up to an index; a snapshot covers them."""
        assert last_index <= self.snapshot.index
        if last_index < self.first_index:
            return
        cached_from = self._cached_from
        self.first_index = last_index + 1
        self._drop_cached(last_index + 1 - cached_from)
        if last_index >= self.last_index:
            self._run_starts, self._run_terms = [], []
            return
        run = bisect.bisect_right(self._run_starts, self.first_index) - 1
        del self._run_starts[:run], self._run_terms[:run]
        self._run_starts[0] = self.first_index

    def entries(self, first: int, last: int, size_max: int) -> Sequence[Entry]:
        """Return entries first to last, or fewer where they exceed a size in bytes.

        At least one is returned. Raises StorageError where the disk holds no sound one.
        """
        assert self.first_index <= first <= last <= self.last_index, (first, last)
        cached_from = self._cached_from
        if first < cached_from:
            return self._read(first, min(last, cached_from - 1), size_max)
        chosen = self._cache[first - cached_from : last + 1 - cached_from]
        size = 0
        for count, entry in enumerate(chosen):
            size += len(entry.encoded)
            if size > size_max and count:
                return chosen[:count]
        return chosen

    @property
    def _cached_from(self) -> int:
        return self.last_index + 1 - len(self._cache)

    def _trim_cache(self) -> None:
        count = len(self._cache)
        if (
            count - count // _CACHE_SLACK <= CACHE_ENTRIES_MAX
            and self._cache_size - self._cache_size // _CACHE_SLACK <= CACHE_SIZE_MAX
        ):
            return
        # What is not durable cannot be read back, what is not applied is needed soon.
        free = min(self.stable_index, self.applied_index) + 1 - self._cached_from
        size, drop = self._cache_size, 0
        while drop < free and (
            count - drop > CACHE_ENTRIES_MAX or size > CACHE_SIZE_MAX
        ):
            size -= len(self._cache[drop].encoded)
            drop += 1
        self._drop_cached(drop)

    def _drop_cached(self, count: int) -> None:
        if count > 0:
            for entry in self._cache[:count]:
                self._cache_size -= len(entry.encoded)
            del self._cache[:count]
