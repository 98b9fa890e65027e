"""Sorting by network distance."""

import math

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.server.distance import distance_s, sort_by_distance
from consultwist.structs.catalog import RegisterRequest
from consultwist.structs.coordinate import Coord, Coordinate, CoordinateBatch
from consultwist.structs.message_type import MessageType
from consultwist.structs.query import QuerySource
from consultwist.testing.state import Replica


def at(*vec, **fields):
    return Coord(vec=list(vec), **fields)


def test_distance_is_that_of_the_vectors_and_the_heights():
    """Every node's height is climbed once."""
    assert distance_s(at(0.0, 3.0, height=0.1), at(4.0, 0.0, height=0.2)) == 5.3


def test_adjustments_count_while_the_sum_is_positive():
    """A distance is never negative."""
    assert distance_s(at(0.0, adjustment=-0.5), at(1.0)) == 0.5
    assert distance_s(at(0.0, adjustment=-2.0), at(1.0)) == 1.0


def test_distance_is_cut_to_nanoseconds():
    """What is equal for Consul is equal here."""
    assert distance_s(at(0.0), at(1.9e-9)) == 1e-9


@pytest.mark.parametrize("other", [None, at(0.0, 0.0)])
def test_what_cannot_be_compared_is_infinitely_far(other):
    """Unknown coordinates and other dimensions stand last."""
    assert distance_s(at(0.0), other) == math.inf


def sort(*coordinates, near="me", datacenter="dc1", names=("a", "b", "me")):
    replica = Replica(KVTable(), SessionTable(), CatalogTable(), CoordinateTable())
    for name in {each.node for each in coordinates}:
        request = RegisterRequest(node=name, address="1.1.1.1")
        replica.apply(MessageType.REGISTER, request)
    replica.apply(
        MessageType.COORDINATE_BATCH_UPDATE,
        CoordinateBatch(coordinates=list(coordinates)),
    )
    source = QuerySource(node=near, datacenter=datacenter)
    return sort_by_distance(
        replica.store, source, "dc1", list(names), lambda name: name
    )


def place(node, where, segment=""):
    return Coordinate(node=node, segment=segment, coord=at(where))


def test_the_nearest_comes_first_and_the_unknown_last():
    """Equals keep their order."""
    places = [place("me", 0.0), place("a", 5.0), place("b", 1.0), place("c", 1.0)]
    names = ("x", "a", "c", "b", "y")
    assert sort(*places, names=names) == ["c", "b", "a", "x", "y"]


@pytest.mark.parametrize(
    "question", [{"near": ""}, {"near": "nope"}, {"datacenter": "dc2"}]
)
def test_without_a_place_to_stand_the_order_stays(question):
    """Nobody, an unknown node, and a node of another datacenter sort nothing."""
    places = [place("me", 0.0), place("a", 5.0), place("b", 1.0)]
    assert sort(*places, **question) == ["a", "b", "me"]


def test_nodes_meet_in_a_common_segment():
    """A server is in all segments; what counts is that of the client."""
    places = [
        place("me", 0.0, "alpha"),
        place("a", 1.0, ""),
        place("a", 9.0, "alpha"),
        place("b", 5.0, ""),
        place("b", 5.0, "alpha"),
    ]
    assert sort(*places, names=("a", "b")) == ["b", "a"]
