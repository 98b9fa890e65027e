"""The paths of the catalog: ``/v1/catalog/...``."""

from typing import Any, Final

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.catalog import shapes
from consultwist.errors import BadRequest
from consultwist.http.body import decode_body
from consultwist.http.messages import JSON, MaybeLater, Request
from consultwist.http.params import (
    near,
    node_meta,
    query_options,
    read_options,
    request_token,
)
from consultwist.http.responses import Read, cache_headers, then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.catalog import (
    DeregisterRequest,
    NodeSpecificRequest,
    RegisterRequest,
    ServiceSpecificRequest,
)
from consultwist.structs.query import DatacentersRequest, DCSpecificRequest

_NODES: Final = Read(
    "Catalog.ListNodes",
    "nodes",
    shapes.nodes,
    consistency=True,
    index_on_error=True,
)
_SERVICES: Final = Read(
    "Catalog.ListServices",
    "services",
    empty={},
    consistency=True,
    index_on_error=True,
    cached=True,
)
_SERVICE_NODES: Final = Read(
    "Catalog.ServiceNodes",
    "service_nodes",
    shapes.service_nodes,
    consistency=True,
    index_on_error=True,
    cached=True,
)
_NODE_SERVICES: Final = Read(
    "Catalog.NodeServices",
    "node_services",
    shapes.node_services,
    empty=None,
    consistency=True,
    index_on_error=True,
)
_NODE_SERVICE_LIST: Final = Read(
    "Catalog.NodeServiceList",
    "node_services",
    shapes.node_service_list,
    consistency=True,
    index_on_error=True,
)
_GATEWAY_SERVICES: Final = Read(
    "Catalog.GatewayServices",
    "services",
    empty=None,
    consistency=True,
    index_on_error=True,
)


class CatalogEndpoints:
    """The paths of the catalog, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("PUT", "/v1/catalog/register")
    def register(self, request: Request) -> MaybeLater:
        """Register a node, and a service and checks on it."""
        order = decode_body(request, RegisterRequest)
        return then(self._write("Catalog.Register", request, order), _always_true)

    @route("PUT", "/v1/catalog/deregister")
    def deregister(self, request: Request) -> MaybeLater:
        """Remove a service, a check, or a node with all that is on it."""
        order = decode_body(request, DeregisterRequest)
        return then(self._write("Catalog.Deregister", request, order), _always_true)

    @route("GET", "/v1/catalog/datacenters")
    def datacenters(self, request: Request) -> MaybeLater:
        """List the known datacenters."""
        wanted = DatacentersRequest(**read_options(request, self.agent))
        if wanted.use_cache:
            found = self.agent.cached("Catalog.ListDatacenters", wanted)
            return then(found, lambda it: JSON(it.reply, headers=cache_headers(it)))
        return self.agent.rpc("Catalog.ListDatacenters", wanted)

    @route("GET", "/v1/catalog/nodes")
    def nodes(self, request: Request) -> MaybeLater:
        """List the nodes."""
        wanted = DCSpecificRequest(**self._narrowed(request))
        wan = shapes.shows_wan(request, self.agent)
        return _NODES.ask(self.agent, wanted, shapes.wan_nodes if wan else None)

    @route("GET", "/v1/catalog/services")
    def services(self, request: Request) -> MaybeLater:
        """List the names of the services with their tags."""
        options = query_options(request, self.agent)
        wanted = DCSpecificRequest(node_meta_filters=node_meta(request), **options)
        return _SERVICES.ask(self.agent, wanted)

    @route("GET", "/v1/catalog/service/")
    def service(self, request: Request) -> MaybeLater:
        """List the instances of a service."""
        return self._service_nodes(request, connect=False)

    @route("GET", "/v1/catalog/connect/")
    def connect(self, request: Request) -> MaybeLater:
        """List the instances by which a service is reached in the mesh."""
        return self._service_nodes(request, connect=True)

    @route("GET", "/v1/catalog/node/")
    def node(self, request: Request) -> MaybeLater:
        """Show a node with its services by id."""
        return _NODE_SERVICES.ask(self.agent, self._named_node(request))

    @route("GET", "/v1/catalog/node-services/")
    def node_services(self, request: Request) -> MaybeLater:
        """Show a node with its services as a list."""
        return _NODE_SERVICE_LIST.ask(self.agent, self._named_node(request))

    @route("GET", "/v1/catalog/gateway-services/")
    def gateway_services(self, request: Request) -> MaybeLater:
        """List the services that a gateway serves."""
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing gateway name")
        wanted = ServiceSpecificRequest(service_name=request.rest, **options)
        return _GATEWAY_SERVICES.ask(self.agent, wanted)

    def _write(self, method: str, request: Request, order: Any) -> Any:
        """Send a change that the body describes; the body's datacenter counts."""
        datacenter = (
            order.datacenter or request.query.get("dc") or self.agent.config.datacenter
        )
        order = msgspec.structs.replace(
            order,
            datacenter=datacenter,
            token=request_token(request, self.agent),
        )
        return self.agent.rpc(method, order)

    def _service_nodes(self, request: Request, *, connect: bool) -> MaybeLater:
        wanted = ServiceSpecificRequest(
            connect=connect,
            **self._narrowed(request),
            **wanted_service(request),
        )
        wan = shapes.shows_wan(request, self.agent)
        show = shapes.wan_service_nodes if wan else None
        return _SERVICE_NODES.ask(self.agent, wanted, show)

    def _narrowed(self, request: Request) -> dict[str, Any]:
        return narrowed_options(request, self.agent)

    def _named_node(self, request: Request) -> NodeSpecificRequest:
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing node name")
        return NodeSpecificRequest(node=request.rest, **options)


def narrowed_options(request: Request, agent: IAgent) -> dict[str, Any]:
    """Return the fields of a read that can be sorted by distance and narrowed."""
    options = query_options(request, agent)
    if request.query:
        # Nobody's name means that the answer is the same for all who ask.
        if request.query.get("near"):
            options["source"] = near(request, agent)
        options["node_meta_filters"] = node_meta(request)
    return options


def wanted_service(request: Request) -> dict[str, Any]:
    """Return the fields of a read that name a service and the tags it must have.

    Raises:
        BadRequest: where the path names none.
    """
    if not request.rest:
        raise BadRequest("Missing service name")
    if "tag" not in request.query:
        return {"service_name": request.rest}
    return {
        "service_name": request.rest,
        "service_tags": request.values("tag"),
        "tag_filter": True,
    }


def _always_true(_: object) -> bool:
    return True


@implementer(IPlugin, IHTTPEndpoint)
class CatalogRoutes:
    """The paths of the catalog."""

    name = "catalog"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(CatalogEndpoints(agent))
