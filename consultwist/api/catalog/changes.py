"""How nodes, services and checks come, change and go, with all that hangs on it.

Two kinds of index rows tell readers that something changed: those of the tables, and
for each service name and each kind of services one of its own, so that a reader of one
service sleeps while others change. A change of a node or of a node's own check is a
change of every service on it.
"""

import msgspec.structs

from consultwist.api.catalog.gateways import map_to_wildcards, unmap_from_wildcards
from consultwist.api.catalog.rows import (
    CHECKS,
    COORDINATES,
    CRITICAL,
    LAST_EXTINCTION,
    NODES,
    SERF_HEALTH,
    SERVICES,
    ServiceRow,
    checks_on,
    compact_check,
    compact_node,
    connect_row_name,
    connects_to,
    find_check,
    find_node,
    find_service,
    find_service_row,
    kind_row_name,
    node_key,
    normal_service,
    place_key,
    service_row_name,
    services_on,
    shared_text,
)
from consultwist.api.session.table import (
    destroy_node_sessions,
    invalidate_check_sessions,
)
from consultwist.errors import ConsultwistError
from consultwist.state.transaction import Transaction
from consultwist.structs.catalog import HealthCheck, Node, NodeService
from consultwist.structs.service_rules import meta_problem
from consultwist.wire.quoting import quoted

_MISSING_NODE = "Missing node registration"
_MISSING_SERVICE = "Missing service registration"
_NO_KEY = "object missing primary index"


# --- nodes ---------------------------------------------------------------------------


def ensure_node(txn: Transaction, node: Node, *, restoring: bool = False) -> Node:
    """Store a node; one with a known id and another name is renamed.

    Args:
        txn: the transaction.
        node: the node; its indexes count only where it is restored.
        restoring: whether the node comes from a snapshot.

    Returns:
        The node as stored. An equal one stays as it is, indexes too.

    Raises:
        ConsultwistError: where the name belongs to another node that is alive.
    """
    existing = _claim_name(txn, node) if node.id else None
    if existing is None:
        existing = find_node(txn, node.node)
    created = modified = txn.index
    if existing is not None:
        created = existing.create_index
        if _same_node(existing, node):
            return existing
    elif restoring and node.create_index:
        created, modified = node.create_index, node.modify_index
    stored = compact_node(node, create_index=created, modify_index=modified)
    txn.put(NODES, stored)
    txn.max_index(NODES, modified)
    if existing is not None:
        _touch_services_of(txn, node.node)
    return stored


def delete_node(txn: Transaction, name: str) -> None:
    """Remove a node with all that is on it; a missing one changes nothing."""
    if find_node(txn, name) is None:
        return
    rows = services_on(txn, name)
    for row in rows:
        _touch_service(txn, row.service)
    for row in rows:
        delete_service(txn, name, row.service.id)
    for check in checks_on(txn, name):
        delete_check(txn, name, check.check_id)
    _delete_coordinates(txn, name)
    txn.delete(NODES, node_key(name))
    txn.set_index(NODES)
    destroy_node_sessions(txn, name)


def _claim_name(txn: Transaction, node: Node) -> Node | None:
    """Return the node with this id, after its old name was given up for the new one."""
    found = txn.table(NODES).by("id", node.id.lower())
    if not found:
        problem = _name_problem(txn, node, may_take_over=True)
        if problem:
            raise ConsultwistError(
                f"Error while renaming Node ID: {quoted(node.id)}: {problem}"
            )
        return None
    existing: Node = found[0]
    if existing.node != node.node:
        problem = _name_problem(txn, node, may_take_over=False)
        if problem:
            raise ConsultwistError(
                f"Error while renaming Node ID: {quoted(node.id)} ({node.address}): "
                f"{problem}"
            )
        delete_node(txn, existing.node)
    return existing


def _name_problem(txn: Transaction, node: Node, *, may_take_over: bool) -> str:
    """Tell who holds the name of a node; nothing where it may have the name.

    Args:
        txn: the transaction.
        node: the node that wants the name.
        may_take_over: whether the name of a node without id is free.
    """
    holder = find_node(txn, node.node)
    if holder is None or holder.id == node.id or (may_take_over and not holder.id):
        return ""
    health = find_check(txn, holder.node, SERF_HEALTH)
    if health is None or health.status == CRITICAL:
        return ""
    return (
        f"Node name {node.node} is reserved by node {holder.id} "
        f"with name {holder.node} ({holder.address})"
    )


