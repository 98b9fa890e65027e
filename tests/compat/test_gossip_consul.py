"""Our gossip members in the LAN and WAN pools of stock Consul agents."""

import base64
import contextlib
import os
import time
import uuid
from functools import partial

import pytest

from consultwist.gossip.consul import parse_server
from consultwist.gossip.serf.members import PoolMember
from consultwist.testing.gossip_members import OurMember
from consultwist.testing.processes import RunningAgent, find_consul, wait_until
from consultwist.wire import msgpack

CONSUL = find_consul()

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(CONSUL is None, reason="no stock Consul was found"),
]

ALIVE, LEFT, FAILED = 1, 3, 4
KEY_A = base64.b64encode(bytes(range(32))).decode()
KEY_B = base64.b64encode(bytes(range(50, 66))).decode()


def consul(folder, name, *, server=True, **config):
    """A stock agent."""
    return RunningAgent(
        folder / name,
        {"node_name": name, **config},
        server=server,
        command=[str(CONSUL), "agent"],
    )


def client_tags(**more):
    return {
        "role": "node",
        "dc": "dc1",
        "segment": "",
        "id": str(uuid.uuid4()),
        "vsn": "2",
        "vsn_min": "2",
        "vsn_max": "3",
        "build": "1.8.7:",
        "acls": "0",
        **more,
    }


def ours(folder, name, **config):
    """One of our members, with the face of a client agent."""
    given = {"bind_port": 8301, "serf": "consul", "tags": client_tags(), **config}
    return OurMember(folder, name=name, **given)


def lan(agent):
    return f"{agent.address}:8301"


def statuses(agent, wan=False):
    path = "/v1/agent/members" + ("?wan=1" if wan else "")
    return {m["Name"]: m["Status"] for m in agent.http("GET", path).json}


def wait_status(agent, name, status, timeout_s=40.0):
    wait_until(
        lambda: statuses(agent).get(name) == status,
        timeout_s,
        f"{agent.config['node_name']} sees {name} as {status}",
    )


def serf_health(agent, name):
    checks = agent.http("GET", f"/v1/health/node/{name}").json
    return next((c["Status"] for c in checks if c["CheckID"] == "serfHealth"), None)


def is_passing(agent, name):
    return serf_health(agent, name) == "passing"


def sees_all(agent):
    return list(statuses(agent).values()) == [ALIVE] * 10


def knows_all(member):
    return len(member.call("members")) == 10


def test_consul_takes_our_members_for_client_agents(tmp_path):
    """Joined from either side, they are listed alive and pass their health check."""
    with consul(tmp_path, "c1") as c1, ours(tmp_path, "us1") as us1:
        with ours(tmp_path, "us2") as us2:
            assert us1.call("join", addresses=[lan(c1)]) == 1
            assert c1.http("PUT", f"/v1/agent/join/{us2.host}").status == 200
            for member in (us1, us2):
                wait_status(c1, member.name, ALIVE)
                wait_until(partial(is_passing, c1, member.name))
                member.wait_status("c1", ALIVE)
            server = us1.call("members")["c1"]
            found = parse_server(
                PoolMember(name="c1", ip=b"\x7f\0\0\1", tags=server["tags"])
            )
            assert found is not None
            assert found.port == 8300
            us2.wait_status("us1", ALIVE)
        wait_status(c1, "us2", FAILED)
        wait_until(lambda: serf_health(c1, "us2") == "critical")
        us1.wait_status("us2", FAILED)
        assert c1.http("PUT", "/v1/agent/force-leave/us2").status == 200
        us1.wait_status("us2", LEFT)
        wait_until(lambda: serf_health(c1, "us2") is None)
        us1.call("leave")
        wait_status(c1, "us1", LEFT)


def test_user_events_of_consul_travel_both_ways(tmp_path):
    """An event fired by HTTP reaches us; one of ours is listed by Consul."""
    with consul(tmp_path, "c1") as c1, ours(tmp_path, "us1") as us1:
        us1.call("join", addresses=[lan(c1)])
        wait_status(c1, "us1", ALIVE)
        c1.http("PUT", "/v1/event/fire/deploy", b"hello")
        heard = us1.wait_event(event="user", name="consul:event:deploy")
        body = msgpack.plain(msgpack.unpack(base64.b64decode(heard["payload"])))
        assert (body["n"], body["p"]) == ("deploy", "hello")
        number = str(uuid.uuid4())
        payload = msgpack.pack({"ID": number, "n": "ours", "p": b"x", "v": 1})
        us1.call(
            "event",
            name="consul:event:ours",
            payload=base64.b64encode(payload).decode(),
        )
        wait_until(
            lambda: (
                [e["ID"] for e in c1.http("GET", "/v1/event/list?name=ours").json]
                == [number]
            )
        )


