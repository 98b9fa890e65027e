"""The table of coordinates and the command that stores a batch of them.

Coordinates have no indexes of their own: one row of the index table stands for all, and
it moves with every batch. A node's coordinates go with the node (`api/catalog`).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.interfaces import IStateTable
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.state.transaction import Transaction
from consultwist.structs.coordinate import Coordinate, CoordinateBatch
from consultwist.structs.message_type import MessageType
from consultwist.wire.struct import Struct

COORDINATES: Final = "coordinates"
_NODES: Final = "nodes"


def put_coordinate(txn: Transaction, coordinate: Coordinate) -> None:
    """Store a coordinate, unless it is no place at all or its node is unknown."""
    if coordinate.coord is None or not coordinate.coord.is_finite():
        return
    if txn.table(_NODES).get(coordinate.node.lower()) is not None:
        txn.put(COORDINATES, coordinate)


def apply_batch(txn: Transaction, data: bytes) -> None:
    """Apply a batch of coordinates."""
    for coordinate in CoordinateBatch.unpack(data).coordinates or ():
        put_coordinate(txn, coordinate)
    txn.set_index(COORDINATES)


def _restore(txn: Transaction, raw: Any) -> None:
    for coordinate in CoordinateBatch.from_raw(raw).coordinates or ():
        txn.put(COORDINATES, coordinate)
    txn.max_index(COORDINATES)


def _key(coordinate: Coordinate) -> tuple[str, str]:
    return coordinate.node.lower(), coordinate.segment.lower()


@implementer(IPlugin, IStateTable)
class CoordinateTable:
    """The state of network coordinates."""

    name = "coordinate"
    schemas = (Schema(name=COORDINATES, key=_key),)

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the command that stores a batch."""
        return {MessageType.COORDINATE_BATCH_UPDATE: apply_batch}

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:
        """Yield each coordinate as a list of one, as Consul does."""
        rows = list(store.table(COORDINATES).rows())
        yield (
            MessageType.COORDINATE_BATCH_UPDATE,
            (CoordinateBatch(coordinates=[row]) for row in rows),
        )

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return what puts coordinates back."""
        return {MessageType.COORDINATE_BATCH_UPDATE: _restore}
