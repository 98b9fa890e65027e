"""The command that is a transaction: all of its operations happen, or none.

It has no tables of its own; its operations change those of keys, sessions and the
catalog.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.txn.catalog_verbs import run_check, run_node, run_service
from consultwist.api.txn.kv_verbs import run_kv, run_session
from consultwist.errors import ConsultwistError
from consultwist.interfaces import IStateTable
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.state.transaction import Transaction
from consultwist.structs.message_type import MessageType
from consultwist.structs.txn import (
    TxnError,
    TxnOp,
    TxnRequest,
    TxnResponse,
    TxnResult,
)
from consultwist.wire.struct import Struct


def run_operations(
    txn: Transaction, operations: Iterable[TxnOp]
) -> tuple[list[TxnResult], list[TxnError]]:
    """Try all operations in order; return what they gave back, and what failed.

    The caller undoes everything where anything failed.
    """
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    for number, operation in enumerate(operations):
        try:
            results.extend(_run(txn, operation))
        except ConsultwistError as error:
            errors.append(TxnError(op_index=number, what=str(error)))
    return results, errors


def _run(txn: Transaction, operation: TxnOp) -> list[TxnResult]:
    if operation.kv is not None:
        return run_kv(txn, operation.kv)
    if operation.intention is not None:
        raise ConsultwistError("intentions cannot be part of a transaction")
    if operation.node is not None:
        return run_node(txn, operation.node)
    if operation.service is not None:
        return run_service(txn, operation.service)
    if operation.check is not None:
        return run_check(txn, operation.check)
    if operation.session is not None:
        return run_session(txn, operation.session)
    raise ConsultwistError("no operation specified")


def apply_txn(txn: Transaction, data: bytes) -> TxnResponse:
    """Apply a Txn command; the errors of its operations are its result."""
    request = TxnRequest.unpack(data)
    results, errors = run_operations(txn, request.ops or ())
    if errors:
        txn.abort()
        return TxnResponse(errors=errors)
    return TxnResponse(results=results)


@implementer(IPlugin, IStateTable)
class TxnTable:
    """Transactions, as a command."""

    name = "txn"
    schemas: tuple[Schema, ...] = ()

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the command."""
        return {MessageType.TXN: apply_txn}

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:  # noqa: ARG002 - as the interface has it
        """Yield nothing."""
        return iter(())

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return nothing."""
        return {}
