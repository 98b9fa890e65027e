"""Network coordinates."""

from consultwist.structs.query import QueryMeta, WriteRequest
from consultwist.wire.struct import Struct


class Coord(Struct):
    """A position in the network whose distances are round-trip times."""

    vec: list[float] | None = None
    error: float = 0.0
    adjustment: float = 0.0
    height: float = 0.0


class Coordinate(Struct):
    """The coordinate of a node in a network segment."""

    node: str = ""
    segment: str = ""
    coord: Coord | None = None


class CoordinateUpdateRequest(WriteRequest):
    """Tells where a node is."""

    datacenter: str = ""
    node: str = ""
    segment: str = ""
    coord: Coord | None = None


class DatacenterMap(Struct):
    """The coordinates of the servers of a datacenter."""

    datacenter: str = ""
    area_id: str = ""
    coordinates: list[Coordinate] | None = None


class IndexedCoordinates(QueryMeta):
    """Coordinates."""

    coordinates: list[Coordinate] | None = None
