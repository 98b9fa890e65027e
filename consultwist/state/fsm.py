"""FSM: turns committed entries into changes of the store.

A command is a type byte and a msgpack value. Which function applies a type is found
through the state table plugins. Commands that were cut into chunks are joined here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.logger import Logger
from zope.interface import implementer

from consultwist.errors import ConsultwistError, WireError
from consultwist.interfaces import IRaftFSM, IStateTable
from consultwist.state import snapshot
from consultwist.state.chunking import Chunks
from consultwist.state.store import Store
from consultwist.state.transaction import Transaction
from consultwist.structs.message_type import IGNORE_UNKNOWN_FLAG

_TYPE_MASK: Final = 0x7F

Command = Callable[[Transaction, bytes], Any]


@attrs.frozen
class CommittedEntry:
    """An entry of the Raft log that a quorum has, of the command type."""

    index: int
    term: int
    data: bytes | None
    extensions: bytes | None


class UnknownCommand(ConsultwistError):
    """An entry's type is unknown and may not be skipped."""


@implementer(IRaftFSM)
class FSM:
    """Applies committed entries to a store, takes and restores snapshots of it."""

    log = Logger()

    def __init__(self, store: Store, tables: Sequence[IStateTable]) -> None:
        self.store = store
        self._tables = tables
        self._commands = _merge(table.commands() for table in tables)
        self.restorers = _merge(table.restorers() for table in tables)
        self.chunks = Chunks()

    def apply_batch(self, entries: Iterable[Any]) -> list[Any]:
        """Apply entries in order; return a result or an error for each.

        Watchers wake once, after the last entry.

        Args:
            entries: shaped like `CommittedEntry`.
        """
        results = [self._apply(entry) for entry in entries]
        self.store.wake()
        return results

    def snapshot(self) -> Iterator[bytes]:
        """Return the chunks of a snapshot of the present state.

        The state is fixed when this returns; the chunks may be taken later.
        """
        return snapshot.write(self.store, self._tables, self.chunks.records())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by a snapshot's.

        Raises:
            WireError: where the snapshot is not sound; the old state stays then.
        """
        loaded = LoadedState(self)
        for _ in loaded.read(chunks):
            pass
        loaded.put_in_place()

    def _apply(self, entry: Any) -> Any:
        data: bytes = entry.data or b""
        if entry.extensions:
            joined = self.chunks.add(entry.term, entry.extensions, data)
            if joined is None:
                return None
            data = joined
        if not data:
            return WireError("raft: empty command")
        command = self._commands.get(data[0] & _TYPE_MASK)
        if command is None:
            return self._unknown(data[0], entry.index)
        return self._run(command, data, entry.index)

    def _run(self, command: Command, data: bytes, index: int) -> Any:
        transaction = self.store.begin(index)
        try:
            result = command(transaction, data[1:])
        except ConsultwistError as error:
            transaction.abort()
            return error
        except BaseException:
            transaction.abort()
            raise
        transaction.commit()
        return result

    def _unknown(self, kind: int, index: int) -> Any:
        if kind & IGNORE_UNKNOWN_FLAG:
            self.log.warn(
                "ignoring unknown command type {kind} at index {index}",
                kind=kind & _TYPE_MASK,
                index=index,
            )
            return None
        raise UnknownCommand(
            f"failed to apply request at index {index}: unknown command type {kind}; "
            "this server lacks a state table that the cluster uses"
        )


class LoadedState:
    """A snapshot's state beside the one that there is, which goes on meanwhile.

    It is read, and the old one let go of, bit by bit: the iterators yield after each.
    """

    def __init__(self, fsm: FSM) -> None:
        self._fsm = fsm
        self._store = Store(fsm.store.schemas)
        self._chunks = Chunks()

    def read(self, chunks: Iterable[bytes]) -> Iterator[None]:
        """Read a snapshot.

        Raises:
            WireError: where it is not sound.
        """
        for kept in snapshot.read_parts(self._store, self._fsm.restorers, chunks):
            if kept is not None:
                self._chunks = kept
            yield
        yield from self._store.settle()

    def put_in_place(self) -> None:
        """Let the state machine go on from here; the old state is held still."""
        self._fsm.chunks = self._chunks
        self._fsm.store.adopt(self._store)

    def dismantle(self) -> Iterator[None]:
        """Let go of the old state."""
        return self._store.dismantle()


def _merge(parts: Iterable[Mapping[int, Any]]) -> dict[int, Any]:
    merged: dict[int, Any] = {}
    for part in parts:
        for kind, function in part.items():
            if kind in merged:
                raise ValueError(f"two state tables claim message type {int(kind)}")
            merged[int(kind)] = function
    return merged
