"""RPC methods of transactions."""

from collections.abc import Iterable

import msgspec.structs
from twisted.internet.defer import Deferred

from consultwist.acl.authorizer import FILTERED
from consultwist.api.txn.checks_before import checked
from consultwist.api.txn.table import run_operations
from consultwist.errors import ConsultwistError
from consultwist.server.blocking import Parkable
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.structs.message_type import MessageType
from consultwist.structs.txn import (
    TxnOp,
    TxnReadRequest,
    TxnReadResponse,
    TxnRequest,
    TxnResponse,
)


class Transactions(Endpoint):
    """RPC methods of transactions.

    What an operation may not do is an error of that operation, no refusal of the call,
    so both methods look at each operation themselves.
    """

    name = "Txn"

    @method(TxnRequest, acl=FILTERED, write=True)
    def apply(self, call: Call, request: TxnRequest) -> Parkable[TxnResponse]:
        """Run operations, all or none; they may write."""
        operations, errors = checked(call, request.ops or ())
        if errors:
            return TxnResponse(errors=errors)
        done: Deferred[TxnResponse] = call.server.raft_apply(
            MessageType.TXN, msgspec.structs.replace(request, ops=operations)
        )
        return done

    @method(TxnReadRequest, acl=FILTERED)
    def read(self, call: Call, request: TxnReadRequest) -> Parkable[TxnReadResponse]:
        """Run operations that only read, at this server's state."""
        if request.require_consistent:
            ensured = call.server.ensure_consistent()
            if isinstance(ensured, Deferred):
                return ensured.addCallback(lambda _: _read(call, request))
        return _read(call, request)


def _read(call: Call, request: TxnReadRequest) -> TxnReadResponse:
    known_leader, last_contact = call.server.read_meta()
    results = None
    operations, errors = checked(call, request.ops or ())
    if not errors:
        _refuse_writes(operations)
        results, errors = run_operations(call.server.store.begin(0), operations)
    return TxnReadResponse(
        results=None if errors else results,
        errors=errors or None,
        known_leader=known_leader,
        last_contact=last_contact,
    )


def _refuse_writes(operations: Iterable[TxnOp]) -> None:
    """Refuse what would write outside the log; our own agents never send that.

    Raises:
        ConsultwistError: where an operation could change something.
    """
    if any(operation.writes for operation in operations):
        raise ConsultwistError("cannot insert in read-only transaction")