def test_consul_rotates_the_keys_of_a_pool_with_us(tmp_path):
    """Install, use and remove by Consul's operator interface, list by ours."""
    with (
        consul(tmp_path, "c1", encrypt=KEY_A) as c1,
        ours(tmp_path, "us1", keys=[KEY_A]) as us1,
    ):
        us1.call("join", addresses=[lan(c1)])
        wait_status(c1, "us1", ALIVE)
        for method, key in (("POST", KEY_B), ("PUT", KEY_B), ("DELETE", KEY_A)):
            answer = c1.http(method, "/v1/operator/keyring", {"Key": key})
            assert answer.status == 200, answer.text
        rings = c1.http("GET", "/v1/operator/keyring").json
        (ring,) = [r for r in rings if not r["WAN"]]
        assert ring["NumNodes"] == 2
        assert ring["Keys"] == {KEY_B: 2}
        listed = us1.call("keyring", operation="list", relay_factor=1)
        assert listed["keys"] == {KEY_B: 2}
        # A key that only the pool's old members would need is refused by all.
        refused = us1.call("keyring", operation="use", key=KEY_A)
        assert refused["errors"] == 2


def test_consul_refuses_us_in_a_wrong_datacenter(tmp_path):
    """The join looks successful from here; the server never lists us."""
    with (
        consul(tmp_path, "c1") as c1,
        ours(tmp_path, "us1", tags=client_tags(dc="dc9")) as us1,
    ):
        us1.call("join", addresses=[lan(c1)])
        time.sleep(2)
        assert "us1" not in statuses(c1)


def test_a_server_of_ours_joins_the_wan_pool(tmp_path):
    """With a server's tags we are in the WAN pool, and our datacenter is known."""
    tags = client_tags(role="consul", dc="dc2", port="8300", raft_vsn="3")
    with (
        consul(tmp_path, "c1") as c1,
        ours(tmp_path, "us1.dc2", bind_port=8302, tags=tags) as us1,
    ):
        us1.call("join", addresses=[f"{c1.address}:8302"])
        us1.wait_status("c1.dc1", ALIVE)
        wait_until(lambda: statuses(c1, wan=True).get("us1.dc2") == ALIVE)
        wait_until(lambda: "dc2" in c1.http("GET", "/v1/catalog/datacenters").json)


#: How long the mixed pool must stay calm; five minutes were run by hand.
CALM_S = float(os.environ.get("GOSSIP_CALM_S", "10"))


def test_a_mixed_pool_of_servers_and_clients_stays_calm(tmp_path):
    """Three servers, two clients and five of ours see each other and nobody fails."""
    with contextlib.ExitStack() as stack:
        first = consul(tmp_path, "c1", bootstrap_expect=3)
        retry = {"retry_join": [first.address], "retry_interval": "1s"}
        agents = [first]
        for name in ("c2", "c3"):
            agents.append(consul(tmp_path, name, bootstrap_expect=3, **retry))
        for name in ("k1", "k2"):
            agents.append(consul(tmp_path, name, server=False, **retry))
        for agent in agents:
            stack.callback(agent.kill)
            agent.start()
        members = [
            stack.enter_context(ours(tmp_path, f"us{number}")) for number in range(5)
        ]
        for agent in agents:
            agent.wait_ready()
        for member in members:
            member.call("join", addresses=[lan(first)])
        for agent in agents:
            wait_until(partial(sees_all, agent))
        for member in members:
            wait_until(partial(knows_all, member))
        time.sleep(CALM_S)
        for agent in agents:
            assert list(statuses(agent).values()) == [ALIVE] * 10
            assert "has failed" not in agent.log_file.read_text()
        for member in members:
            assert not [e for e in member.events if e["event"] == "member-failed"]
            assert member.call("stats")["health_score"] == "0"
            assert member.call("stats")["dropped"] == {}
