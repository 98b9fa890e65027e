"""RPC methods for the user interface: whole nodes and whole services."""

from functools import partial
from typing import Any

from consultwist.acl.authorizer import FILTERED
from consultwist.api.catalog.queries import (
    check_service_nodes,
    filtered,
    gateway_services,
    service_rows,
    watched_node,
)
from consultwist.api.catalog.rows import (
    CHECKS,
    NODES,
    SERVICES,
    checks_on,
    kind_row_name,
    services_on,
)
from consultwist.api.catalog.rpc import anonymous
from consultwist.errors import ConsultwistError
from consultwist.server.blocking import Parkable
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.catalog import (
    CheckServiceNode,
    GatewayService,
    IndexedCheckServiceNodes,
    IndexedNodeDump,
    IndexedServiceDump,
    Node,
    NodeInfo,
    NodeSpecificRequest,
    ServiceDumpRequest,
    ServiceInfo,
    ServiceSpecificRequest,
)
from consultwist.structs.query import DCSpecificRequest


class Overviews(Endpoint):
    """RPC methods for the user interface."""

    name = "ui"
    service = "Internal"

    @method(NodeSpecificRequest, acl=FILTERED)
    def node_info(
        self, call: Call, request: NodeSpecificRequest
    ) -> Parkable[IndexedNodeDump]:
        """Return a node with everything on it."""
        query = partial(_node_info, call.server.store, request.node)
        return call.blocking_query(request, query, _dump_reply, kept=True)

    @method(DCSpecificRequest, acl=FILTERED)
    def node_dump(
        self, call: Call, request: DCSpecificRequest
    ) -> Parkable[IndexedNodeDump]:
        """Return all nodes with everything on them."""
        request, _ = anonymous(request)
        query = partial(_node_dump, call.server.store, request.filter)
        return call.blocking_query(request, query, _dump_reply, kept=True)

    @method(ServiceDumpRequest, acl=FILTERED)
    def service_dump(
        self, call: Call, request: ServiceDumpRequest
    ) -> Parkable[IndexedCheckServiceNodes]:
        """Return all instances, or those of one kind, with nodes and checks."""
        request, _ = anonymous(request)
        query = partial(_service_dump, call.server.store, request)
        return call.blocking_query(request, query, _instances_reply, kept=True)

    @method(ServiceSpecificRequest, acl=FILTERED)
    def gateway_service_dump(
        self, call: Call, request: ServiceSpecificRequest
    ) -> Parkable[IndexedServiceDump]:
        """Return the instances of all services that a gateway serves."""
        if not request.service_name:
            raise ConsultwistError("Must provide gateway name")
        request, _ = anonymous(request)
        query = partial(_gateway_service_dump, call.server.store, request.service_name)
        return call.blocking_query(request, query, _infos_reply, kept=True)


# --- queries -------------------------------------------------------------------------


def _node_info(
    store: Store, name: str, seen: WatchSet
) -> tuple[int, list[NodeInfo] | None]:
    index = row_index(store, seen, NODES, SERVICES, CHECKS)
    node = watched_node(store, seen, name)
    return index, None if node is None else [_info(store, node)]


def _node_dump(
    store: Store, expression: str, seen: WatchSet
) -> tuple[int, list[NodeInfo] | None]:
    index = row_index(store, seen, NODES, SERVICES, CHECKS)
    dump = [_info(store, node) for node in store.table(NODES).rows()]
    return index, filtered(expression, NodeInfo, dump) or None


def _info(store: Store, node: Node) -> NodeInfo:
    services = [row.service for row in services_on(store, node.node)]
    return NodeInfo(
        id=node.id,
        node=node.node,
        address=node.address,
        tagged_addresses=node.tagged_addresses,
        meta=node.meta,
        services=services or None,
        checks=checks_on(store, node.node) or None,
    )


def _service_dump(
    store: Store, request: ServiceDumpRequest, seen: WatchSet
) -> tuple[int, list[CheckServiceNode]]:
    table = store.table(SERVICES)
    kind = request.service_kind
    if not request.use_service_kind:
        index = row_index(store, seen, NODES, SERVICES, CHECKS)
        rows = list(table.rows())
    else:
        index = row_index(store, seen, kind_row_name(kind))
        rows = (
            table.by("kind", kind)
            if kind
            else [row for row in table.rows() if not row.service.kind]
        )
    instances = check_service_nodes(store, rows)
    return index, filtered(request.filter, CheckServiceNode, instances)


def _gateway_service_dump(
    store: Store, gateway: str, seen: WatchSet
) -> tuple[int, list[ServiceInfo]]:
    index, mappings = gateway_services(store, seen, gateway)
    dump: list[ServiceInfo] = []
    for mapping in mappings:
        name = mapping.service.name
        own, rows = service_rows(store, seen, name, checks=True)
        index = max(index, own)
        dump += _infos(check_service_nodes(store, rows), mapping)
    return index, dump


def _infos(
    instances: list[CheckServiceNode], mapping: GatewayService
) -> list[ServiceInfo]:
    """Return instances with the mapping; the mapping alone where there are none."""
    if not instances:
        return [ServiceInfo(gateway_service=mapping)]
    return [
        ServiceInfo(
            node=each.node,
            service=each.service,
            checks=each.checks,
            gateway_service=mapping,
        )
        for each in instances
    ]


# --- replies -------------------------------------------------------------------------


def _dump_reply(dump: list[NodeInfo] | None, **meta: Any) -> IndexedNodeDump:
    return IndexedNodeDump(dump=dump, **meta)


def _instances_reply(
    instances: list[CheckServiceNode], **meta: Any
) -> IndexedCheckServiceNodes:
    return IndexedCheckServiceNodes(nodes=instances, **meta)


def _infos_reply(dump: list[ServiceInfo], **meta: Any) -> IndexedServiceDump:
    return IndexedServiceDump(dump=dump, **meta)
