"""RPC methods of the catalog."""

from functools import partial
from typing import Any, Final

import msgspec.structs
from twisted.internet.defer import Deferred

from consultwist.acl.authorizer import FILTERED, PUBLIC
from consultwist.api.catalog.queries import (
    Found,
    accepting,
    connect_rows,
    filtered,
    gateway_services,
    has_meta,
    on_address,
    service_nodes,
    service_rows,
    tagged,
    watched_node,
)
from consultwist.api.catalog.registration import (
    completed,
    service_rule,
    vet,
    vet_removal,
)
from consultwist.api.catalog.rows import NODES, SERVICES, node_key, services_on
from consultwist.errors import ConsultwistError
from consultwist.server.blocking import Parkable
from consultwist.server.distance import sort_by_distance
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.state import watch
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.catalog import (
    DeregisterRequest,
    GatewayService,
    IndexedGatewayServices,
    IndexedNodes,
    IndexedNodeServiceList,
    IndexedNodeServices,
    IndexedServiceList,
    IndexedServiceNodes,
    IndexedServices,
    Node,
    NodeService,
    NodeServiceList,
    NodeServices,
    NodeSpecificRequest,
    RegisterRequest,
    ServiceName,
    ServiceNode,
    ServiceSpecificRequest,
)
from consultwist.structs.message_type import MessageType
from consultwist.structs.query import (
    DatacentersRequest,
    DCSpecificRequest,
    QuerySource,
)


class Catalog(Endpoint):
    """RPC methods of the catalog."""

    name = "Catalog"

    @method(RegisterRequest, acl=service_rule, write=True)
    def register(self, call: Call, request: RegisterRequest) -> Deferred[None]:
        """Register a node, and a service and checks on it."""
        request = completed(request)
        vet(call.authorizer, call.server.store, request)
        done = call.server.raft_apply(MessageType.REGISTER, request)
        return done.addCallback(_nothing)

    @method(DeregisterRequest, acl=PUBLIC, write=True)
    def deregister(self, call: Call, request: DeregisterRequest) -> Deferred[None]:
        """Remove a service, a check, or a node with all that is on it."""
        if not request.node:
            raise ConsultwistError("Must provide node")
        vet_removal(call.authorizer, call.server.store, request)
        done = call.server.raft_apply(MessageType.DEREGISTER, request)
        return done.addCallback(_nothing)

    @method(DatacentersRequest, acl=PUBLIC, local=True)
    def list_datacenters(
        self,
        call: Call,
        request: DatacentersRequest,  # noqa: ARG002 - it asks nothing more
    ) -> list[str]:
        """Return the known datacenters, the nearest first."""
        return call.server.routes.datacenters()

    @method(DCSpecificRequest, acl=FILTERED)
    def list_nodes(
        self, call: Call, request: DCSpecificRequest
    ) -> Parkable[IndexedNodes]:
        """Return the nodes."""
        request, kept = anonymous(request)
        query = partial(_nodes, call.server.store, request)
        return call.blocking_query(request, query, _nodes_reply, kept=kept)

    @method(DCSpecificRequest, acl=FILTERED)
    def list_services(
        self, call: Call, request: DCSpecificRequest
    ) -> Parkable[IndexedServices]:
        """Return the names of the services, each with all tags of its instances."""
        request, _ = anonymous(request)
        query = partial(_services, call.server.store, request.node_meta_filters)
        return call.blocking_query(request, query, _services_reply, kept=True)

    @method(DCSpecificRequest, acl=FILTERED)
    def service_list(
        self, call: Call, request: DCSpecificRequest
    ) -> Parkable[IndexedServiceList]:
        """Return the names of the services."""
        request, _ = anonymous(request)
        query = partial(_service_names, call.server.store)
        return call.blocking_query(request, query, _names_reply, kept=True)

    @method(ServiceSpecificRequest, acl=FILTERED)
    def service_nodes(
        self, call: Call, request: ServiceSpecificRequest
    ) -> Parkable[IndexedServiceNodes]:
        """Return the instances of a service with their nodes."""
        if not request.service_name and not request.service_address:
            raise ConsultwistError("Must provide service name")
        request, kept = anonymous(request)
        query = partial(_service_nodes, call.server.store, request)
        return call.blocking_query(request, query, _service_nodes_reply, kept=kept)

    @method(NodeSpecificRequest, acl=FILTERED)
    def node_services(
        self, call: Call, request: NodeSpecificRequest
    ) -> Parkable[IndexedNodeServices]:
        """Return a node and its services by id, or none."""
        _refuse_no_node(request)
        query = partial(_node_services, call.server.store, request)
        return call.blocking_query(request, query, _node_services_reply, kept=True)

    @method(NodeSpecificRequest, acl=FILTERED)
    def node_service_list(
        self, call: Call, request: NodeSpecificRequest
    ) -> Parkable[IndexedNodeServiceList]:
        """Return a node and its services as a list."""
        _refuse_no_node(request)
        query = partial(_node_service_list, call.server.store, request)
        return call.blocking_query(request, query, _service_list_reply, kept=True)

    @method(ServiceSpecificRequest, acl=FILTERED)
    def gateway_services(
        self, call: Call, request: ServiceSpecificRequest
    ) -> Parkable[IndexedGatewayServices]:
        """Return the services that a gateway serves."""
        request, _ = anonymous(request)
        query = partial(_gateway_services, call.server.store, request)
        return call.blocking_query(request, query, _gateway_reply, kept=True)


_NOBODY: Final = QuerySource()


