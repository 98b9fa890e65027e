"""FSM: turns committed entries into changes of the store.

A command is a type byte and a msgpack value. Which function applies a type is found
through the state table plugins. Commands that were cut into chunks are joined here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
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
        self._restorers = _merge(table.restorers() for table in tables)
        self._chunks = Chunks()

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
        return snapshot.write(self.store, self._tables, self._chunks.records())

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replace the state by a snapshot's.

        Raises:
            WireError: where the snapshot is not sound; the old state stays then.
        """
        for put_in_place in self.load(chunks):
            if put_in_place is not None:
                put_in_place()

    def load(self, chunks: Iterable[bytes]) -> Iterator[Callable[[], None] | None]:
        """Read a snapshot bit by bit, beside the state that there is.

        Yields None after each bit, and at the end what puts the snapshot's state in
        place. Until then this one goes on.

        Raises:
            WireError: where the snapshot is not sound.
        """
        fresh = Store(self.store.schemas)
        for kept in snapshot.read_parts(fresh, self._restorers, chunks):
            yield None if kept is None else partial(self._adopt, fresh, kept)

    def _adopt(self, fresh: Store, kept: Chunks) -> None:
        self._chunks = kept
        self.store.adopt(fresh)

    def _apply(self, entry: Any) -> Any:
        data: bytes = entry.data or b""
        if entry.extensions:
            joined = self._chunks.add(entry.term, entry.extensions, data)
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


def _merge(parts: Iterable[Mapping[int, Any]]) -> dict[int, Any]:
    merged: dict[int, Any] = {}
    for part in parts:
        for kind, function in part.items():
            if kind in merged:
                raise ValueError(f"two state tables claim message type {int(kind)}")
            merged[int(kind)] = function
    return merged
