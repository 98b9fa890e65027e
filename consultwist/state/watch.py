"""Who wakes when something changes.

A *topic* names something that can change: an index row (`row("service.web")`), one
key of a table, or all keys of a table that begin with a prefix. A reader collects the
topics that its answer rests on in a `WatchSet`; a waiter registered for them is called
once, after the batch that touched any of them was applied.
"""

from collections.abc import Callable, Iterable
from typing import Final

#: What changed or is waited for: ("row", name), ("key", table, key) or
#: ("prefix", table, prefix).
Topic = tuple[str, ...]

_PREFIX: Final = "prefix"


def row(name: str) -> Topic:
    """Return the topic of an index row; names compare without case."""
    return ("row", name.lower())


def key(table: str, name: str) -> Topic:
    """Return the topic of one key of a table."""
    return ("key", table, name)


def prefix(table: str, start: str) -> Topic:
    """Return the topic of all keys of a table that begin with `start`."""
    return (_PREFIX, table, start)


class Waiter:
    """One registration: called at most once, cancelled by whoever made it."""

    __slots__ = ("callback", "first", "topics")

    def __init__(
        self, topics: tuple[Topic, ...], callback: Callable[[], None], *, first: bool
    ) -> None:
        self.topics = topics
        self.callback = callback
        self.first = first


class Watches:
    """All waiters by topic, and the topics touched since the last wake."""

    def __init__(self) -> None:
        # Insertion-ordered, so that waiters are called in the order of registration.
        self._waiters: dict[Topic, dict[Waiter, None]] = {}
        # How many watched prefixes of each length there are, by table: a changed key
        # is looked up once for each distinct length instead of once a watcher.
        self._lengths: dict[str, dict[int, int]] = {}
        self._touched: dict[Topic, None] = {}
        #: Counts how often the whole state was replaced.
        self.generation = 0

    def __len__(self) -> int:
        """Return how many topics are watched."""
        return len(self._waiters)

    def add(
        self,
        topics: Iterable[Topic],
        callback: Callable[[], None],
        *,
        first: bool = False,
    ) -> Waiter:
        """Call `callback` once, after any of the topics is touched.

        Waiters marked `first` are called before all others of the same wake: what is
        kept of the old state must be dropped before anybody reads again.
        """
        waiter = Waiter(tuple(topics), callback, first=first)
        for topic in waiter.topics:
            waiters = self._waiters.get(topic)
            if waiters is None:
                self._waiters[topic] = {waiter: None}
                self._count_prefix(topic, 1)
            else:
                waiters[waiter] = None
        return waiter

    def cancel(self, waiter: Waiter) -> None:
        """Forget a waiter; harmless where it was called already."""
        for topic in waiter.topics:
            waiters = self._waiters.get(topic)
            if waiters is None or waiter not in waiters:
                continue
            del waiters[waiter]
            if not waiters:
                del self._waiters[topic]
                self._count_prefix(topic, -1)

    def touch(self, topic: Topic) -> None:
        """Note that something changed; `wake` calls the waiters later."""
        if topic in self._waiters:
            self._touched[topic] = None

    def touch_key(self, table: str, name: str) -> None:
        """Note that one key changed, for its watchers and those of its prefixes."""
        self.touch(("key", table, name))
        lengths = self._lengths.get(table)
        if lengths:
            for length in lengths:
                if length <= len(name):
                    self.touch((_PREFIX, table, name[:length]))

    def touch_prefix(self, table: str, start: str) -> None:
        """Note that a whole tree changed, for watchers above and below its root."""
        self.touch_key(table, start)
        for topic in self._waiters:
            if topic[1] == table and topic[0] != "row" and topic[2].startswith(start):
                self._touched[topic] = None

    def forget_touched(self) -> None:
        """Drop what was noted since the last wake: the change was undone."""
        self._touched.clear()

    def wake(self) -> None:
        """Call everyone who waits for something touched since the last wake."""
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        due: dict[Waiter, None] = {}
        for topic in touched:
            due.update(self._waiters.get(topic, {}))
        self._call(due)

    def wake_all(self) -> None:
        """Call every waiter: the whole state was replaced."""
        due: dict[Waiter, None] = {}
        for waiters in self._waiters.values():
            due.update(waiters)
        self._touched.clear()
        self.generation += 1
        self._call(due)

    def _call(self, due: dict[Waiter, None]) -> None:
        for waiter in due:
            self.cancel(waiter)
        for waiter in due:
            if waiter.first:
                waiter.callback()
        for waiter in due:
            if not waiter.first:
                waiter.callback()

    def _count_prefix(self, topic: Topic, change: int) -> None:
        if topic[0] != _PREFIX:
            return
        lengths = self._lengths.setdefault(topic[1], {})
        length = len(topic[2])
        lengths[length] = lengths.get(length, 0) + change
        if not lengths[length]:
            del lengths[length]
            if not lengths:
                del self._lengths[topic[1]]


class WatchSet:
    """The topics that one answer rests on, collected while it is made."""

    __slots__ = ("topics",)

    def __init__(self) -> None:
        self.topics: dict[Topic, None] = {}

    def add(self, topic: Topic) -> None:
        """Add a topic."""
        self.topics[topic] = None