def _same_node(existing: Node, node: Node) -> bool:
    return existing == msgspec.structs.replace(
        node,
        create_index=existing.create_index,
        modify_index=existing.modify_index,
    )


def _delete_coordinates(txn: Transaction, name: str) -> None:
    if COORDINATES not in txn.store.tables:
        return
    table = txn.table(COORDINATES)
    rows = table.beginning(name.lower())
    for row in rows:
        txn.delete(COORDINATES, table.schema.key(row))
    if rows:
        txn.set_index(COORDINATES)


# --- services ------------------------------------------------------------------------


def ensure_service(
    txn: Transaction, node: str, service: NodeService, *, restoring: bool = False
) -> NodeService:
    """Store an instance on a node.

    Returns:
        The instance as stored. An equal one stays as it is, indexes too.

    Raises:
        ConsultwistError: where its metadata is bad or the node does not exist.
    """
    problem = meta_problem(service.meta, service.kind)
    if problem:
        raise ConsultwistError(
            f"Invalid Service Meta for node {node} and serviceID {service.id}: "
            f"{problem}"
        )
    map_to_wildcards(txn, service)
    if find_node(txn, node) is None:
        raise ConsultwistError(_MISSING_NODE)
    if not service.id:
        raise ConsultwistError(f"failed inserting service: {_NO_KEY}")
    existing = find_service_row(txn, node, service.id)
    stored = _indexed_service(txn, service, existing, restoring=restoring)
    row = ServiceRow(node=shared_text(node), service=stored)
    if row == existing:
        return existing.service
    if existing is not None and not restoring:
        stored = msgspec.structs.replace(stored, modify_index=txn.index)
        row = ServiceRow(node=row.node, service=stored)
        _wake_former(txn, existing, row)
    txn.put(SERVICES, row)
    txn.max_index(SERVICES, stored.modify_index)
    _touch_service(txn, stored, stored.modify_index)
    _wake_around(txn, row)
    return stored


def _indexed_service(
    txn: Transaction,
    service: NodeService,
    existing: ServiceRow | None,
    *,
    restoring: bool,
) -> NodeService:
    """Return an instance as it would be kept if nothing about it had changed."""
    created = modified = txn.index
    if existing is not None:
        created = existing.service.create_index
        modified = existing.service.modify_index
    elif restoring:
        created, modified = service.create_index, service.modify_index
    return normal_service(service, create_index=created, modify_index=modified)


def _wake_former(txn: Transaction, old: ServiceRow, new: ServiceRow) -> None:
    """Wake the readers of what an instance was before it changed name or kind.

    The index rows of the old name and kind stay as they are, as in Consul; answers that
    were kept must go nevertheless.
    """
    if old.service.service.lower() != new.service.service.lower():
        txn.touch_index(service_row_name(old.service.service))
    if old.service.kind != new.service.kind:
        txn.touch_index(kind_row_name(old.service.kind))
    if connects_to(old) != connects_to(new):
        _wake_around(txn, old)


def _wake_around(txn: Transaction, row: ServiceRow) -> None:
    """Wake the readers of an instance's node and of the service that it stands for."""
    txn.touch_key(NODES, node_key(row.node))
    behind = connects_to(row)
    if behind is not None:
        txn.touch_index(connect_row_name(behind))


def delete_service(txn: Transaction, node: str, service_id: str) -> None:
    """Remove an instance and its checks; a missing one changes nothing."""
    row = find_service_row(txn, node, service_id)
    if row is None:
        return
    service = row.service
    checks = txn.table(CHECKS).by("instance", place_key(node, service_id))
    for check in checks:
        delete_check(txn, node, check.check_id)
    txn.set_index(CHECKS)
    txn.delete(SERVICES, place_key(node, service_id))
    txn.max_index(SERVICES)
    txn.max_index(kind_row_name(service.kind))
    _wake_around(txn, row)
    if txn.table(SERVICES).has("service", service.service.lower()):
        txn.max_index(service_row_name(service.service))
    else:
        txn.delete_index(service_row_name(service.service))
        txn.set_index(LAST_EXTINCTION)
        unmap_from_wildcards(txn, service.service)


