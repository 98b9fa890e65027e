"""Clusters of our own agents: elections, losses, leaves, datacenters, TLS."""

import base64

import pytest

from consultwist.testing.certificates import TestAuthority
from consultwist.testing.clusters import OURS, cluster
from consultwist.testing.processes import wait_until

pytestmark = pytest.mark.blackbox


def put(agent, key, value):
    answer = agent.http("PUT", f"/v1/kv/{key}", value)
    assert answer.status == 200, answer.text
    return answer.json


def value_of(agent, key, query=""):
    answer = agent.http("GET", f"/v1/kv/{key}{query}")
    return base64.b64decode(answer.json[0]["Value"]).decode() if answer.body else None


def peers(agent):
    return set(agent.http("GET", "/v1/status/peers").json)


def test_what_was_acknowledged_outlives_the_leader(tmp_path):
    """Killed in the middle of writing, it comes back as a follower."""
    with cluster(tmp_path) as agents:
        servers = agents.start_servers(OURS, OURS, OURS)
        client = agents.add(OURS, "client")
        leader = agents.leader()
        acknowledged = []
        for number in range(60):
            if number == 30:
                leader.kill()
            answer = client.http("PUT", f"/v1/kv/n/{number:02}", str(number))
            if answer.status == 200 and answer.json is True:
                acknowledged.append(f"n/{number:02}")
        assert len(acknowledged) >= 55, "a write or two may be cut off"
        assert agents.leader() is not leader
        keys = set(client.http("GET", "/v1/kv/n?keys&consistent").json)
        assert keys >= set(acknowledged)
        leader.start().wait_ready()
        wait_until(
            lambda: set(leader.http("GET", "/v1/kv/n?keys&stale").json) >= keys,
            what="the old leader caught up",
        )
        assert all(value_of(server, "n/59") == "59" for server in servers)


def test_a_server_that_leaves_is_no_peer_any_more(tmp_path):
    """Neither a follower nor a leader; the rest goes on."""
    with cluster(tmp_path, performance={"leave_drain_time": "200ms"}) as agents:
        agents.start_servers(OURS, OURS, OURS)
        leader = agents.leader()
        gone = next(each for each in agents.servers if each is not leader)
        assert gone.http("PUT", "/v1/agent/leave").status == 200
        assert gone.wait() == 0
        left = {f"{each.address}:8300" for each in agents.servers if each is not gone}
        wait_until(lambda: peers(leader) == left, what="the follower gone")
        assert leader.http("PUT", "/v1/agent/leave").status == 200
        assert leader.wait() == 0
        last = next(each for each in agents.servers if each not in (gone, leader))
        wait_until(lambda: peers(last) == {f"{last.address}:8300"}, what="one left")
        wait_until(
            lambda: last.http("PUT", "/v1/kv/last", "x").status == 200,
            what="a leader of one",
        )


def test_another_datacenter_is_asked_through_the_wan_pool(tmp_path):
    """By clients and servers, for reads and writes; unknown ones are refused."""
    with (
        cluster(tmp_path / "one") as first,
        cluster(tmp_path / "two", datacenter="dc2") as second,
    ):
        (here,) = first.start_servers(OURS)
        (there,) = second.start_servers(OURS)
        client = first.add(OURS, "client")
        assert there.http("PUT", f"/v1/agent/join/{here.address}?wan=1").status == 200
        wait_until(
            lambda: (
                client.http("GET", "/v1/catalog/datacenters").json == ["dc1", "dc2"]
            ),
            what="two datacenters",
        )
        assert put(client, "far?dc=dc2", "away") is True
        assert value_of(there, "far") == value_of(here, "far", "?dc=dc2") == "away"
        assert value_of(client, "far") is None
        saved = client.http("GET", "/v1/snapshot?dc=dc2")
        assert saved.body[:2] == b"\x1f\x8b"
        refused = client.http("GET", "/v1/kv/far?dc=dc9")
        assert refused.status == 500
        assert "No path to datacenter" in refused.text
        there.kill()
        assert client.http("GET", "/v1/kv/far?dc=dc2").status == 500


def test_a_cluster_in_tls_changes_its_certificates_while_it_runs(tmp_path):
    """All three checks are on; a reload takes new files for new connections."""
    authority = TestAuthority(tmp_path / "tls")
    settings = authority.issue("agent", "server.dc1.consul", "localhost")
    checks = {
        "verify_incoming_rpc": True,
        "verify_outgoing": True,
        "verify_server_hostname": True,
    }
    with cluster(tmp_path, **settings, **checks) as agents:
        servers = agents.start_servers(OURS, OURS, OURS)
        client = agents.add(OURS, "client")
        assert put(client, "a", "1") is True
        authority.issue("agent", "server.dc1.consul", "localhost")
        for agent in (*servers, client):
            assert agent.http("PUT", "/v1/agent/reload").status == 200
        assert put(client, "a", "2") is True
        agents.leader().kill()
        wait_until(
            lambda: client.http("PUT", "/v1/kv/a", "3").status == 200,
            what="a write to the next leader",
        )
        assert value_of(client, "a") == "3"
