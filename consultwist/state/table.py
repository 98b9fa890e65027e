"""A table: rows by primary key, kept in order on demand, and secondary indexes.

Rows are frozen records that the garbage collector does not track. Everybody may read
a table; only a `Transaction` writes.
"""

import sys
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final, cast

import attrs
from sortedcontainers import SortedList

#: A primary key: text, or a tuple of texts.
Key = Any

#: New keys are kept apart from the ordered ones until somebody lists the table: a
#: bulk load then sorts once instead of once a row.
_SORT_AT_ONCE_MAX: Final = 256

#: A copy of more rows than this is not put in order: some 10 ms.
_FROZEN_ORDERED_MAX: Final = 16_384

#: Rows of a table that nobody needs any more, let go of at once: below a millisecond.
_FREED_AT_ONCE: Final = 1000


@attrs.frozen(kw_only=True)
class Schema:
    """What a table is.

    Attributes:
        name: the table's name; its index row usually has the same.
        key: gives the primary key of a row.
        indexes: by name, gives the value under which a row is found, or None where it
            is not in that index. Many rows may share a value.
        watched: whether single keys and prefixes can be watched (keys are then text).
    """

    name: str
    key: Callable[[Any], Key]
    indexes: dict[str, Callable[[Any], Hashable | None]] = attrs.field(factory=dict)
    watched: bool = False


class Table:
    """The rows of one table."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._rows: dict[Key, Any] = {}
        self._order: SortedList[Key] = SortedList()
        #: In the order in which they came: a snapshot's are in order already.
        self._unordered: dict[Key, None] = {}
        self._indexes: dict[str, dict[Hashable, dict[Key, None]]] = {
            name: {} for name in schema.indexes
        }

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: Key) -> Any:
        """Return the row with this key, or None."""
        return self._rows.get(key)

    def by(self, index: str, value: Hashable) -> list[Any]:
        """Return the rows that an index holds under a value, in key order."""
        keys = self._indexes[index].get(value)
        if not keys:
            return []
        rows = self._rows
        if len(keys) == 1:
            return [rows[key] for key in keys]
        return [rows[key] for key in sorted(keys)]

    def has(self, index: str, value: Hashable) -> bool:
        """Tell whether an index holds any row under a value."""
        return value in self._indexes[index]

    def values(self, index: str) -> Iterator[Hashable]:
        """Yield the distinct values of an index, oldest first."""
        return iter(self._indexes[index])

    def rows(self) -> Iterator[Any]:
        """Yield all rows in key order."""
        rows = self._rows
        return (rows[key] for key in self._ordered())

    def frozen(self) -> list[Any]:
        """Return all rows as they are now, in key order unless they are too many.

        Putting a million in order would hold up everybody for a second.
        """
        if len(self._rows) > _FROZEN_ORDERED_MAX:
            return list(self._rows.values())
        return list(self.rows())

    def keys(self) -> Iterator[Key]:
        """Yield all keys in order."""
        return iter(self._ordered())

    def prefix_keys(self, start: str) -> Iterator[str]:
        """Yield, in order, the keys that begin with a text."""
        if not start:
            return self.keys()
        if start[-1] == chr(sys.maxunicode):
            return (key for key in self.keys() if key.startswith(start))
        # The least text above every one that begins with `start`. Texts compare by
        # code points, which for UTF-8 is the order of their bytes.
        end = start[:-1] + chr(ord(start[-1]) + 1)
        return cast(
            Iterator[str],
            self._ordered().irange(start, end, inclusive=(True, False)),
        )

    def prefix(self, start: str) -> list[Any]:
        """Return, in key order, the rows whose key begins with a text."""
        rows = self._rows
        return [rows[key] for key in self.prefix_keys(start)]

    def beginning(self, first: str) -> list[Any]:
        """Return, in key order, the rows whose key is a tuple with this first text."""
        rows = self._rows
        # Behind (first,) stand all tuples that begin with it; the text that follows
        # `first` itself in the order of texts is `first` and a zero character.
        keys = self._ordered().irange(
            (first,), (first + "\0",), inclusive=(True, False)
        )
        return [rows[key] for key in keys]

    def settle(self) -> None:
        """Put new keys in order now, not when somebody lists the table."""
        self._ordered()

    def dismantle(self) -> Iterator[None]:
        """Let go of the rows bit by bit: a million at once would hold up others."""
        while self._rows:
            for _ in range(min(_FREED_AT_ONCE, len(self._rows))):
                self._rows.popitem()
            yield

    # --- for Transaction -------------------------------------------------------------

    def put(self, row: Any) -> Any:
        """Store a row; return the one that it replaces, or None."""
        key = self.schema.key(row)
        old = self._rows.get(key)
        self._rows[key] = row
        if old is None:
            self._unordered[key] = None
        for name, value_of in self.schema.indexes.items():
            before = None if old is None else value_of(old)
            after = value_of(row)
            if before == after:
                continue
            if before is not None:
                self._unindex(name, before, key)
            if after is not None:
                self._indexes[name].setdefault(after, {})[key] = None
        return old

    def delete(self, key: Key) -> Any:
        """Remove a row; return it, or None where there was none."""
        old = self._rows.pop(key, None)
        if old is None:
            return None
        if key in self._unordered:
            del self._unordered[key]
        else:
            self._order.remove(key)
        for name, value_of in self.schema.indexes.items():
            value = value_of(old)
            if value is not None:
                self._unindex(name, value, key)
        return old

    def _unindex(self, name: str, value: Hashable, key: Key) -> None:
        bucket = self._indexes[name][value]
        del bucket[key]
        if not bucket:
            del self._indexes[name][value]

    def _ordered(self) -> "SortedList[Key]":
        if self._unordered:
            if len(self._unordered) <= _SORT_AT_ONCE_MAX:
                for key in self._unordered:
                    self._order.add(key)
            else:
                self._order.update(self._unordered)
            self._unordered.clear()
        return self._order
