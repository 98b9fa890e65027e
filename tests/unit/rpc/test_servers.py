"""The order in which servers are asked."""

import random

import attrs
import pytest

from consultwist.gossip.consul import parse_server
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.rpc.limits import ConnectionLimit, RateLimit
from consultwist.rpc.servers import ServerList, servers_of
from consultwist.testing.clock import SimClock


def member(name, status=MemberStatus.ALIVE, **tags):
    given = {"role": "consul", "dc": "dc1", "port": "8300", "vsn": "2", "id": name}
    return PoolMember(
        name=name,
        ip=bytes([10, 0, 0, int(name)]),
        tags=given | {"build": "1.8.7:"} | tags,
        status=int(status),
    )


def servers(*names):
    return servers_of(member(name) for name in names)


def names(found):
    return [server.name for server in found.all()]


@pytest.fixture
def found():
    known = ServerList(random.Random(1))
    known.update(servers("1", "2", "3", "4"))
    return known


def test_only_servers_that_live_are_asked():
    """Clients and the dead are left out."""
    known = ServerList(random.Random(1))
    assert known.first() is None
    members = [member("1"), member("2", MemberStatus.FAILED), member("3", role="node")]
    known.update(servers_of(members))
    assert names(known) == ["1"]
    first = known.first()
    assert first is not None
    assert first.address == "10.0.0.1:8300"


def test_a_failed_server_is_asked_last(found):
    """If it is the first; another that was first meanwhile stays so."""
    one, two, *rest = found.all()
    found.failed(one)
    assert found.all() == [two, *rest, one]
    found.failed(one)
    assert found.all() == [two, *rest, one]


def test_the_order_stays_when_others_come_and_go(found):
    """New ones come to places that differ from agent to agent."""
    before = names(found)
    found.update(servers("1", "2", "3", "4", "5"))
    assert [name for name in names(found) if name != "5"] == before
    found.update(servers("2", "4", "5"))
    assert sorted(names(found)) == ["2", "4", "5"]
    places = set()
    for seed in range(20):
        known = ServerList(random.Random(seed))
        known.update(servers("1", "2", "3"))
        places.add(tuple(names(known)))
    assert len(places) == 6


def test_a_server_whose_address_changed_keeps_its_place(found):
    """It is asked at the new one."""
    before = names(found)
    moved = parse_server(attrs_member("2", port="8400"))
    assert moved is not None
    found.update([*(s for s in found.all() if s.name != "2"), moved])
    assert names(found) == before
    assert [s.port for s in found.all() if s.name == "2"] == [8400]


def attrs_member(name, **tags):
    return member(name, **tags)


def test_a_new_order_is_taken_over(found):
    """With what has come meanwhile at its end."""
    order = found.shuffled()
    assert sorted(server.name for server in order) == ["1", "2", "3", "4"]
    found.update(servers("1", "2", "3", "4", "5"))
    found.prefer(order)
    assert names(found) == [*(server.name for server in order), "5"]


def test_large_clusters_rebalance_seldom(found):
    """Two to three minutes, or so that a server sees 64 agents a second."""
    assert 120 <= found.rebalance_pause_s(10) <= 180
    assert found.rebalance_pause_s(256 * 1000) == 1000


def test_servers_say_everything_that_a_server_must():
    """A member that does not is none."""
    assert servers_of([member("1", port="x"), member("2", vsn="")]) == []
    (server,) = servers("3")
    assert attrs.asdict(server)["datacenter"] == "dc1"


def test_calls_are_limited_to_a_rate_and_a_burst():
    """After the burst, one for each interval."""
    clock = SimClock()
    limit = RateLimit(clock, 2.0, 3)
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]
    clock.advance(0.5)
    assert [limit.allows() for _ in range(2)] == [True, False]
    limit.set(float("inf"), 1)
    assert all(limit.allows() for _ in range(100))


def test_connections_are_counted_by_source():
    """Those that are gone make room."""
    limit = ConnectionLimit(2)
    assert [limit.enter("a") for _ in range(3)] == [True, True, False]
    assert limit.enter("b")
    limit.leave("a")
    assert limit.enter("a")
    limit.most = 0
    assert limit.enter("a")
