"""The tables of keys and of tombstones, and the commands that change them.

A tombstone remembers at which index a key, or a whole tree, was deleted, so that a
reader of a prefix sees its index move although the key is gone. The leader has old
tombstones reaped (`api/kv/leader.py`).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import ConsultwistError
from consultwist.interfaces import IStateTable
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.state.transaction import Transaction
from consultwist.structs.kv import DirEntry, KVSRequest, TombstoneRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import session_key
from consultwist.wire.struct import Struct

KVS: Final = "kvs"
TOMBSTONES: Final = "tombstones"


@attrs.frozen
class TombstoneSet:
    """A note: a tombstone was made at this index, to be reaped some day."""

    index: int


class InvalidSession(ConsultwistError):
    """A lock names a session that does not exist."""


def set_key(txn: Transaction, entry: DirEntry) -> DirEntry:
    """Store a key as a plain write does: its session stays, the lock index is given.

    Returns:
        The entry as stored. Nothing changes, no index either, where it is equal.
    """
    existing: DirEntry | None = txn.table(KVS).get(entry.key)
    session = existing.session if existing is not None else ""
    return _store(txn, existing, entry, session, entry.lock_index)


def delete_key(txn: Transaction, key: str) -> None:
    """Delete a key, leaving a tombstone; a missing key changes nothing."""
    if txn.table(KVS).get(key) is None:
        return
    _bury(txn, key)
    txn.delete(KVS, key)
    txn.set_index(KVS)


def delete_tree(txn: Transaction, start: str) -> None:
    """Delete all keys with a prefix; one tombstone stands for the prefix itself."""
    keys = list(txn.table(KVS).prefix_keys(start))
    if not keys:
        return
    for key in keys:
        txn.delete(KVS, key)
    if start:
        _bury(txn, start)
    txn.set_index(KVS)


def compare_and_set(txn: Transaction, entry: DirEntry) -> DirEntry | None:
    """Store a key if its modify index is the entry's; 0 means: if it is absent.

    Returns:
        The entry as stored, or None where the comparison failed.
    """
    existing = txn.table(KVS).get(entry.key)
    if not _matches(existing, entry.modify_index):
        return None
    return set_key(txn, entry)


def compare_and_delete(txn: Transaction, entry: DirEntry) -> bool:
    """Delete a key if its modify index is the entry's; an absent key is a success."""
    existing = txn.table(KVS).get(entry.key)
    if existing is None:
        return True
    if existing.modify_index != entry.modify_index:
        return False
    delete_key(txn, entry.key)
    return True


def lock_key(txn: Transaction, entry: DirEntry) -> DirEntry | None:
    """Acquire a key for the entry's session and store its value.

    Returns:
        The entry as stored, or None where another session holds the key.

    Raises:
        InvalidSession: where no session is named or it does not exist.
    """
    if not entry.session:
        raise InvalidSession("missing session")
    if txn.table("sessions").get(session_key(entry.session)) is None:
        raise InvalidSession(f'invalid session "{entry.session}"')
    existing: DirEntry | None = txn.table(KVS).get(entry.key)
    if existing is None:
        lock_index = 1
    elif existing.session == entry.session:
        lock_index = existing.lock_index
    elif existing.session:
        return None
    else:
        lock_index = existing.lock_index + 1
    return _store(txn, existing, entry, entry.session, lock_index)


def unlock_key(txn: Transaction, entry: DirEntry) -> DirEntry | None:
    """Release a key that the entry's session holds, and store its value.

    Returns:
        The entry as stored, or None where that session does not hold the key.

    Raises:
        InvalidSession: where no session is named.
    """
    if not entry.session:
        raise InvalidSession("missing session")
    existing: DirEntry | None = txn.table(KVS).get(entry.key)
    if existing is None or existing.session != entry.session:
        return None
    return _store(txn, existing, entry, "", existing.lock_index)


def release_key(txn: Transaction, entry: DirEntry) -> None:
    """Take the session off a key, because the session ended."""
    _store(txn, entry, entry, "", entry.lock_index)


def held_by(txn: Transaction, session_id: str) -> list[DirEntry]:
    """Return the keys that a session holds, in key order."""
    return txn.table(KVS).by("session", session_key(session_id))


