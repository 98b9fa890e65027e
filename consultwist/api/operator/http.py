"""The paths ``/v1/operator/raft/...`` and ``/v1/operator/autopilot/...``."""

from typing import Any, Final

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import BadRequest
from consultwist.http.body import decode_body
from consultwist.http.messages import JSON, MaybeLater, Request
from consultwist.http.params import query_options, write_options
from consultwist.http.responses import then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.operator import (
    AutopilotConfig,
    AutopilotSetConfigRequest,
    OperatorHealthReply,
    RaftRemovePeerRequest,
    ServerHealth,
)
from consultwist.structs.query import DCSpecificRequest
from consultwist.wire.strconv import parse_uint
from consultwist.wire.time import Time

#: Too many requests: what stock servers answer while a server is not healthy.
_UNHEALTHY_STATUS: Final = 429

#: The names of member statuses, by Serf's numbers.
_SERF_STATUS: Final = ("none", "alive", "leaving", "left", "failed")

_HALF_SECOND_NS: Final = 500_000_000


class OperatorEndpoints:
    """The paths for operators, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/operator/raft/configuration")
    def raft_configuration(self, request: Request) -> MaybeLater:
        """Return the servers of Raft."""
        return self._ask("Operator.RaftGetConfiguration", request)

    @route("DELETE", "/v1/operator/raft/peer")
    def remove_peer(self, request: Request) -> MaybeLater:
        """Remove a server from Raft, by id or by address."""
        query = request.query
        has_id, has_address = bool(query.get("id")), bool(query.get("address"))
        if not has_id and not has_address:
            raise BadRequest(
                "Bad request: Must specify either ?id with the server's ID or ?address "
                "with IP:port of peer to remove"
            )
        if has_id and has_address:
            raise BadRequest("Bad request: Must specify only one of ?id or ?address")
        order = RaftRemovePeerRequest(
            id=query.get("id", ""),
            address=query.get("address", ""),
            **write_options(request, self.agent),
        )
        by = "ID" if has_id else "Address"
        done = self.agent.rpc(f"Operator.RaftRemovePeerBy{by}", order)
        return then(done, lambda _: None)

    @route("GET", "/v1/operator/autopilot/configuration")
    def autopilot_configuration(self, request: Request) -> MaybeLater:
        """Return the autopilot configuration."""
        return self._ask("Operator.AutopilotGetConfiguration", request)

    @route("PUT", "/v1/operator/autopilot/configuration")
    def set_autopilot_configuration(self, request: Request) -> MaybeLater:
        """Set the autopilot configuration; what is left out becomes zero."""
        refusal = "Bad request: Error parsing autopilot config"
        config = decode_body(request, AutopilotConfig, refusal)
        cas = request.query.get("cas", "")
        if cas:
            index = _cas_index(cas)
            config = msgspec.structs.replace(config, modify_index=index)
        order = AutopilotSetConfigRequest(
            config=config, cas=bool(cas), **write_options(request, self.agent)
        )
        done = self.agent.rpc("Operator.AutopilotSetConfiguration", order)
        # A stock server answers false to a plain write: it did not ask a question.
        return then(done, lambda was_set: was_set if cas else True)

    @route("GET", "/v1/operator/autopilot/health")
    def autopilot_health(self, request: Request) -> MaybeLater:
        """Return how all servers stand; the status tells it to simple monitors."""
        wanted = DCSpecificRequest(
            datacenter=request.query.get("dc") or self.agent.config.datacenter,
            token=query_options(request, self.agent)["token"],
            require_consistent=True,
        )
        return then(self.agent.rpc("Operator.ServerHealth", wanted), _health)

    def _ask(self, method: str, request: Request) -> MaybeLater:
        wanted = DCSpecificRequest(**query_options(request, self.agent))
        return self.agent.rpc(method, wanted)


def _cas_index(text: str) -> int:
    try:
        return parse_uint(text)
    except ValueError as error:
        raise BadRequest(f"Bad request: Error parsing cas value: {error}") from error


def _health(reply: OperatorHealthReply) -> JSON:
    servers = reply.servers
    shown = {
        "Healthy": reply.healthy,
        "FailureTolerance": reply.failure_tolerance,
        "Servers": None if servers is None else [_server(each) for each in servers],
    }
    return JSON(shown, status=200 if reply.healthy else _UNHEALTHY_STATUS)


def _server(health: ServerHealth) -> dict[str, Any]:
    """Return a server as the API shows it: the status by name, times in seconds."""
    status = health.serf_status
    known = 0 <= status < len(_SERF_STATUS)
    since = health.stable_since
    rounded = since.seconds + (since.nanoseconds >= _HALF_SECOND_NS)
    return health.to_plain() | {
        "SerfStatus": _SERF_STATUS[status] if known else "",
        "StableSince": Time(rounded).json(),
    }


@implementer(IPlugin, IHTTPEndpoint)
class OperatorRoutes:
    """The paths for operators."""

    name = "operator"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(OperatorEndpoints(agent))
