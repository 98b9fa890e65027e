"""The paths of health: ``/v1/health/...``."""

from collections.abc import Callable
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.catalog import shapes
from consultwist.api.catalog.fragments import HealthJSON
from consultwist.api.catalog.http import narrowed_options, wanted_service
from consultwist.errors import BadRequest
from consultwist.http.messages import MaybeLater, Request
from consultwist.http.params import query_options
from consultwist.http.responses import Read
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.catalog import (
    ChecksInStateRequest,
    NodeSpecificRequest,
    ServiceSpecificRequest,
)
from consultwist.wire.strconv import parse_bool

_NODE: Final = Read(
    "Health.NodeChecks",
    "health_checks",
    consistency=True,
    index_on_error=True,
)
_CHECKS: Final = Read(
    "Health.ServiceChecks",
    "health_checks",
    consistency=True,
    index_on_error=True,
)
_STATE: Final = Read(
    "Health.ChecksInState",
    "health_checks",
    consistency=True,
    index_on_error=True,
)
_INSTANCES: Final = Read(
    "Health.ServiceNodes",
    "nodes",
    consistency=True,
    index_on_error=True,
    cached=True,
)


class HealthEndpoints:
    """The paths of health, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent
        self._json = HealthJSON()

    @route("GET", "/v1/health/node/")
    def node(self, request: Request) -> MaybeLater:
        """List the checks of a node and of the services on it."""
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing node name")
        wanted = NodeSpecificRequest(node=request.rest, **options)
        return _NODE.ask(self.agent, wanted, self._json.checks)

    @route("GET", "/v1/health/checks/")
    def checks(self, request: Request) -> MaybeLater:
        """List the checks of a service."""
        options = narrowed_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing service name")
        wanted = ServiceSpecificRequest(service_name=request.rest, **options)
        return _CHECKS.ask(self.agent, wanted, self._json.checks)

    @route("GET", "/v1/health/state/")
    def state(self, request: Request) -> MaybeLater:
        """List the checks in a state."""
        options = narrowed_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing check state")
        wanted = ChecksInStateRequest(state=request.rest, **options)
        return _STATE.ask(self.agent, wanted, self._json.checks)

    @route("GET", "/v1/health/service/")
    def service(self, request: Request) -> MaybeLater:
        """List the instances of a service with their checks."""
        return self._instances(request)

    @route("GET", "/v1/health/connect/")
    def connect(self, request: Request) -> MaybeLater:
        """List the instances by which a service is reached in the mesh."""
        return self._instances(request, connect=True)

    @route("GET", "/v1/health/ingress/")
    def ingress(self, request: Request) -> MaybeLater:
        """List the instances of the ingress gateways that expose a service."""
        return self._instances(request, ingress=True)

    def _instances(
        self, request: Request, *, connect: bool = False, ingress: bool = False
    ) -> MaybeLater:
        wanted = ServiceSpecificRequest(
            connect=connect,
            ingress=ingress,
            **narrowed_options(request, self.agent),
            **wanted_service(request),
        )
        show: Callable[[Any], object] = self._json.instances
        if shapes.shows_wan(request, self.agent):
            show = shapes.wan_instances
        if wants_passing(request):
            show = shapes.passing(show)
        return _INSTANCES.ask(self.agent, wanted, show)


def wants_passing(request: Request) -> bool:
    """Tell whether only instances are wanted whose checks are all passing.

    Raises:
        BadRequest: where the parameter is no truth value.
    """
    value = request.query.get("passing")
    if value is None:
        return False
    try:
        return not value or parse_bool(value)
    except ValueError:
        raise BadRequest("Invalid value for ?passing") from None


@implementer(IPlugin, IHTTPEndpoint)
class HealthRoutes:
    """The paths of health."""

    name = "health"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(HealthEndpoints(agent))
