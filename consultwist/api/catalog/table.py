"""The catalog's commands and its part of snapshots.

Registering puts a node, perhaps an instance and some checks there in one go; taking
out goes by the most special name given. What the single changes do stands in
`changes`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.catalog.changes import (
    delete_check,
    delete_node,
    delete_service,
    ensure_check,
    ensure_node,
    ensure_service,
)
from consultwist.api.catalog.rows import (
    CHECKS,
    NODES,
    SCHEMAS,
    SERVICES,
    ServiceRow,
    find_node,
    find_service,
    node_key,
)
from consultwist.errors import ConsultwistError
from consultwist.interfaces import IStateTable
from consultwist.state.store import Store
from consultwist.state.transaction import Transaction
from consultwist.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    Node,
    NodeService,
    RegisterRequest,
)
from consultwist.structs.message_type import MessageType
from consultwist.wire.quoting import quoted
from consultwist.wire.struct import Struct

__all__ = [
    "CatalogTable",
    "delete_check",
    "delete_node",
    "delete_service",
    "ensure_check",
    "ensure_node",
    "ensure_service",
]

_NODE_FIELDS: Final = ("id", "node", "address", "datacenter", "tagged_addresses")


def apply_register(txn: Transaction, data: bytes) -> None:
    """Apply a Register command."""
    _register(txn, RegisterRequest.unpack(data), restoring=False)


def apply_deregister(txn: Transaction, data: bytes) -> None:
    """Apply a Deregister command; what is missing is no error."""
    request = DeregisterRequest.unpack(data)
    if request.service_id:
        delete_service(txn, request.node, request.service_id)
    elif request.check_id:
        delete_check(txn, request.node, request.check_id)
    else:
        delete_node(txn, request.node)


def _register(txn: Transaction, request: RegisterRequest, *, restoring: bool) -> None:
    if changes_node(find_node(txn, request.node), request):
        try:
            ensure_node(txn, requested_node(request), restoring=restoring)
        except ConsultwistError as error:
            raise ConsultwistError(f"failed inserting node: {error}") from error
    service = request.service
    if service is not None and _changes_service(txn, request.node, service):
        try:
            ensure_service(txn, request.node, service, restoring=restoring)
        except ConsultwistError as error:
            raise ConsultwistError(f"failed inserting service: {error}") from error
    if request.check is not None:
        _register_check(txn, request.node, request.check, restoring=restoring)
    for check in request.checks or ():
        _register_check(txn, request.node, check, restoring=restoring)


def requested_node(request: RegisterRequest) -> Node:
    """Return the node that a registration asks for."""
    return Node(
        id=request.id,
        node=request.node,
        address=request.address,
        datacenter=request.datacenter,
        tagged_addresses=request.tagged_addresses,
        meta=request.node_meta,
        create_index=request.create_index,
        modify_index=request.modify_index,
    )


def changes_node(existing: Node | None, request: RegisterRequest) -> bool:
    """Tell whether a registration makes or changes the node."""
    if existing is None:
        return True
    return not request.skip_node_update and (
        existing.meta != request.node_meta
        or any(
            getattr(existing, name) != getattr(request, name) for name in _NODE_FIELDS
        )
    )


def _changes_service(txn: Transaction, node: str, service: NodeService) -> bool:
    existing = find_service(txn, node, service.id)
    return existing != msgspec.structs.replace(
        service,
        create_index=0 if existing is None else existing.create_index,
        modify_index=0 if existing is None else existing.modify_index,
        locally_registered_as_sidecar=False,
    )


def _register_check(
    txn: Transaction, node: str, check: HealthCheck, *, restoring: bool
) -> None:
    if check.node != node:
        raise ConsultwistError(
            f"check node {quoted(check.node)} does not match node {quoted(node)}"
        )
    try:
        ensure_check(txn, check, restoring=restoring)
    except ConsultwistError as error:
        raise ConsultwistError(
            f"failed inserting check: {error} on node {quoted(check.node)}"
        ) from error


# --- snapshots -----------------------------------------------------------------------


def _records(
    nodes: list[Node], services: list[ServiceRow], checks: list[HealthCheck]
) -> Iterator[RegisterRequest]:
    """Yield a record for each node, followed by one for each thing on it.

    All three lists are in the order of their keys, so what belongs to a node stands
    together and in the order of the nodes.
    """
    service_at = check_at = 0
    for node in nodes:
        key = node_key(node.node)
        yield _record(node)
        while service_at < len(services) and services[service_at].node.lower() == key:
            yield _record(node, service=services[service_at].service)
            service_at += 1
        while check_at < len(checks) and checks[check_at].node.lower() == key:
            yield _record(node, check=checks[check_at])
            check_at += 1


def _record(node: Node, **parts: Any) -> RegisterRequest:
    return RegisterRequest(
        id=node.id,
        node=node.node,
        address=node.address,
        datacenter=node.datacenter,
        tagged_addresses=node.tagged_addresses,
        node_meta=node.meta,
        create_index=node.create_index,
        modify_index=node.modify_index,
        **parts,
    )


def _restore(txn: Transaction, raw: Any) -> None:
    _register(txn, RegisterRequest.from_raw(raw), restoring=True)


@implementer(IPlugin, IStateTable)
class CatalogTable:
    """The state of the catalog; the mappings of gateways are derived, not persisted."""

    name = "catalog"
    schemas = SCHEMAS

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the commands of the catalog."""
        return {
            MessageType.REGISTER: apply_register,
            MessageType.DEREGISTER: apply_deregister,
        }

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:
        """Yield nodes with what is on them, node by node."""
        rows = [list(store.table(name).rows()) for name in (NODES, SERVICES, CHECKS)]
        yield MessageType.REGISTER, _records(*rows)

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return what puts a registration back."""
        return {MessageType.REGISTER: _restore}
