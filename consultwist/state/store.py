"""Store: the whole state of a server in memory, and the way to read it.

Readers ask for an *answer*: `Store.answer` calls a query function with a `WatchSet` in
which the function notes what its answer rests on. With a key the answer is kept and
handed out again, the same object, until something it rests on is touched. Interfaces
above use that identity to keep their finished bytes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from consultwist.state import watch
from consultwist.state.table import Schema, Table
from consultwist.state.transaction import Note, Transaction
from consultwist.state.watch import Topic, Waiter, Watches, WatchSet

T = TypeVar("T")

#: Kept answers. One for each service asked for is the common case; at 10 instances
#: an answer is about 10 kB of references to rows that exist anyway.
ANSWERS_MAX: Final = 8192


class Answer(Generic[T]):
    """What a query found: the index of the data, the payload, what it rests on."""

    __slots__ = ("index", "payload", "topics")

    def __init__(self, index: int, payload: T, topics: tuple[Topic, ...]) -> None:
        self.index = index
        self.payload = payload
        self.topics = topics


#: Makes an answer: (index, payload), noting topics in the watch set.
Query = Callable[[WatchSet], tuple[int, T]]


class Store:
    """All tables, the index rows, the watches and the kept answers."""

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self.schemas = tuple(schemas)
        self.tables: dict[str, Table] = {}
        #: Lower-cased name to (name as written, index).
        self.index_rows: dict[str, tuple[str, int]] = {}
        #: Single objects that are in no table, such as the autopilot configuration.
        self.values: dict[str, Any] = {}
        self.watches = Watches()
        #: Counts the batches of changes: reads of the same version are alike.
        self.version = 0
        self._answers: OrderedDict[Hashable, tuple[Answer[Any], Waiter]] = OrderedDict()
        self._observers: list[Callable[[Note], None]] = []
        self.clear()

    def clear(self) -> None:
        """Forget all data, as before a restore; watchers stay."""
        self.tables = {schema.name: Table(schema) for schema in self.schemas}
        self.index_rows = {}
        self.values = {}

    def adopt(self, other: "Store") -> None:
        """Take over the data of a freshly restored store and wake every watcher.

        The other store gets what was here, so that it can be let go of in its time.
        """
        self.tables, other.tables = other.tables, self.tables
        self.index_rows = other.index_rows
        self.values = other.values
        self.version += 1
        self.watches.wake_all()

    def settle(self) -> Iterator[None]:
        """Put the rows of all tables in order, table by table."""
        for table in self.tables.values():
            table.settle()
            yield

    def dismantle(self) -> Iterator[None]:
        """Let go of all rows bit by bit; the store is of no use afterwards."""
        for table in self.tables.values():
            yield from table.dismantle()

    def table(self, name: str) -> Table:
        """Return a table for reading."""
        return self.tables[name]

    def index(self, *names: str) -> int:
        """Return the highest of some index rows; a missing row counts as 0."""
        rows = self.index_rows
        return max((rows[name][1] for name in names if name in rows), default=0)

    def begin(self, index: int) -> Transaction:
        """Return a transaction at a Raft index."""
        return Transaction(self, index)

    def wake(self) -> None:
        """Wake the watchers of all that changed; call after a batch was applied."""
        self.version += 1
        self.watches.wake()

    def answer(self, query: Query[T], key: Hashable = None) -> Answer[T]:
        """Run a query; with a key, hand out a kept answer while it still holds."""
        if key is not None:
            kept = self._answers.get(key)
            if kept is not None:
                return kept[0]
        seen = WatchSet()
        index, payload = query(seen)
        found = Answer(index, payload, tuple(seen.topics))
        if key is not None:
            self._keep(key, found)
        return found

    def subscribe(self, observer: Callable[[Note], None]) -> Callable[[], None]:
        """Have a function called with each note of a committed transaction.

        Returns:
            What ends that.
        """
        self._observers = [*self._observers, observer]

        def unsubscribe() -> None:
            self._observers = [each for each in self._observers if each != observer]

        return unsubscribe

    def observe(self, note: Note) -> None:
        """Pass a note to the observers."""
        for observer in self._observers:
            observer(note)

    def _keep(self, key: Hashable, found: Answer[Any]) -> None:
        waiter = self.watches.add(found.topics, lambda: self._drop(key), first=True)
        self._answers[key] = (found, waiter)
        if len(self._answers) > ANSWERS_MAX:
            _, (_, oldest) = self._answers.popitem(last=False)
            self.watches.cancel(oldest)

    def _drop(self, key: Hashable) -> None:
        self._answers.pop(key, None)


def row_index(store: Store, seen: WatchSet, *names: str) -> int:
    """Return the highest of some index rows and watch them all."""
    for name in names:
        seen.add(watch.row(name))
    return store.index(*(name.lower() for name in names))
