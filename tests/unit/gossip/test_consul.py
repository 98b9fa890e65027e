"""Consul's part of the pools: servers, admission, flooding."""

import json
from pathlib import Path

import msgspec
import pytest

from consultwist.gossip.consul import (
    flood_targets,
    lan_admission,
    parse_server,
    wan_admission,
    wan_target,
)
from consultwist.gossip.serf.members import MemberStatus, PoolMember

TAGS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "gossip" / "consul-tags.json").read_text()
)["tags"]


def member(name="s1", status=MemberStatus.ALIVE, **tags):
    given = TAGS["dev/8301"] | {"id": f"id-{name}"} | tags
    return PoolMember(
        name=name,
        ip=bytes((10, 0, 0, 1)),
        port=8301,
        tags={key: value for key, value in given.items() if value is not None},
        status=int(status),
    )


def client(name="c1", **tags):
    return member(name, **{"role": "node", "port": None, **tags})


def test_the_tags_of_real_agents_are_understood():
    """Servers are recognized in every configuration, clients are not."""
    for place, tags in TAGS.items():
        found = parse_server(PoolMember(name="x", ip=bytes(4), tags=tags))
        if tags["role"] == "node":
            assert found is None
            continue
        assert found is not None, place
        assert found.port == int(tags["port"])
        assert found.build == (1, 8, 7)
        assert found.is_voter == ("nonvoter" not in tags)
        assert found.is_bootstrap == ("bootstrap" in tags)
        assert found.uses_tls == ("use_tls" in tags)
        assert found.expect == int(tags.get("expect", 0))


@pytest.mark.parametrize(
    "tags",
    [
        {"port": "x"},
        {"port": None},
        {"vsn": None},
        {"build": "dev"},
        {"expect": "many"},
        {"raft_vsn": ""},
        {"ft_new": "yes"},
        {"wan_join_port": "1.5"},
        {"grpc_port": "-1", "grpc_tls_port": "0"},
        {"role": "node"},
    ],
)
def test_a_server_that_cannot_be_read_is_none(tags):
    """Half a server is treated as no server at all."""
    assert parse_server(member(**tags)) is None


def test_the_lan_admits_one_datacenter_and_segment():
    """Members of other places are refused with the reason."""
    admit = lan_admission("dc1", "", "id-me", "me")
    assert admit([member("a"), client("b")]) is None
    assert "wrong datacenter 'dc2'" in (admit([client("b", dc="dc2")]) or "")
    assert "wrong datacenter" in (admit([member("b", dc="dc2")]) or "")
    assert "wrong segment 'alpha'" in (admit([client("b", segment="alpha")]) or "")
    left = client("b", dc="dc2")
    left = msgspec.structs.replace(left, status=int(MemberStatus.LEFT))
    assert admit([left]) is None


def test_node_ids_are_unique():
    """Nobody may have our ID, nor two members of one exchange the same."""
    admit = lan_admission("dc1", "", "id-me", "me")
    assert "this agent's ID" in (admit([client("x", id="id-me")]) or "")
    assert admit([client("me", id="id-me")]) is None
    twins = [client("x", id="same"), client("y", id="same")]
    assert "with member 'x'" in (admit(twins) or "")
    old = [client("x", id="same", build="0.8.4:"), client("y", id="same")]
    assert admit(old) is None


def test_the_wan_admits_servers_only():
    """A client has no business between datacenters."""
    admit = wan_admission()
    assert admit([member("s1.dc2", dc="dc2")]) is None
    assert admit([client()]) == "Member 'c1' is not a server"


def test_servers_are_flooded_into_the_wan():
    """Every alive LAN server that the WAN does not know is to be joined."""
    lan = [
        member("a"),
        member("b"),
        member("c", status=MemberStatus.FAILED),
        member("d", wan_join_port=None),
        client("e"),
    ]
    found = flood_targets(lan, lambda name: name == "a.dc1", wan_target)
    assert found == ["b.dc1/10.0.0.1:8302"]
    v6 = msgspec.structs.replace(member("f"), ip=bytes(15) + b"\x01")
    assert flood_targets([v6], lambda _: False, wan_target) == ["f.dc1/[::1]:8302"]
