"""Sorting answers by network distance from a node, as ``?near`` asks for.

The distance of two nodes is the round-trip time that their coordinates tell (Vivaldi
coordinates with heights and adjustments, as Serf keeps them). Nodes whose distance is
not known stand behind all others; equals keep their order.
"""

import math
from collections.abc import Callable
from typing import Final, TypeVar

from consultwist import durations
from consultwist.state.store import Store
from consultwist.structs.coordinate import Coord, Coordinate
from consultwist.structs.query import QuerySource

Item = TypeVar("Item")

#: The table that `api/coordinate` declares.
_COORDINATES: Final = "coordinates"


def distance_s(one: Coord | None, other: Coord | None) -> float:
    """Return the round-trip time between two coordinates; infinite if unknown.

    It is cut to whole nanoseconds, so that what is equal for Consul is equal here.
    """
    if one is None or other is None:
        return math.inf
    here, there = one.vec or [], other.vec or []
    if len(here) != len(there):
        return math.inf
    distance = math.dist(here, there) + one.height + other.height
    adjusted = distance + one.adjustment + other.adjustment
    if adjusted > 0:
        distance = adjusted
    return int(distance * durations.SECOND) / durations.SECOND


def sort_by_distance(
    store: Store,
    source: QuerySource,
    datacenter: str,
    items: list[Item],
    node_of: Callable[[Item], str],
) -> list[Item]:
    """Return items by the distance of their node from the source's.

    The list itself is returned where there is nothing to sort by.
    """
    if not source.node or source.datacenter != datacenter:
        return items
    here = _coordinates(store, source.node)
    if not here:
        return items
    distances: dict[str, float] = {}
    for item in items:
        name = node_of(item)
        if name not in distances:
            distances[name] = distance_s(
                *_in_one_segment(here, _coordinates(store, name))
            )
    return sorted(items, key=lambda item: distances[node_of(item)])


def _coordinates(store: Store, node: str) -> dict[str, Coord | None]:
    """Return a node's coordinates by network segment."""
    rows: list[Coordinate] = store.table(_COORDINATES).beginning(node.lower())
    return {row.segment: row.coord for row in rows}


def _in_one_segment(
    here: dict[str, Coord | None], there: dict[str, Coord | None]
) -> tuple[Coord | None, Coord | None]:
    """Return two nodes' coordinates in a segment that both are in.

    A node in one segment only may be a client; one in several is a server, and servers
    are in all of them.
    """
    segment = ""
    for known in (here, there):
        if len(known) == 1:
            (segment,) = known
    return here.get(segment), there.get(segment)
