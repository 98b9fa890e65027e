"""CatalogFake: a small catalog that answers the reads of DNS, without a server.

It follows what the RPC methods promise, with none of their machinery: a payload stays
the same object until something is registered.
"""

from collections.abc import Callable, Hashable
from typing import Any

import attrs
import msgspec

from consultwist.errors import NoPathToDatacenter, RPCError
from consultwist.structs.catalog import (
    CheckServiceNode,
    ConnectProxyConfig,
    HealthCheck,
    IndexedCheckServiceNodes,
    IndexedNodes,
    IndexedNodeServices,
    IndexedServiceNodes,
    Node,
    NodeService,
    NodeServices,
    NodeSpecificRequest,
    ServiceNode,
    ServiceSpecificRequest,
)
from consultwist.structs.prepared_query import (
    PreparedQueryExecuteRequest,
    PreparedQueryExecuteResponse,
    QueryDNSOptions,
)
from consultwist.structs.query import DCSpecificRequest


@attrs.define
class _Machine:
    node: Node
    services: dict[str, NodeService] = attrs.Factory(dict)
    checks: list[HealthCheck] = attrs.Factory(list)


@attrs.frozen(kw_only=True)
class QueryFake:
    """A prepared query: a service, perhaps in another datacenter."""

    service: str
    datacenter: str = ""
    ttl: str = ""
    only_passing: bool = False


class CatalogFake:
    """The catalogs of some datacenters, the first of them the one that is asked.

    Attributes:
        queries: prepared queries by name.
        exposed: by ingress gateway, the services it exposes.
        last_contact: what all replies say, in nanoseconds.
    """

    def __init__(self, *datacenters: str) -> None:
        self._machines: dict[str, dict[str, _Machine]] = {
            name: {} for name in datacenters or ("dc1",)
        }
        self._payloads: dict[Hashable, Any] = {}
        self.own = next(iter(self._machines))
        self.queries: dict[str, QueryFake] = {}
        self.exposed: dict[str, tuple[str, ...]] = {}
        self.last_contact = 0

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """Return the RPC methods that it answers."""
        return {
            "Health.ServiceNodes": self.health_service_nodes,
            "Catalog.NodeServices": self.node_services,
            "Catalog.ListNodes": self.list_nodes,
            "Catalog.ServiceNodes": self.service_nodes,
            "PreparedQuery.Execute": self.execute,
        }

    def register(
        self,
        node: Node,
        service: NodeService | None = None,
        *checks: HealthCheck,
        datacenter: str = "",
    ) -> None:
        """Put a node, an instance and checks into a catalog."""
        datacenter = datacenter or self.own
        machines = self._machines[datacenter]
        node = msgspec.structs.replace(node, datacenter=datacenter)
        machine = machines.setdefault(node.node, _Machine(node))
        machine.node = node
        if service is not None:
            machine.services[service.id or service.service] = service
        new = {check.check_id for check in checks}
        kept = [check for check in machine.checks if check.check_id not in new]
        machine.checks = [*kept, *checks]
        self._payloads.clear()

    def node(self, name: str, datacenter: str = "") -> Node:
        """Return a registered node."""
        return self._of(datacenter)[name].node

    def _payload(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._payloads:
            self._payloads[key] = make()
        return self._payloads[key]

    def _of(self, datacenter: str) -> dict[str, _Machine]:
        machines = self._machines.get(datacenter or self.own)
        if machines is None:
            raise NoPathToDatacenter
        return machines

    # --- the RPC methods -----------------------------------------------------------

    def health_service_nodes(
        self, request: ServiceSpecificRequest
    ) -> IndexedCheckServiceNodes:
        """Answer ``Health.ServiceNodes``."""
        machines = self._of(request.datacenter)
        tags = tuple(request.service_tags or ()) if request.tag_filter else ()
        key = (
            request.datacenter,
            request.service_name,
            tags,
            request.connect,
            request.ingress,
        )
        wanted = [tag.lower() for tag in tags]

        def find() -> list[CheckServiceNode]:
            return [
                _with_checks(machine, service)
                for machine in machines.values()
                for service in machine.services.values()
                if self._matches(service, request)
                and set(wanted) <= {tag.lower() for tag in service.tags or ()}
            ]

        return IndexedCheckServiceNodes(
            nodes=self._payload(key, find), last_contact=self.last_contact
        )

    def _matches(self, service: NodeService, request: ServiceSpecificRequest) -> bool:
        name = request.service_name.lower()
        if request.connect:
            proxied = service.proxy.destination_service_name.lower()
            native = service.connect.native and service.service.lower() == name
            return native or (service.kind == "connect-proxy" and proxied == name)
        if request.ingress:
            return name in self.exposed.get(service.service, ())
        return service.service.lower() == name

    def node_services(self, request: NodeSpecificRequest) -> IndexedNodeServices:
        """Answer ``Catalog.NodeServices``."""
        machines = self._of(request.datacenter)

        def find() -> NodeServices | None:
            for name, machine in machines.items():
                if name.lower() == request.node.lower():
                    return NodeServices(node=machine.node, services=machine.services)
            return None

        key = ("node", request.datacenter, request.node)
        return IndexedNodeServices(
            node_services=self._payload(key, find),
            last_contact=self.last_contact,
        )

    def list_nodes(self, request: DCSpecificRequest) -> IndexedNodes:
        """Answer ``Catalog.ListNodes``."""
        machines = self._of(request.datacenter)

        def find() -> list[Node]:
            return [machines[name].node for name in sorted(machines)]

        return IndexedNodes(
            nodes=self._payload(("nodes", request.datacenter), find),
            last_contact=self.last_contact,
        )

    def service_nodes(self, request: ServiceSpecificRequest) -> IndexedServiceNodes:
        """Answer ``Catalog.ServiceNodes`` for an address."""
        machines = self._of(request.datacenter)

        def find() -> list[ServiceNode]:
            return [
                ServiceNode(
                    node=machine.node.node,
                    service_name=service.service,
                    service_address=service.address,
                )
                for machine in machines.values()
                for service in machine.services.values()
                if service.address == request.service_address
            ]

        key = ("address", request.datacenter, request.service_address)
        return IndexedServiceNodes(
            service_nodes=self._payload(key, find), last_contact=self.last_contact
        )

    def execute(
        self, request: PreparedQueryExecuteRequest
    ) -> PreparedQueryExecuteResponse:
        """Answer ``PreparedQuery.Execute``; never from the same objects."""
        self._of(request.datacenter)
        query = self.queries.get(request.query_id_or_name.lower())
        if query is None:
            raise RPCError("Query not found")
        datacenter = query.datacenter or request.datacenter
        found = self.health_service_nodes(
            ServiceSpecificRequest(datacenter=datacenter, service_name=query.service)
        )
        bad = {"critical", "warning"} if query.only_passing else {"critical"}
        return PreparedQueryExecuteResponse(
            service=query.service,
            nodes=[
                instance
                for instance in found.nodes or ()
                if not any(check.status in bad for check in instance.checks or ())
            ],
            dns=QueryDNSOptions(ttl=query.ttl),
            datacenter=datacenter,
        )


def _with_checks(machine: _Machine, service: NodeService) -> CheckServiceNode:
    ident = service.id or service.service
    checks = [check for check in machine.checks if check.service_id in ("", ident)]
    return CheckServiceNode(node=machine.node, service=service, checks=checks)


def proxy_of(service: str, **fields: Any) -> NodeService:
    """Return a mesh proxy in front of a service."""
    return NodeService(
        kind="connect-proxy",
        proxy=ConnectProxyConfig(destination_service_name=service),
        **fields,
    )
