"""The paths ``/v1/status/...``."""

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.http.messages import MaybeLater, Request
from consultwist.http.params import query_options
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.query import DCSpecificRequest


class StatusEndpoints:
    """The paths about Raft's state, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/status/leader")
    def leader(self, request: Request) -> MaybeLater:
        """Return the address of the leader, an empty text where there is none."""
        return self._ask("Status.Leader", request)

    @route("GET", "/v1/status/peers")
    def peers(self, request: Request) -> MaybeLater:
        """Return the addresses of the Raft peers."""
        return self._ask("Status.Peers", request)

    def _ask(self, method: str, request: Request) -> MaybeLater:
        wanted = DCSpecificRequest(**query_options(request, self.agent))
        return self.agent.rpc(method, wanted)


@implementer(IPlugin, IHTTPEndpoint)
class StatusRoutes:
    """The paths about Raft's state."""

    name = "status"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(StatusEndpoints(agent))
