"""The servers of other datacenters, and how far they are."""

import random

import pytest

from consultwist.errors import DatacenterUnavailable, NoPathToDatacenter
from consultwist.gossip.serf.coordinate import origin
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.server.wan import WANRoutes


def member(name, datacenter, number, status=MemberStatus.ALIVE):
    tags = {"role": "consul", "dc": datacenter, "port": "8300", "vsn": "2"}
    return PoolMember(
        name=f"{name}.{datacenter}",
        ip=bytes([10, 0, 0, number]),
        tags=tags | {"build": "1.8.7:", "id": name},
        status=int(status),
    )


class Pool:
    """A WAN pool, as a test wants it."""

    def __init__(self, *members):
        self.members = list(members)
        self.heights = {}

    def wan_members(self):
        return self.members

    def wan_position(self, name):
        height = self.heights.get(name)
        if height is None:
            return None
        coordinate = origin()
        return type(coordinate)(
            vec=coordinate.vec, error=0.1, adjustment=0.0, height=height
        )


def routes(pool):
    return WANRoutes(pool, random.Random(1), "dc1", "here.dc1")


def test_without_a_wan_pool_there_is_one_datacenter():
    """This one; no other can be asked."""
    known = routes(Pool())
    assert known.datacenters() == ["dc1"]
    with pytest.raises(NoPathToDatacenter):
        known.find("dc2")


def test_servers_of_a_datacenter_are_asked_in_turn_when_they_fail():
    """The order stays while members do not change."""
    pool = Pool(member("a", "dc2", 1), member("b", "dc2", 2), member("c", "dc3", 3))
    known = routes(pool)
    first = known.find("dc2")
    assert known.find("dc2") == first
    known.failed(first)
    assert known.find("dc2") != first
    assert known.find("dc3").name == "c.dc3"


def test_a_datacenter_whose_servers_have_failed_is_known_but_out_of_reach():
    """When they are forgotten it is not known at all."""
    pool = Pool(member("a", "dc2", 1, MemberStatus.FAILED))
    known = routes(pool)
    with pytest.raises(DatacenterUnavailable):
        known.find("dc2")
    pool.members = []
    with pytest.raises(NoPathToDatacenter):
        known.find("dc2")


def test_datacenters_are_in_the_order_of_their_distance():
    """By the median of their servers; those without a position come last."""
    pool = Pool(
        member("near", "dc9", 1),
        member("far", "dc2", 2),
        member("lost", "dc3", 3),
        member("mid", "dc4", 4),
        member("away", "dc4", 5),
        member("out", "dc4", 6),
    )
    pool.heights = {
        "here.dc1": 0.001,
        "near.dc9": 0.001,
        "far.dc2": 0.5,
        "mid.dc4": 0.1,
        "away.dc4": 0.2,
        "out.dc4": 0.9,
    }
    assert routes(pool).datacenters() == ["dc1", "dc9", "dc4", "dc2", "dc3"]
