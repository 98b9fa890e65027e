"""RPC methods of network coordinates."""

from functools import partial
from typing import Any

from consultwist.acl.authorizer import FILTERED, PUBLIC, Authorizer
from consultwist.api.coordinate.table import COORDINATES
from consultwist.errors import ConsultwistError
from consultwist.gossip.serf.coordinate import DIMENSIONS
from consultwist.server.blocking import Parkable
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.catalog import NodeSpecificRequest
from consultwist.structs.coordinate import (
    Coord,
    Coordinate,
    CoordinateUpdateRequest,
    DatacenterMap,
    IndexedCoordinates,
)
from consultwist.structs.query import DatacentersRequest, DCSpecificRequest


def write_rule(authorizer: Authorizer, request: CoordinateUpdateRequest) -> bool:
    """Ask for write access to the node."""
    return authorizer.allows("node", "write", request.node)


class Coordinates(Endpoint):
    """RPC methods of network coordinates."""

    name = "Coordinate"

    @method(CoordinateUpdateRequest, acl=write_rule, write=True)
    def update(self, call: Call, request: CoordinateUpdateRequest) -> None:
        """Take a node's coordinate; it is stored with the next batch."""
        coord = request.coord
        if coord is None or not coord.is_finite():
            raise ConsultwistError("invalid coordinate")
        if len(coord.vec or ()) != DIMENSIONS:
            raise ConsultwistError("incompatible coordinate")
        call.server.coordinate_updates.add(
            Coordinate(node=request.node, segment=request.segment, coord=coord)
        )

    @method(DatacentersRequest, acl=PUBLIC, local=True)
    def list_datacenters(
        self,
        call: Call,
        request: DatacentersRequest,  # noqa: ARG002 - it asks nothing more
    ) -> list[DatacenterMap]:
        """Return where the servers of each datacenter are, the nearest first."""
        routes = call.server.routes
        return [
            DatacenterMap(
                datacenter=datacenter,
                area_id="wan",
                coordinates=[
                    Coordinate(
                        node=server.name.removesuffix(f".{datacenter}"),
                        coord=Coord.unpack(position.pack()),
                    )
                    for server in routes.servers(datacenter)
                    if (position := routes.position(server)) is not None
                ],
            )
            for datacenter in routes.datacenters()
        ]

    @method(DCSpecificRequest, acl=FILTERED)
    def list_nodes(
        self, call: Call, request: DCSpecificRequest
    ) -> Parkable[IndexedCoordinates]:
        """Return the coordinates of all nodes."""
        query = partial(_all, call.server.store)
        return call.blocking_query(request, query, _reply, kept=True)

    @method(NodeSpecificRequest, acl=FILTERED)
    def node(
        self, call: Call, request: NodeSpecificRequest
    ) -> Parkable[IndexedCoordinates]:
        """Return the coordinates of one node, by segment."""
        query = partial(_of_node, call.server.store, request.node)
        return call.blocking_query(request, query, _reply, kept=True)


def _all(store: Store, seen: WatchSet) -> tuple[int, list[Coordinate]]:
    index = row_index(store, seen, COORDINATES)
    return index, list(store.table(COORDINATES).rows())


def _of_node(store: Store, node: str, seen: WatchSet) -> tuple[int, list[Coordinate]]:
    index = row_index(store, seen, COORDINATES)
    return index, store.table(COORDINATES).beginning(node.lower())


def _reply(coordinates: list[Coordinate], **meta: Any) -> IndexedCoordinates:
    return IndexedCoordinates(coordinates=coordinates, **meta)
