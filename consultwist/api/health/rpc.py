"""RPC methods that tell the health of nodes and services."""

from functools import partial
from typing import Any, Final

from consultwist.acl.authorizer import FILTERED
from consultwist.api.catalog.queries import (
    Found,
    check_service_nodes,
    connect_rows,
    filtered,
    has_meta,
    ingress_rows,
    service_index,
    service_rows,
    tagged,
)
from consultwist.api.catalog.rows import CHECKS, NODES, checks_on
from consultwist.api.catalog.rpc import anonymous
from consultwist.errors import ConsultwistError
from consultwist.server.blocking import Parkable
from consultwist.server.distance import sort_by_distance
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.catalog import (
    CheckServiceNode,
    ChecksInStateRequest,
    HealthCheck,
    IndexedCheckServiceNodes,
    IndexedHealthChecks,
    NodeSpecificRequest,
    ServiceSpecificRequest,
)

#: Asks for checks in every state.
ANY: Final = "any"


class Health(Endpoint):
    """RPC methods that tell the health of nodes and services."""

    name = "Health"

    @method(ChecksInStateRequest, acl=FILTERED)
    def checks_in_state(
        self, call: Call, request: ChecksInStateRequest
    ) -> Parkable[IndexedHealthChecks]:
        """Return all checks in a state."""
        request, kept = anonymous(request)
        query = partial(_checks_in_state, call.server.store, request)
        return call.blocking_query(request, query, _checks_reply, kept=kept)

    @method(NodeSpecificRequest, acl=FILTERED)
    def node_checks(
        self, call: Call, request: NodeSpecificRequest
    ) -> Parkable[IndexedHealthChecks]:
        """Return the checks of a node and of the services on it."""
        query = partial(_node_checks, call.server.store, request)
        return call.blocking_query(request, query, _checks_reply, kept=True)

    @method(ServiceSpecificRequest, acl=FILTERED)
    def service_checks(
        self, call: Call, request: ServiceSpecificRequest
    ) -> Parkable[IndexedHealthChecks]:
        """Return the checks of a service."""
        request, kept = anonymous(request)
        query = partial(_service_checks, call.server.store, request)
        return call.blocking_query(request, query, _checks_reply, kept=kept)

    @method(ServiceSpecificRequest, acl=FILTERED)
    def service_nodes(
        self, call: Call, request: ServiceSpecificRequest
    ) -> Parkable[IndexedCheckServiceNodes]:
        """Return the instances of a service with their nodes and checks."""
        if not request.service_name:
            raise ConsultwistError("Must provide service name")
        request, kept = anonymous(request)
        query = partial(_service_nodes, call.server.store, request)
        return call.blocking_query(request, query, _instances_reply, kept=kept)


# --- queries -------------------------------------------------------------------------


def _checks_in_state(
    store: Store, request: ChecksInStateRequest, seen: WatchSet
) -> tuple[int, list[HealthCheck]]:
    index = row_index(store, seen, CHECKS)
    table = store.table(CHECKS)
    in_state: list[HealthCheck] = (
        list(table.rows())
        if request.state == ANY
        else table.by("status", request.state)
    )
    return index, _narrowed(store, request, in_state, seen)


def _node_checks(
    store: Store, request: NodeSpecificRequest, seen: WatchSet
) -> tuple[int, list[HealthCheck]]:
    index = row_index(store, seen, CHECKS)
    checks = checks_on(store, request.node)
    return index, filtered(request.filter, HealthCheck, checks)


def _service_checks(
    store: Store, request: ServiceSpecificRequest, seen: WatchSet
) -> tuple[int, list[HealthCheck]]:
    name = request.service_name
    checks: list[HealthCheck] = store.table(CHECKS).by("service", name.lower())
    if request.node_meta_filters:
        index = service_index(store, seen, name, exists=True, checks=True)
    else:
        index = row_index(store, seen, CHECKS)
    return index, _narrowed(store, request, checks, seen)


def _narrowed(
    store: Store,
    request: ChecksInStateRequest | ServiceSpecificRequest,
    checks: list[HealthCheck],
    seen: WatchSet,
) -> list[HealthCheck]:
    wanted = request.node_meta_filters
    if wanted:
        row_index(store, seen, NODES)
        nodes = store.table(NODES)
        checks = [
            each
            for each in checks
            if has_meta(nodes.get(each.node.lower()).meta, wanted)
        ]
    checks = filtered(request.filter, HealthCheck, checks)
    return sort_by_distance(
        store, request.source, request.datacenter, checks, lambda each: each.node
    )


def _service_nodes(
    store: Store, request: ServiceSpecificRequest, seen: WatchSet
) -> tuple[int, list[CheckServiceNode]]:
    index, rows = _requested_rows(store, request, seen)
    found = check_service_nodes(store, rows)
    wanted = request.node_meta_filters
    if wanted:
        found = [each for each in found if has_meta(_meta(each), wanted)]
    found = filtered(request.filter, CheckServiceNode, found)
    return index, sort_by_distance(
        store, request.source, request.datacenter, found, _node_name
    )


def _requested_rows(
    store: Store, request: ServiceSpecificRequest, seen: WatchSet
) -> Found:
    name = request.service_name
    if request.connect:
        return connect_rows(store, seen, name, checks=True)
    if request.ingress:
        return ingress_rows(store, seen, name)
    index, rows = service_rows(store, seen, name, checks=True)
    return index, tagged(rows, request)


def _meta(instance: CheckServiceNode) -> dict[str, str] | None:
    return None if instance.node is None else instance.node.meta


def _node_name(instance: CheckServiceNode) -> str:
    return "" if instance.node is None else instance.node.node


# --- replies -------------------------------------------------------------------------


def _checks_reply(checks: list[HealthCheck], **meta: Any) -> IndexedHealthChecks:
    return IndexedHealthChecks(health_checks=checks, **meta)


def _instances_reply(
    instances: list[CheckServiceNode], **meta: Any
) -> IndexedCheckServiceNodes:
    return IndexedCheckServiceNodes(nodes=instances, **meta)
