"""The paths that the user interface lives on: ``/v1/internal/ui/...``."""

from collections.abc import Iterable
from typing import Any, Final

import attrs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import BadRequest
from consultwist.http.messages import Indexed, MaybeLater, Request, Response
from consultwist.http.params import query_options
from consultwist.http.responses import Read, then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.catalog import (
    CheckServiceNode,
    GatewayService,
    IndexedNodeDump,
    NodeInfo,
    NodeSpecificRequest,
    ServiceDumpRequest,
    ServiceInfo,
    ServiceSpecificRequest,
)
from consultwist.structs.query import DCSpecificRequest
from consultwist.structs.service_rules import CONNECT_PROXY

Plain = dict[str, Any]

#: The metadata that names the system that a service was brought in by.
_EXTERNAL_SOURCE: Final = "external-source"


def shown_node(node: NodeInfo) -> Plain:
    """Show a node with everything on it."""
    plain = node.to_plain()
    plain["Services"] = plain["Services"] or []
    plain["Checks"] = plain["Checks"] or []
    return plain


def _shown_nodes(found: Iterable[NodeInfo]) -> list[Plain]:
    return [shown_node(node) for node in found]


def _shown_first(found: list[NodeInfo]) -> Plain:
    return shown_node(found[0])


@attrs.define
class ServiceSummary:
    """What the user interface tells about one service: of all its instances."""

    name: str
    kind: str = ""
    tags: dict[str, None] = attrs.field(factory=dict)
    nodes: list[str] = attrs.field(factory=list)
    instance_count: int = 0
    proxy_for: dict[str, None] = attrs.field(factory=dict)
    statuses: dict[str, int] = attrs.field(factory=dict)
    external_sources: dict[str, None] = attrs.field(factory=dict)
    addresses: dict[str, None] = attrs.field(factory=dict)

    def add(self, instance: CheckServiceNode | ServiceInfo) -> None:
        """Take an instance in."""
        service = instance.service
        assert service is not None
        self.kind = service.kind
        self.instance_count += 1
        if instance.node is not None:
            self.nodes.append(instance.node.node)
        if service.kind == CONNECT_PROXY:
            self.proxy_for[service.proxy.destination_service_name] = None
        self.tags.update(dict.fromkeys(service.tags or ()))
        source = (service.meta or {}).get(_EXTERNAL_SOURCE)
        if source:
            self.external_sources[source] = None
        for check in instance.checks or ():
            self.statuses[check.status] = self.statuses.get(check.status, 0) + 1

    def to_plain(self) -> Plain:
        """Show the summary."""
        plain: Plain = {"Kind": self.kind} if self.kind else {}
        plain |= {
            "Name": self.name,
            "Tags": sorted(self.tags) or None,
            "Nodes": sorted(self.nodes),
            "InstanceCount": self.instance_count,
        }
        if self.proxy_for:
            plain["ProxyFor"] = list(self.proxy_for)
        config = {"Addresses": list(self.addresses)} if self.addresses else {}
        return plain | {
            "ChecksPassing": self.statuses.get("passing", 0),
            "ChecksWarning": self.statuses.get("warning", 0),
            "ChecksCritical": self.statuses.get("critical", 0),
            "ExternalSources": sorted(self.external_sources) or None,
            "GatewayConfig": config,
        }


def summaries(found: Iterable[CheckServiceNode]) -> list[Plain]:
    """Show services by name, each with what its instances come to."""
    services: dict[str, ServiceSummary] = {}
    for instance in found:
        if instance.service is not None:
            name = instance.service.service
            services.setdefault(name, ServiceSummary(name)).add(instance)
    return [services[name].to_plain() for name in sorted(services)]


def gateway_summaries(
    found: Iterable[ServiceInfo], domains: Iterable[str]
) -> list[Plain]:
    """Show the services of a gateway, also those that have no instances.

    Args:
        found: the instances with the gateway's mapping.
        domains: under which the gateway's services can be found in the DNS, such as
            ``ingress.dc1.consul.``.
    """
    services: dict[str, ServiceSummary] = {}
    for each in found:
        mapping = each.gateway_service
        if mapping is None:
            continue
        name = mapping.service.name
        summary = services.setdefault(name, ServiceSummary(name))
        summary.addresses.update(dict.fromkeys(_addresses(mapping, domains)))
        if each.service is not None:
            summary.add(each)
    return [services[name].to_plain() for name in sorted(services)]


def _addresses(mapping: GatewayService, domains: Iterable[str]) -> list[str]:
    if not mapping.port:
        return []
    hosts = mapping.hosts or [f"{mapping.service.name}.{d}" for d in domains]
    return [f"{host.rstrip('.')}:{mapping.port}" for host in hosts]


_NODES: Final = Read("Internal.NodeDump", "dump", _shown_nodes, index_on_error=True)
_SERVICES: Final = Read("Internal.ServiceDump", "nodes", summaries, index_on_error=True)
_GATEWAY: Final = Read("Internal.GatewayServiceDump", "dump", index_on_error=True)


class UIEndpoints:
    """The paths of the user interface, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/internal/ui/nodes")
    def nodes(self, request: Request) -> MaybeLater:
        """List all nodes with everything on them."""
        wanted = DCSpecificRequest(**query_options(request, self.agent))
        return _NODES.ask(self.agent, wanted)

    @route("GET", "/v1/internal/ui/node/")
    def node(self, request: Request) -> MaybeLater:
        """Show one node with everything on it; 404 where there is none."""
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing node name")

        def answer(reply: IndexedNodeDump) -> MaybeLater:
            if not reply.dump:
                return Response(status=404)
            return Indexed(reply, reply.dump, _shown_first)

        wanted = NodeSpecificRequest(node=request.rest, **options)
        return then(self.agent.rpc("Internal.NodeInfo", wanted), answer)

    @route("GET", "/v1/internal/ui/services")
    def services(self, request: Request) -> MaybeLater:
        """List all services, each with what its instances come to."""
        wanted = ServiceDumpRequest(**query_options(request, self.agent))
        return _SERVICES.ask(self.agent, wanted)

    @route("GET", "/v1/internal/ui/gateway-services-nodes/")
    def gateway_services(self, request: Request) -> MaybeLater:
        """List the services of a gateway, each with what its instances come to."""
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing gateway name")
        wanted = ServiceSpecificRequest(service_name=request.rest, **options)
        config = self.agent.config
        domains = [
            f"ingress.{wanted.datacenter}.{domain}"
            for domain in (config.dns_domain, config.dns_alt_domain)
            if domain
        ]
        return _GATEWAY.ask(
            self.agent, wanted, lambda found: gateway_summaries(found, domains)
        )


@implementer(IPlugin, IHTTPEndpoint)
class UIRoutes:
    """The paths that the user interface lives on."""

    name = "ui"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(UIEndpoints(agent))
