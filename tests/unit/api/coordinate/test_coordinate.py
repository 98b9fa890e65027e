"""Network coordinates: the table, the methods, the leader's batches."""

import math
from types import SimpleNamespace

import pytest

from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.leader import CoordinateBatches
from consultwist.api.coordinate.rpc import Coordinates
from consultwist.api.coordinate.table import COORDINATES, CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.errors import ConsultwistError, WireError
from consultwist.gossip.serf.coordinate import Coordinate as Position
from consultwist.structs.catalog import (
    NodeSpecificRequest,
    RegisterRequest,
)
from consultwist.structs.coordinate import (
    Coord,
    Coordinate,
    CoordinateBatch,
    CoordinateUpdateRequest,
)
from consultwist.structs.message_type import MessageType
from consultwist.structs.query import DatacentersRequest, DCSpecificRequest
from consultwist.testing.deferred import result_of
from consultwist.testing.state import LocalServer, Replica

PERIOD_S = 5.0


@pytest.fixture
def server():
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
    server = LocalServer(Replica(*tables), Catalog(), Coordinates())
    server.config = SimpleNamespace(
        datacenter="dc1",
        consul_coordinate_update_period=PERIOD_S,
        consul_coordinate_update_batch_size=128,
        consul_coordinate_update_max_batches=5,
    )
    for name in ("a", "b"):
        request = RegisterRequest(datacenter="dc1", node=name, address="1.1.1.1")
        server.rpc("Catalog.Register", request)
    return server


def coord(first=0.0, size=8, **fields):
    return Coord(vec=[first] + [0.0] * (size - 1), **fields)


def store(server, *coordinates):
    batch = CoordinateBatch(coordinates=list(coordinates))
    server.replica.apply(MessageType.COORDINATE_BATCH_UPDATE, batch)


def rows(server):
    return [(row.node, row.coord.vec[0]) for row in server.replica.rows(COORDINATES)]


def update(server, node="a", place=None, **fields):
    request = CoordinateUpdateRequest(
        datacenter="dc1", node=node, coord=place or coord(), **fields
    )
    return server.rpc("Coordinate.Update", request)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["vec", "error", "adjustment", "height"])
def test_what_is_no_place_is_skipped(server, bad, part):
    """Not a number anywhere, or no coordinate at all; the index moves anyway."""
    place = coord(bad) if part == "vec" else coord(**{part: bad})
    store(server, Coordinate(node="a", coord=place), Coordinate(node="b"))
    assert rows(server) == []
    assert server.replica.index_rows()["coordinates"] == 3


def test_unknown_nodes_are_skipped(server):
    """Others of the batch are stored."""
    store(
        server,
        Coordinate(node="nope", coord=coord()),
        Coordinate(node="A", coord=coord(1.0)),
    )
    assert rows(server) == [("A", 1.0)]


def test_segments_of_a_node_are_kept_apart(server):
    """A later coordinate replaces one of the same segment."""
    store(server, Coordinate(node="a", coord=coord(1.0)))
    store(server, Coordinate(node="a", segment="x", coord=coord(2.0)))
    store(server, Coordinate(node="a", coord=coord(3.0)))
    assert rows(server) == [("a", 3.0), ("a", 2.0)]


def test_coordinates_restore_from_a_snapshot(server):
    """Each is a list of one; the index row is derived where it is missing."""
    store(server, Coordinate(node="a", coord=coord(1.0)))
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
    restored = Replica(*tables)
    restored.restore(server.replica.snapshot())
    assert restored.rows(COORDINATES) == server.replica.rows(COORDINATES)
    assert restored.index_rows() == server.replica.index_rows()


def test_a_batch_that_is_no_list_is_refused():
    """A map stands for one record, not for a batch."""
    with pytest.raises(WireError, match="a list of coordinates"):
        CoordinateBatch.unpack(Coordinate().pack())


def test_coordinates_are_listed_for_all_and_for_one(server):
    """The index is that of the table."""
    store(server, Coordinate(node="b", coord=coord(1.0)))
    store(server, Coordinate(node="a", coord=coord(2.0)))
    reply = server.rpc("Coordinate.ListNodes", DCSpecificRequest(datacenter="dc1"))
    assert [each.node for each in reply.coordinates] == ["a", "b"]
    assert reply.index == 4
    request = NodeSpecificRequest(datacenter="dc1", node="B")
    reply = server.rpc("Coordinate.Node", request)
    assert [each.node for each in reply.coordinates] == ["b"]


def test_a_reader_wakes_with_the_next_batch(server):
    """Though the batch hold nothing of interest."""
    store(server, Coordinate(node="a", coord=coord(1.0)))
    request = NodeSpecificRequest(datacenter="dc1", node="a", min_query_index=3)
    waiting = server.rpc("Coordinate.Node", request)
    store(server, Coordinate(node="b", coord=coord(1.0)))
    assert result_of(waiting).index == 4


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (coord(math.nan), "invalid coordinate"),
        (coord(size=1), "incompatible coordinate"),
        (Coord(), "incompatible coordinate"),
    ],
)
def test_an_impossible_coordinate_is_refused(server, place, text):
    """It would disturb everyone who sorts by distance."""
    with pytest.raises(ConsultwistError, match=text):
        update(server, place=place)


def test_the_leader_stores_what_it_was_told_in_batches(server):
    """An entry of the type that servers without coordinates skip."""
    stop = CoordinateBatches().start(server)
    update(server, "a", coord(1.0))
    update(server, "b", coord(2.0))
    assert rows(server) == []
    server.reactor.advance(PERIOD_S)
    assert rows(server) == [("a", 1.0), ("b", 2.0)]
    assert server.commands[-1][0] == MessageType.COORDINATE_BATCH_UPDATE | 0x80
    update(server, "a", coord(9.0))
    stop()
    server.reactor.advance(PERIOD_S)
    assert rows(server) == [("a", 1.0), ("b", 2.0)]


def test_the_map_of_datacenters_shows_their_servers(server):
    """The nearest datacenter first; a server whose place is not known is left out."""
    places = {"a.dc1": here(0.1), "b.dc2": here(0.2)}
    members = {"dc1": ["a.dc1", "new.dc1"], "dc2": ["b.dc2"]}
    server.routes = SimpleNamespace(
        datacenters=lambda: list(members),
        servers=lambda dc: [SimpleNamespace(name=name) for name in members[dc]],
        position=lambda member: places.get(member.name),
    )
    found = server.rpc("Coordinate.ListDatacenters", DatacentersRequest())
    assert [
        (
            each.datacenter,
            each.area_id,
            [(c.node, c.coord.height) for c in each.coordinates],
        )
        for each in found
    ] == [("dc1", "wan", [("a", 0.1)]), ("dc2", "wan", [("b", 0.2)])]


def here(height):
    """Return a place in the network as gossip knows it."""
    return Position(vec=[0.0] * 8, height=height)
