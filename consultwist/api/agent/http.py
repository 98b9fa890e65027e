"""HTTP endpoints of the agent itself: who it is, whom it knows, its life.

Its services and checks have modules of their own, beside this one.
"""

from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.acl.authorizer import FILTERED, PUBLIC, Authorizer
from consultwist.api.agent import machine
from consultwist.api.agent.checks import AgentChecks
from consultwist.api.agent.maintenance import read_enable
from consultwist.api.agent.monitor import monitor
from consultwist.api.agent.services import AgentServices
from consultwist.config.debug import debug_config
from consultwist.errors import BadRequest
from consultwist.gossip.serf.members import PoolMember
from consultwist.http.messages import MaybeLater, Request, Response
from consultwist.http.params import request_token
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.telemetry.prometheus import CONTENT_TYPE, render

#: Envoy versions of the release whose answers are given.
_ENVOY_VERSIONS: Final = ("1.14.5", "1.13.6", "1.12.7", "1.11.2")


def read_rule(authorizer: Authorizer, request: Request) -> bool:  # noqa: ARG001
    """Ask for read access to this agent."""
    return authorizer.allows("agent", "read", "")


def write_rule(authorizer: Authorizer, request: Request) -> bool:  # noqa: ARG001
    """Ask for write access to this agent."""
    return authorizer.allows("agent", "write", "")


def node_write_rule(authorizer: Authorizer, request: Request) -> bool:  # noqa: ARG001
    """Ask for write access to this agent's node."""
    return authorizer.allows("node", "write", "")


def operator_read_rule(authorizer: Authorizer, request: Request) -> bool:  # noqa: ARG001
    """Ask for read access to the operator's endpoints."""
    return authorizer.allows("operator", "read", "")


def operator_write_rule(authorizer: Authorizer, request: Request) -> bool:  # noqa: ARG001
    """Ask for write access to the operator's endpoints."""
    return authorizer.allows("operator", "write", "")


def member_shape(member: PoolMember) -> dict[str, Any]:
    """Return the JSON value of a member of a pool."""
    versions = member.versions
    return {
        "Name": member.name,
        "Addr": member.host,
        "Port": member.port,
        "Tags": dict(sorted(member.tags.items())),
        "Status": member.status,
        "ProtocolMin": versions[0],
        "ProtocolMax": versions[1],
        "ProtocolCur": versions[2],
        "DelegateMin": versions[3],
        "DelegateMax": versions[4],
        "DelegateCur": versions[5],
    }


class AgentSelf:
    """Endpoints of the agent itself."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/agent/self", acl=read_rule)
    def self_(self, request: Request) -> MaybeLater:  # noqa: ARG002
        """Show who this agent is and how it is configured."""
        agent = self.agent
        config = agent.config
        shape = {
            "Config": {
                "Datacenter": config.datacenter,
                "NodeName": config.node_name,
                "NodeID": config.node_id,
                "Revision": config.revision,
                "Server": config.server_mode,
                "Version": config.version,
            },
            "DebugConfig": debug_config(config),
            "Coord": agent.pools.coordinate(),
            "Member": member_shape(agent.pools.own_member()),
            "Stats": agent.stats(),
            "Meta": {
                **config.node_meta,
                "consul-network-segment": config.segment_name,
            },
        }
        if config.server_mode or config.connect_enabled:
            shape["xDS"] = {"SupportedProxies": {"envoy": list(_ENVOY_VERSIONS)}}
        return shape

    @route("GET", "/v1/agent/host", acl=operator_read_rule)
    def host(self, request: Request) -> MaybeLater:  # noqa: ARG002
        """Show facts about the machine."""
        wall_ns = int(self.agent.clock.wall() * 1e9)
        return machine.describe("/", wall_ns)

    @route("GET", "/v1/agent/version", acl=PUBLIC)
    def version(self, request: Request) -> MaybeLater:  # noqa: ARG002
        """Show which build this is; newer clients ask."""
        config = self.agent.config
        return {
            "SHA": config.revision,
            "BuildDate": "0001-01-01T00:00:00Z",
            "HumanVersion": config.version,
            "FIPS": "",
        }

    @route("PUT", "/v1/agent/reload", acl=write_rule)
    def reload(self, request: Request) -> MaybeLater:  # noqa: ARG002
        """Read the configuration again."""
        return self.agent.reload()

    @route("PUT", "/v1/agent/leave", acl=write_rule)
    def leave(self, request: Request) -> MaybeLater:  # noqa: ARG002
        """Leave the cluster and stop."""
        return self.agent.leave()

    @route("PUT", "/v1/agent/maintenance", acl=node_write_rule)
    def maintenance(self, request: Request) -> None:
        """Take this node out of service, or back."""
        self.agent.registry.node_maintenance(
            enable=read_enable(request),
            reason=request.query.get("reason", ""),
            token=request_token(request, self.agent),
        )

    @route("GET", "/v1/agent/metrics", acl=read_rule)
    def metrics(self, request: Request) -> MaybeLater:
        """Show the metrics of the last whole interval, or those for Prometheus."""
        if request.query.get("format") != "prometheus":
            summary: MaybeLater = self.agent.metrics.summary()
            return summary
        if self.agent.config.telemetry.prometheus_retention_time <= 0:
            return Response.text(
                "Prometheus is not enabled since its retention time is not positive",
                status=415,
            )
        text = render(self.agent.metrics)
        return Response(text.encode(), content_type=CONTENT_TYPE)

    @route("GET", "/v1/agent/monitor", acl=read_rule)
    def monitor(self, request: Request) -> MaybeLater:
        """Stream the log."""
        return monitor(request)

    @route("PUT", "/v1/agent/token/", acl=write_rule)
    def token(self, request: Request) -> MaybeLater:  # noqa: ARG002
        """Refuse to set a token: ACLs are off."""
        return Response.text("ACL support disabled", status=401)


class AgentPools:
    """Endpoints of the gossip pools that this agent is a member of."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/agent/members", acl=FILTERED)
    def members(self, request: Request) -> MaybeLater:
        """Show the members of the LAN pool, or of the WAN pool."""
        wan = "wan" in request.query
        segment = request.query.get("segment", "")
        if wan and segment not in ("", "_all"):
            raise BadRequest("Cannot provide a segment with wan=true")
        pools = self.agent.pools
        if wan:
            found = pools.wan_members()
        elif segment == "_all":
            found = pools.members()
        else:
            found = pools.members_of(segment or self.agent.config.segment_name)
        return [member_shape(member) for member in found]

    @route("PUT", "/v1/agent/join/", acl=write_rule)
    def join(self, request: Request) -> MaybeLater:
        """Join a pool by the address of one of its members."""
        wan = "wan" in request.query
        joined: Deferred[int] = self.agent.pools.join([request.rest], wan=wan)
        return joined.addCallback(lambda _: None)

    @route("PUT", "/v1/agent/force-leave/", acl=operator_write_rule)
    def force_leave(self, request: Request) -> None:
        """Declare that a failed member has left."""
        prune = "prune" in request.query
        self.agent.pools.force_leave(request.rest, prune=prune)


@implementer(IPlugin, IHTTPEndpoint)
class AgentRoutes:
    """The group of paths under ``/v1/agent``."""

    name = "agent"

    def routes(self, agent: IAgent) -> Iterable[Route]:
        """Return the routes of this agent."""
        for endpoint in (AgentSelf, AgentPools, AgentServices, AgentChecks):
            yield from collect_routes(endpoint(agent))