def anonymous(request: Any) -> tuple[Any, bool]:
    """Return a request without who asks, where nothing is sorted by that.

    Returns:
        The request, and whether the answer depends on nothing but it and the tables
        that the query notes; coordinates are not noted.
    """
    source = request.source
    if source.node:
        return request, False
    if source == _NOBODY:
        return request, True
    return msgspec.structs.replace(request, source=_NOBODY), True


def _nothing(_: object) -> None:
    return None


def _refuse_no_node(request: NodeSpecificRequest) -> None:
    if not request.node:
        raise ConsultwistError("Must provide node")


# --- queries -------------------------------------------------------------------------


def _nodes(
    store: Store, request: DCSpecificRequest, seen: WatchSet
) -> tuple[int, list[Node]]:
    index = row_index(store, seen, NODES)
    wanted = request.node_meta_filters
    nodes = [node for node in store.table(NODES).rows() if has_meta(node.meta, wanted)]
    nodes = filtered(request.filter, Node, nodes)
    return index, sort_by_distance(
        store, request.source, request.datacenter, nodes, lambda node: node.node
    )


def _services(
    store: Store, wanted: dict[str, str] | None, seen: WatchSet
) -> tuple[int, dict[str, list[str]]]:
    rows = store.table(SERVICES).rows()
    if wanted:
        index = row_index(store, seen, NODES, SERVICES)
        nodes = store.table(NODES)
        rows = (r for r in rows if has_meta(nodes.get(r.node.lower()).meta, wanted))
    else:
        index = row_index(store, seen, SERVICES)
    tags: dict[str, dict[str, None]] = {}
    for row in rows:
        service = row.service
        known = tags.get(service.service)
        if known is None:
            known = tags[service.service] = {}
        for tag in service.tags or ():
            known[tag] = None
    return index, {name: list(tags[name]) for name in sorted(tags)}


def _service_names(store: Store, seen: WatchSet) -> tuple[int, list[ServiceName]]:
    index = row_index(store, seen, SERVICES)
    names = {row.service.service for row in store.table(SERVICES).rows()}
    return index, [ServiceName(name=name) for name in sorted(names)]


def _service_nodes(
    store: Store, request: ServiceSpecificRequest, seen: WatchSet
) -> tuple[int, list[ServiceNode]]:
    index, rows = _requested_rows(store, request, seen)
    wanted = request.node_meta_filters
    found = [
        each for each in service_nodes(store, rows) if has_meta(each.node_meta, wanted)
    ]
    found = filtered(request.filter, ServiceNode, found)
    return index, sort_by_distance(
        store, request.source, request.datacenter, found, lambda each: each.node
    )


def _requested_rows(
    store: Store, request: ServiceSpecificRequest, seen: WatchSet
) -> Found:
    name = request.service_name
    if request.connect:
        return connect_rows(store, seen, name, checks=False)
    if request.service_address:
        return on_address(store, seen, request.service_address)
    index, rows = service_rows(store, seen, name, checks=False)
    return index, tagged(rows, request)


def _node_services(
    store: Store, request: NodeSpecificRequest, seen: WatchSet
) -> tuple[int, NodeServices | None]:
    node = watched_node(store, seen, request.node)
    if node is None:
        return 0, None
    # The index moves with every service anywhere, what is on the node hardly ever: its
    # record is kept apart, so that it stays the same object.
    on_node = store.answer(
        partial(_services_of, store, node, request.filter),
        (NodeServices, node_key(node.node), request.filter),
    )
    return row_index(store, seen, NODES, SERVICES), on_node.payload


def _services_of(
    store: Store, node: Node, expression: str, seen: WatchSet
) -> tuple[int, NodeServices]:
    seen.add(watch.key(NODES, node_key(node.node)))
    accepts = accepting(expression, NodeService)
    services = {
        row.service.id: row.service
        for row in services_on(store, node.node)
        if accepts(row.service)
    }
    return 0, NodeServices(node=node, services=services)


def _node_service_list(
    store: Store, request: NodeSpecificRequest, seen: WatchSet
) -> tuple[int, NodeServiceList]:
    node = watched_node(store, seen, request.node)
    if node is None:
        return 0, NodeServiceList()
    accepts = accepting(request.filter, NodeService)
    services = [
        row.service for row in services_on(store, node.node) if accepts(row.service)
    ]
    found = NodeServiceList(node=node, services=services or None)
    return row_index(store, seen, NODES, SERVICES), found


def _gateway_services(
    store: Store, request: ServiceSpecificRequest, seen: WatchSet
) -> tuple[int, list[GatewayService] | None]:
    index, found = gateway_services(store, seen, request.service_name)
    return index, filtered(request.filter, GatewayService, found) or None


# --- replies -------------------------------------------------------------------------


def _nodes_reply(nodes: list[Node], **meta: Any) -> IndexedNodes:
    return IndexedNodes(nodes=nodes, **meta)


def _services_reply(services: dict[str, list[str]], **meta: Any) -> IndexedServices:
    return IndexedServices(services=services, **meta)


def _names_reply(names: list[ServiceName], **meta: Any) -> IndexedServiceList:
    return IndexedServiceList(services=names, **meta)


def _service_nodes_reply(found: list[ServiceNode], **meta: Any) -> IndexedServiceNodes:
    return IndexedServiceNodes(service_nodes=found, **meta)


def _node_services_reply(
    found: NodeServices | None, **meta: Any
) -> IndexedNodeServices:
    return IndexedNodeServices(node_services=found, **meta)


def _service_list_reply(found: NodeServiceList, **meta: Any) -> IndexedNodeServiceList:
    return IndexedNodeServiceList(node_services=found, **meta)


def _gateway_reply(
    found: list[GatewayService] | None, **meta: Any
) -> IndexedGatewayServices:
    return IndexedGatewayServices(services=found, **meta)
