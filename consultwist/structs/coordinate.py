"""Network coordinates."""

import math
from typing import Any, Self

from consultwist.errors import WireError
from consultwist.structs.query import QueryMeta, WriteRequest
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct


class Coord(Struct):
    """A position in the network whose distances are round-trip times."""

    vec: list[float] | None = None
    error: float = 0.0
    adjustment: float = 0.0
    height: float = 0.0

    def is_finite(self) -> bool:
        """Tell whether all parts are numbers, none of them infinite."""
        parts = (*(self.vec or ()), self.error, self.adjustment, self.height)
        return all(math.isfinite(part) for part in parts)


class Coordinate(Struct):
    """The coordinate of a node in a network segment."""

    node: str = ""
    segment: str = ""
    coord: Coord | None = None


class CoordinateBatch(Struct):
    """Coordinates as a command and as a snapshot record: a bare list on the wire."""

    coordinates: list[Coordinate] | None = None

    @classmethod
    def from_raw(cls, raw: object) -> Self:
        """Build a batch from a decoded msgpack list.

        Raises:
            WireError: where it is no list of coordinates.
        """
        if raw is not None and not isinstance(raw, list):
            raise WireError("msgpack: a list of coordinates was expected")
        return cls(coordinates=[Coordinate.from_raw(item) for item in raw or ()])

    def pack(self) -> bytes:
        """Return the msgpack bytes of the list."""
        plain: list[dict[str, Any]] = [each.to_raw() for each in self.coordinates or ()]
        return msgpack.pack(plain)


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
