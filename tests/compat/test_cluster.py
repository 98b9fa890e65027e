"""Clusters of our agents and stock ones: either takes the other's place."""

import base64
import threading

import pytest

from consultwist.testing.certificates import TestAuthority
from consultwist.testing.clusters import OURS, STOCK, cluster
from consultwist.testing.processes import find_consul, wait_until

pytestmark = [
    pytest.mark.compat,
    pytest.mark.blackbox,
    pytest.mark.skipif(find_consul() is None, reason="no stock Consul was found"),
]


def put(agent, path, body=None):
    answer = agent.http("PUT", path, body)
    assert answer.status == 200, answer.text
    return answer.json if answer.body else None


def get(agent, path):
    answer = agent.http("GET", path)
    assert answer.status == 200, answer.text
    return answer.json


def value_of(agent, key, query=""):
    answer = agent.http("GET", f"/v1/kv/{key}{query}")
    return base64.b64decode(answer.json[0]["Value"]).decode() if answer.body else None


def register(client, server):
    """A service that is registered on one agent is found from the other."""
    put(
        client,
        "/v1/agent/service/register",
        {"Name": "web", "Port": 80, "Check": {"TTL": "60s", "Status": "passing"}},
    )

    def found(agent):
        instances = get(agent, "/v1/health/service/web?passing")
        return [each["Node"]["Node"] for each in instances]

    name = client.config["node_name"]
    wait_until(lambda: found(server) == [name], what="service on the server")
    assert found(client) == [name]
    assert "web" in get(client, "/v1/catalog/services")


def use_keys(client, server):
    """Keys, sessions and locks pass through the client, errors too."""
    assert put(client, "/v1/kv/a/b", "one") is True
    assert value_of(client, "a/b") == value_of(server, "a/b") == "one"
    assert get(client, "/v1/kv/a?keys") == ["a/b"]
    wait_until(
        lambda: get(client, f"/v1/health/node/{client.config['node_name']}"),
        what="serfHealth of the client",
    )
    session = put(client, "/v1/session/create", {"Name": "mine"})["ID"]
    assert put(client, f"/v1/kv/lock?acquire={session}", "held") is True
    assert put(server, f"/v1/kv/lock?release={session}") is True
    assert put(client, f"/v1/session/destroy/{session}") is True
    assert client.http("GET", "/v1/kv/none").status == 404
    refused = client.http("PUT", "/v1/session/create", {"TTL": "1s"})
    assert (refused.status, "Invalid Session TTL" in refused.text) in {
        (500, True),
        (400, True),
    }


def move_state(client, server):
    """A snapshot that is taken through the client is put back through it."""
    put(client, "/v1/kv/snapshot", "saved")
    saved = client.http("GET", "/v1/snapshot")
    assert (saved.status, saved.body[:2]) == (200, b"\x1f\x8b")
    put(client, "/v1/kv/snapshot", "changed")
    assert client.http("PUT", "/v1/snapshot", saved.body).status == 200
    assert value_of(server, "snapshot") == "saved"
    broken = client.http("PUT", "/v1/snapshot", saved.body[:100])
    assert broken.status == 500
    assert value_of(client, "snapshot") == "saved"


def wait_for_change(client, server):
    """A long poll through the client ends when the server sees a write."""
    index = client.http("GET", "/v1/kv/a/b").headers["x-consul-index"]
    seen = []
    reader = threading.Thread(
        target=lambda: seen.append(value_of(client, "a/b", f"?index={index}&wait=20s"))
    )
    reader.start()
    put(server, "/v1/kv/a/b", "two")
    reader.join(10)
    assert seen == ["two"]


@pytest.mark.parametrize(("server", "client"), [(OURS, STOCK), (STOCK, OURS)])
def test_a_client_works_with_a_server_of_the_other_kind(tmp_path, server, client):
    """It registers, discovers, reads, writes, locks and waits."""
    with cluster(tmp_path) as agents:
        (one,) = agents.start_servers(server)
        other = agents.add(client, "client")
        register(other, one)
        use_keys(other, one)
        wait_for_change(other, one)
        move_state(other, one)
        members = get(other, "/v1/catalog/nodes")
        assert {each["Node"] for each in members} == {"server-0", "client"}


@pytest.mark.parametrize("programs", [(OURS, STOCK, STOCK), (OURS, OURS, STOCK)])
def test_servers_of_both_kinds_are_one_cluster(tmp_path, programs):
    """They elect, replicate, forward to each other and survive their leader."""
    with cluster(tmp_path) as agents:
        servers = agents.start_servers(*programs)
        for number, server in enumerate(servers):
            assert put(server, f"/v1/kv/from/{number}", str(number)) is True
        for server in servers:
            assert get(server, "/v1/kv/from?keys") == ["from/0", "from/1", "from/2"]
        leader = agents.leader()
        follower = next(server for server in servers if server is not leader)
        move_state(follower, leader)
        leader.kill()
        rest = [server for server in servers if server is not leader]
        wait_until(
            lambda: rest[0].http("PUT", "/v1/kv/after", "x").status == 200,
            what="write after the leader's end",
        )
        assert value_of(rest[1], "after") == "x"
        leader.start().wait_ready()
        wait_until(
            lambda: value_of(leader, "after", "?stale") == "x",
            what="the old leader caught up",
        )


@pytest.mark.parametrize(("server", "client"), [(OURS, STOCK), (STOCK, OURS)])
def test_agents_of_both_kinds_trust_the_same_certificates(tmp_path, server, client):
    """With every check on, names of servers included."""
    authority = TestAuthority(tmp_path / "tls")
    checks = {
        "verify_incoming_rpc": True,
        "verify_outgoing": True,
        "verify_server_hostname": True,
    }
    with cluster(tmp_path, **checks) as agents:
        agents.config |= authority.issue("server", "server.dc1.consul", "localhost")
        (one,) = agents.start_servers(server)
        agents.config |= authority.issue("client", "client.dc1.consul")
        other = agents.add(client, "client")
        use_keys(other, one)
        move_state(other, one)


def test_a_server_of_ours_joins_stock_servers_later(tmp_path):
    """It gets what was before it came, by snapshot or log, and then a vote."""
    with cluster(tmp_path, autopilot={"server_stabilization_time": "1s"}) as agents:
        (first,) = agents.start_servers(STOCK)
        put(first, "/v1/kv/old", "kept")
        ours = agents.add(OURS, "late", server=True)
        wait_until(lambda: value_of(ours, "old", "?stale") == "kept", what="the log")

        def is_voter():
            servers = get(first, "/v1/operator/raft/configuration")["Servers"]
            return [each["Voter"] for each in servers] == [True, True]

        wait_until(is_voter, what="promotion")
        assert put(ours, "/v1/kv/new", "written") is True
        assert value_of(first, "new") == "written"
