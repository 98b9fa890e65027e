"""Transaction: every change to the state, at one Raft index, whole or not at all.

Changes are made in place and each is noted with what it replaced; `abort` walks the
notes backwards. That is sound because one command is applied in one turn of the
reactor: nobody reads in between.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from consultwist.state import watch
from consultwist.state.table import Key, Table

if TYPE_CHECKING:
    from consultwist.state.store import Store

#: Something that the server that applied a command must know, such as a lock delay;
#: it is no part of the replicated state.
Note = Any


class Transaction:
    """Reads and writes at one Raft index."""

    __slots__ = ("_notes", "_undo", "index", "store")

    def __init__(self, store: "Store", index: int) -> None:
        self.store = store
        self.index = index
        self._undo: list[Callable[[], object]] = []
        self._notes: list[Note] = []

    def table(self, name: str) -> Table:
        """Return a table for reading; it shows this transaction's own changes."""
        return self.store.table(name)

    def put(self, table: str, row: Any) -> None:
        """Store a row, replacing one with the same key."""
        target = self.store.table(table)
        key = target.schema.key(row)
        old = target.put(row)
        if old is None:
            self._undo.append(lambda: target.delete(key))
        else:
            self._undo.append(lambda: target.put(old))
        if target.schema.watched:
            self.store.watches.touch_key(table, key)

    def delete(self, table: str, key: Key) -> None:
        """Remove a row, if there is one."""
        target = self.store.table(table)
        old = target.delete(key)
        if old is None:
            return
        self._undo.append(lambda: target.put(old))
        if target.schema.watched:
            self.store.watches.touch_key(table, key)

    def set_index(self, name: str, value: int | None = None) -> None:
        """Set an index row to a value, the transaction's index by default."""
        rows = self.store.index_rows
        folded = name.lower()
        old = rows.get(folded)
        rows[folded] = (name, self.index if value is None else value)
        if old is None:
            self._undo.append(lambda: rows.pop(folded))
        else:
            self._undo.append(lambda: rows.__setitem__(folded, old))
        self.store.watches.touch(("row", folded))

    def max_index(self, name: str, value: int | None = None) -> None:
        """Raise an index row to a value, the transaction's index by default."""
        value = self.index if value is None else value
        current = self.store.index_rows.get(name.lower())
        if current is None or value > current[1]:
            self.set_index(name, value)
        else:
            self.store.watches.touch(watch.row(name))

    def touch_index(self, name: str) -> None:
        """Wake those who watch an index row although it stays as it is."""
        self.store.watches.touch(watch.row(name))

    def touch_key(self, table: str, key: str) -> None:
        """Wake those who watch a key, because what hangs on its row has changed."""
        self.store.watches.touch_key(table, key)

    def delete_index(self, name: str) -> None:
        """Remove an index row."""
        rows = self.store.index_rows
        folded = name.lower()
        old = rows.pop(folded, None)
        if old is not None:
            self._undo.append(lambda: rows.__setitem__(folded, old))
        self.store.watches.touch(watch.row(folded))

    def set_value(self, name: str, value: Any) -> None:
        """Set one of the objects that stand outside all tables."""
        values = self.store.values
        old = values.get(name)
        values[name] = value
        self._undo.append(lambda: values.__setitem__(name, old))

    def note(self, note: Note) -> None:
        """Tell the store's observers something once this is committed."""
        self._notes.append(note)

    def commit(self) -> None:
        """Keep the changes; watchers wake when the store says so."""
        self._undo.clear()
        if self._notes:
            for note in self._notes:
                self.store.observe(note)
            self._notes.clear()

    def abort(self) -> None:
        """Undo every change. Watchers it touched may wake for nothing."""
        while self._undo:
            self._undo.pop()()
        self._notes.clear()
