"""What is checked and filled in before a transaction goes into the log.

The state machine takes operations as they are; defaults and rules of the API are the
endpoint's business. Operations that only get something are not looked at, as in Consul;
keys always are.
"""

from collections.abc import Iterable

import msgspec.structs

from consultwist.api.catalog.registration import completed_service, refuse_bad_id
from consultwist.errors import ConsultwistError, PermissionDenied
from consultwist.server.endpoint import Call
from consultwist.structs.txn import (
    TxnCheckOp,
    TxnError,
    TxnKVOp,
    TxnNodeOp,
    TxnOp,
    TxnServiceOp,
)
from consultwist.wire.quoting import quoted


def checked(
    call: Call, operations: Iterable[TxnOp]
) -> tuple[list[TxnOp], list[TxnError]]:
    """Return the operations with defaults filled in, and what is wrong with them."""
    ready: list[TxnOp] = []
    errors: list[TxnError] = []
    for number, operation in enumerate(operations):
        try:
            ready.append(_checked(call, operation))
        except ConsultwistError as error:
            errors.append(TxnError(op_index=number, what=str(error)))
    return ready, errors


def _checked(call: Call, operation: TxnOp) -> TxnOp:
    if operation.kv is not None:
        _check_kv(call, operation.kv)
    elif operation.node is not None:
        if operation.node.verb != "get":
            _check_node(call, operation.node)
    elif operation.service is not None:
        if operation.service.verb != "get":
            service = _checked_service(call, operation.service)
            return msgspec.structs.replace(operation, service=service)
    elif operation.check is not None and operation.check.verb != "get":
        check = _checked_check(call, operation.check)
        return msgspec.structs.replace(operation, check=check)
    return operation


def _allow(call: Call, resource: str, access: str, name: str) -> None:
    if not call.authorizer.allows(resource, access, name):
        raise PermissionDenied


def _check_kv(call: Call, operation: TxnKVOp) -> None:
    key = operation.dir_ent.key
    if not key and operation.verb != "delete-tree":
        raise ConsultwistError("Must provide key")
    reads = operation.verb.startswith(("get", "check-"))
    _allow(call, "key", "read" if reads else "write", key)
    if operation.verb == "lock" and call.server.lock_delays.holds(key):
        raise ConsultwistError(f"failed to lock key {quoted(key)} due to lock delay")


def _check_node(call: Call, operation: TxnNodeOp) -> None:
    node = operation.node
    if not node.node:
        raise ConsultwistError("Must provide node")
    if node.id:
        refuse_bad_id(node.id)
    _allow(call, "node", "write", node.node)


def _checked_service(call: Call, operation: TxnServiceOp) -> TxnServiceOp:
    service = completed_service(operation.service)
    _allow(call, "service", "write", service.service)
    return msgspec.structs.replace(operation, service=service)


def _checked_check(call: Call, operation: TxnCheckOp) -> TxnCheckOp:
    check = operation.check
    if check.service_id:
        _allow(call, "service", "write", check.service_name)
    else:
        _allow(call, "node", "write", check.node)
    if check.check_id:
        return operation
    named = msgspec.structs.replace(check, check_id=check.name)
    return msgspec.structs.replace(operation, check=named)