def _matches(existing: DirEntry | None, modify_index: int) -> bool:
    if modify_index == 0 or existing is None:
        return modify_index == 0 and existing is None
    return existing.modify_index == modify_index


def _store(
    txn: Transaction,
    existing: DirEntry | None,
    entry: DirEntry,
    session: str,
    lock_index: int,
) -> DirEntry:
    """Store key, value and flags of an entry with the given lock."""
    if existing is not None and (
        existing.lock_index == lock_index
        and existing.flags == entry.flags
        and (existing.value or b"") == (entry.value or b"")
        and existing.session == session
    ):
        return existing
    stored = DirEntry(
        lock_index=lock_index,
        key=entry.key,
        flags=entry.flags,
        value=entry.value,
        session=session,
        create_index=txn.index if existing is None else existing.create_index,
        modify_index=txn.index,
    )
    txn.put(KVS, stored)
    txn.set_index(KVS)
    return stored


def _bury(txn: Transaction, key: str) -> None:
    txn.put(TOMBSTONES, DirEntry(key=key, modify_index=txn.index))
    txn.set_index(TOMBSTONES)
    txn.note(TombstoneSet(txn.index))


# --- commands ----------------------------------------------------------------------


def _set(txn: Transaction, entry: DirEntry) -> bool:
    set_key(txn, entry)
    return True


def _delete(txn: Transaction, entry: DirEntry) -> bool:
    delete_key(txn, entry.key)
    return True


def _delete_tree(txn: Transaction, entry: DirEntry) -> bool:
    delete_tree(txn, entry.key)
    return True


_OPERATIONS: Final[dict[str, Callable[[Transaction, DirEntry], bool]]] = {
    "set": _set,
    "delete": _delete,
    "delete-tree": _delete_tree,
    "delete-cas": compare_and_delete,
    "cas": lambda txn, entry: compare_and_set(txn, entry) is not None,
    "lock": lambda txn, entry: lock_key(txn, entry) is not None,
    "unlock": lambda txn, entry: unlock_key(txn, entry) is not None,
}


def apply_kvs(txn: Transaction, data: bytes) -> bool:
    """Apply a KVS command; tells whether it was done."""
    request = KVSRequest.unpack(data)
    operation = _OPERATIONS.get(request.op)
    if operation is None:
        raise ConsultwistError(f"Invalid KVS operation '{request.op}'")
    return operation(txn, request.dir_ent)


def apply_tombstone(txn: Transaction, data: bytes) -> None:
    """Apply a Tombstone command: forget those at or below an index."""
    request = TombstoneRequest.unpack(data)
    if request.op != "reap":
        raise ConsultwistError(f"Invalid Tombstone operation '{request.op}'")
    table = txn.table(TOMBSTONES)
    reaped = [row.key for row in table.rows() if row.modify_index <= request.reap_index]
    for key in reaped:
        txn.delete(TOMBSTONES, key)


def _holder(entry: DirEntry) -> str | None:
    return session_key(entry.session) if entry.session else None


def _restore(table: str) -> Callable[[Transaction, Any], None]:
    def restore(txn: Transaction, raw: Any) -> None:
        entry = DirEntry.from_raw(raw)
        txn.put(table, entry)
        txn.max_index(table, entry.modify_index)

    return restore


@implementer(IPlugin, IStateTable)
class KVTable:
    """The state of the key/value store."""

    name = "kv"
    schemas = (
        Schema(
            name=KVS,
            key=lambda entry: entry.key,
            indexes={"session": _holder},
            watched=True,
        ),
        Schema(name=TOMBSTONES, key=lambda entry: entry.key, watched=True),
    )

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the commands of the key/value store."""
        return {
            MessageType.KVS: apply_kvs,
            MessageType.TOMBSTONE: apply_tombstone,
        }

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:
        """Yield the keys and the tombstones."""
        yield MessageType.KVS, iter(store.table(KVS).frozen())
        yield MessageType.TOMBSTONE, iter(store.table(TOMBSTONES).frozen())

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return what puts keys and tombstones back."""
        return {
            MessageType.KVS: _restore(KVS),
            MessageType.TOMBSTONE: _restore(TOMBSTONES),
        }
