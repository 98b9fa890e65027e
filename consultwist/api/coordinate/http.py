"""The paths of network coordinates: ``/v1/coordinate/...``."""

from collections.abc import Callable
from typing import Any, Final

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import BadRequest, ConsultwistError
from consultwist.http.body import decode_body
from consultwist.http.messages import JSON, Indexed, MaybeLater, Request, Response
from consultwist.http.params import query_options, read_options, request_token
from consultwist.http.responses import Read, then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.catalog import NodeSpecificRequest
from consultwist.structs.coordinate import (
    Coordinate,
    CoordinateUpdateRequest,
    IndexedCoordinates,
)
from consultwist.structs.query import DatacentersRequest, DCSpecificRequest

_NODES: Final = Read("Coordinate.ListNodes", "coordinates")


class CoordinatesDisabled(ConsultwistError):
    """This agent takes no part in network coordinates."""

    text = "Coordinate support disabled"
    status = 401


class CoordinateEndpoints:
    """The paths of network coordinates, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/coordinate/datacenters")
    def datacenters(self, request: Request) -> MaybeLater:
        """List where the servers of each datacenter are."""
        self._refuse_disabled()
        wanted = DatacentersRequest(**read_options(request, self.agent))
        found = self.agent.rpc("Coordinate.ListDatacenters", wanted)
        return then(found, lambda maps: JSON(maps or []))

    @route("GET", "/v1/coordinate/nodes")
    def nodes(self, request: Request) -> MaybeLater:
        """List the coordinates of all nodes."""
        self._refuse_disabled()
        wanted = DCSpecificRequest(**query_options(request, self.agent))
        return _NODES.ask(self.agent, wanted, _in_segment(request))

    @route("GET", "/v1/coordinate/node/")
    def node(self, request: Request) -> MaybeLater:
        """List the coordinates of one node; 404 where it has none."""
        self._refuse_disabled()
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing node name")
        wanted = NodeSpecificRequest(node=request.rest, **options)
        show = _in_segment(request)

        def answer(reply: IndexedCoordinates) -> MaybeLater:
            found = reply.coordinates or []
            if not (show(found) if show else found):
                return Response(status=404)
            return Indexed(reply, found, show)

        return then(self.agent.rpc("Coordinate.Node", wanted), answer)

    @route("PUT", "/v1/coordinate/update")
    def update(self, request: Request) -> MaybeLater:
        """Set the coordinate of a node that runs no agent."""
        self._refuse_disabled()
        order = decode_body(request, CoordinateUpdateRequest, strict=False)
        datacenter = request.query.get("dc") or self.agent.config.datacenter
        order = msgspec.structs.replace(
            order,
            datacenter=order.datacenter or datacenter,
            token=request_token(request, self.agent),
        )
        return then(self.agent.rpc("Coordinate.Update", order), lambda _: None)

    def _refuse_disabled(self) -> None:
        if self.agent.config.disable_coordinates:
            raise CoordinatesDisabled


def _in_segment(request: Request) -> Callable[[Any], list[Coordinate]] | None:
    """Return what leaves only the coordinates of the segment that is asked for."""
    segment = request.query.get("segment")
    if segment is None:
        return None
    return lambda found: [each for each in found if each.segment == segment]


@implementer(IPlugin, IHTTPEndpoint)
class CoordinateRoutes:
    """The paths of network coordinates."""

    name = "coordinate"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(CoordinateEndpoints(agent))
