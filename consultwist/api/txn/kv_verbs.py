"""What the operations of a transaction do to keys and to sessions."""

from collections.abc import Callable
from typing import Final

import msgspec.structs

from consultwist.api.kv.table import (
    KVS,
    compare_and_delete,
    compare_and_set,
    delete_key,
    delete_tree,
    lock_key,
    set_key,
    unlock_key,
)
from consultwist.api.session.table import drop_session
from consultwist.errors import ConsultwistError
from consultwist.state.transaction import Transaction
from consultwist.structs.kv import DirEntry
from consultwist.structs.txn import TxnKVOp, TxnResult, TxnSessionOp
from consultwist.wire.quoting import quoted

#: What a verb gives back: entries, with their values where it reads.
_Verb = Callable[[Transaction, DirEntry], list[DirEntry]]


def run_kv(txn: Transaction, operation: TxnKVOp) -> list[TxnResult]:
    """Run an operation on a key.

    Raises:
        ConsultwistError: where it fails; nothing it did counts then.
    """
    verb = _VERBS.get(operation.verb)
    if verb is None:
        raise ConsultwistError(f"unknown KV verb {quoted(operation.verb)}")
    return [TxnResult(kv=entry) for entry in verb(txn, operation.dir_ent)]


def run_session(txn: Transaction, operation: TxnSessionOp) -> list[TxnResult]:
    """Run an operation on a session, which can only be to delete it.

    Raises:
        ConsultwistError: where the verb is another one.
    """
    if operation.verb != "delete":
        raise ConsultwistError(f"unknown Session verb {quoted(operation.verb)}")
    drop_session(txn, operation.session.id)
    return []


def _without_value(entry: DirEntry) -> list[DirEntry]:
    return [msgspec.structs.replace(entry, value=None)]


def _find(txn: Transaction, key: str) -> DirEntry | None:
    entry: DirEntry | None = txn.table(KVS).get(key)
    return entry


def _set(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    return _without_value(set_key(txn, wanted))


def _cas(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    entry = compare_and_set(txn, wanted)
    if entry is None:
        raise ConsultwistError(
            f"failed to set key {quoted(wanted.key)}, index is stale"
        )
    return _without_value(entry)


def _lock(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    entry = lock_key(txn, wanted)
    if entry is None:
        raise ConsultwistError(
            f"failed to lock key {quoted(wanted.key)}, lock is already held"
        )
    return _without_value(entry)


def _unlock(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    entry = unlock_key(txn, wanted)
    if entry is None:
        raise ConsultwistError(
            f"failed to unlock key {quoted(wanted.key)}, "
            "lock isn't held, or is held by another session"
        )
    return _without_value(entry)


def _delete(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    delete_key(txn, wanted.key)
    return []


def _delete_cas(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    if not compare_and_delete(txn, wanted):
        raise ConsultwistError(
            f"failed to delete key {quoted(wanted.key)}, index is stale"
        )
    return []


def _delete_tree(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    delete_tree(txn, wanted.key)
    return []


def _get(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    entry = _find(txn, wanted.key)
    if entry is None:
        raise ConsultwistError(f"key {quoted(wanted.key)} doesn't exist")
    return [entry]


def _get_tree(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    return txn.table(KVS).prefix(wanted.key)


def _check_session(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    key = quoted(wanted.key)
    entry = _find(txn, wanted.key)
    if entry is None:
        raise ConsultwistError(f"failed to check session, key {key} doesn't exist")
    if entry.session != wanted.session:
        raise ConsultwistError(
            f"failed session check for key {key}, current session "
            f"{quoted(entry.session)} != {quoted(wanted.session)}"
        )
    return _without_value(entry)


def _check_index(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    key = quoted(wanted.key)
    entry = _find(txn, wanted.key)
    if entry is None:
        raise ConsultwistError(f"failed to check index, key {key} doesn't exist")
    if entry.modify_index != wanted.modify_index:
        raise ConsultwistError(
            f"failed index check for key {key}, current modify index "
            f"{entry.modify_index} != {wanted.modify_index}"
        )
    return _without_value(entry)


def _check_not_exists(txn: Transaction, wanted: DirEntry) -> list[DirEntry]:
    if _find(txn, wanted.key) is not None:
        raise ConsultwistError(f"key {quoted(wanted.key)} exists")
    return []


_VERBS: Final[dict[str, _Verb]] = {
    "set": _set,
    "cas": _cas,
    "lock": _lock,
    "unlock": _unlock,
    "delete": _delete,
    "delete-cas": _delete_cas,
    "delete-tree": _delete_tree,
    "get": _get,
    "get-tree": _get_tree,
    "check-session": _check_session,
    "check-index": _check_index,
    "check-not-exists": _check_not_exists,
}