def _touch_service(
    txn: Transaction, service: NodeService, index: int | None = None
) -> None:
    txn.max_index(service_row_name(service.service), index)
    txn.max_index(kind_row_name(service.kind), index)


def _touch_services_of(txn: Transaction, node: str) -> None:
    for row in services_on(txn, node):
        _touch_service(txn, row.service)


# --- checks --------------------------------------------------------------------------


def ensure_check(
    txn: Transaction, check: HealthCheck, *, restoring: bool = False
) -> HealthCheck:
    """Store a check of a node or of a service on it.

    A check that is critical ends the sessions that depend on it, changed or not. The
    index row of checks moves with every call.

    Returns:
        The check as stored. The indexes of an equal one stay as they are.

    Raises:
        ConsultwistError: where its node or its service does not exist.
    """
    if find_node(txn, check.node) is None:
        raise ConsultwistError(_MISSING_NODE)
    service = None
    if check.service_id:
        service = find_service(txn, check.node, check.service_id)
        if service is None:
            raise ConsultwistError(_MISSING_SERVICE)
    existing = find_check(txn, check.node, check.check_id)
    stored = _indexed_check(txn, check, service, existing, restoring=restoring)
    modified = existing is None or not _same_check(existing, stored)
    if modified:
        if existing is not None and not restoring:
            stored = msgspec.structs.replace(stored, modify_index=txn.index)
        _touch_checked(txn, stored, service)
    if stored.status == CRITICAL:
        invalidate_check_sessions(txn, stored.node, stored.check_id)
    if not stored.check_id:
        raise ConsultwistError(f"failed inserting check: {_NO_KEY}")
    if stored != existing:
        txn.put(CHECKS, stored)
        if not modified:
            _wake_readers(txn, stored, service)
    txn.set_index(CHECKS)
    return stored


def _indexed_check(
    txn: Transaction,
    check: HealthCheck,
    service: NodeService | None,
    existing: HealthCheck | None,
    *,
    restoring: bool,
) -> HealthCheck:
    """Return a check as it would be kept if nothing about it had changed."""
    created = modified = txn.index
    if existing is not None:
        created, modified = existing.create_index, existing.modify_index
    elif restoring:
        created, modified = check.create_index, check.modify_index
    name, tags = check.service_name, check.service_tags
    if service is not None:
        name, tags = service.service, service.tags
    return compact_check(
        check,
        status=shared_text(check.status or CRITICAL),
        service_name=shared_text(name),
        service_tags=tags,
        create_index=created,
        modify_index=modified,
    )


def _same_check(existing: HealthCheck, check: HealthCheck) -> bool:
    """Tell whether two checks agree in what counts as a change: not in the type."""
    if existing.type != check.type:
        check = msgspec.structs.replace(check, type=existing.type)
    return existing == check


def _touch_checked(
    txn: Transaction, check: HealthCheck, service: NodeService | None
) -> None:
    if service is not None:
        _touch_service(txn, service)
    else:
        _touch_services_of(txn, check.node)


def _wake_readers(
    txn: Transaction, check: HealthCheck, service: NodeService | None
) -> None:
    """Wake the readers of what a check concerns, without moving their index."""
    concerned = (
        [service]
        if service is not None
        else [row.service for row in services_on(txn, check.node)]
    )
    for each in concerned:
        txn.touch_index(service_row_name(each.service))
        txn.touch_index(kind_row_name(each.kind))


def delete_check(txn: Transaction, node: str, check_id: str) -> None:
    """Remove a check; the sessions that depend on it end. A missing one is no error."""
    existing = find_check(txn, node, check_id)
    if existing is None:
        return
    if existing.service_id:
        txn.max_index(service_row_name(existing.service_name))
        service = find_service(txn, node, existing.service_id)
        if service is not None:
            txn.max_index(kind_row_name(service.kind))
    else:
        _touch_services_of(txn, node)
        txn.max_index(SERVICES)
    txn.delete(CHECKS, place_key(node, check_id))
    txn.set_index(CHECKS)
    invalidate_check_sessions(txn, node, check_id)
