"""Snapshots go both ways between a stock server, version 1.8.7, and ours."""

import os
import subprocess

import pytest

from consultwist.testing.processes import RunningAgent, find_consul

CONSUL = find_consul()

pytestmark = [
    pytest.mark.compat,
    pytest.mark.blackbox,
    pytest.mark.skipif(CONSUL is None, reason="no stock Consul is on this machine"),
]

RUN_TIMEOUT_S = 20.0


@pytest.fixture
def ours(tmp_path):
    """A server of ours."""
    with RunningAgent(tmp_path / "ours", {"node_name": "ours"}) as running:
        yield running


@pytest.fixture
def stock(tmp_path):
    """A stock server."""
    config = {"node_name": "stock", "limits": {}}
    command = [str(CONSUL), "agent"]
    with RunningAgent(tmp_path / "stock", config, command=command) as running:
        yield running


def fill(agent):
    """Put something of each kind into a server; return the id of the session."""
    node = {"Node": "elsewhere", "Address": "10.1.2.3", "NodeMeta": {"rack": "7"}}
    service = {"ID": "db-1", "Service": "db", "Port": 5432, "Tags": ["primary"]}
    check = {"CheckID": "c1", "Name": "disk", "Status": "warning", "Output": "tight"}
    registration = {**node, "Service": service, "Check": check}
    assert agent.http("PUT", "/v1/catalog/register", registration).status == 200
    wanted = {"Node": "elsewhere", "Checks": [], "Name": "lock", "TTL": "80000s"}
    session = agent.http("PUT", "/v1/session/create", wanted).json["ID"]
    assert agent.http("PUT", "/v1/kv/plain?flags=7", b"\x00\xff value").json is True
    assert agent.http("PUT", f"/v1/kv/held?acquire={session}", b"1").json is True
    config = {"CleanupDeadServers": False, "MaxTrailingLogs": 99}
    url = "/v1/operator/autopilot/configuration"
    assert agent.http("PUT", url, config).json is True
    return session


def shown(agent):
    """Return what a client sees of that."""
    autopilot = agent.http("GET", "/v1/operator/autopilot/configuration").json
    return {
        "kv": agent.http("GET", "/v1/kv/?recurse").json,
        "services": agent.http("GET", "/v1/catalog/service/db").json,
        "checks": agent.http("GET", "/v1/health/node/elsewhere").json,
        "sessions": agent.http("GET", "/v1/session/list").json,
        "autopilot": autopilot,
    }


def carry(source, target):
    """Save at one server, restore at another; return what was seen of the first."""
    before = shown(source)
    saved = source.http("GET", "/v1/snapshot")
    assert saved.status == 200
    assert saved.headers["content-type"] == "application/x-gzip"
    assert int(saved.headers["x-consul-index"]) > 1
    restored = target.http("PUT", "/v1/snapshot", saved.body)
    assert (restored.status, restored.body) == (200, b"")
    return before


def test_a_stock_server_restores_what_we_saved(ours, stock):
    """Keys, locks, nodes, services, checks, sessions and settings are all there."""
    session = fill(ours)
    assert stock.http("PUT", "/v1/kv/old", b"goes").json is True
    before = carry(ours, stock)
    assert shown(stock) == before
    assert before["sessions"][0]["ID"] == session
    assert stock.http("GET", "/v1/kv/old").status == 404
    # It is a cluster like any other: writes go on, and locks are held.
    assert stock.http("PUT", "/v1/kv/new", b"2").json is True
    assert stock.http("PUT", f"/v1/kv/held?release={session}", b"").json is True


def test_we_restore_what_a_stock_server_saved(ours, stock):
    """The same the other way; indexes go on above those of the archive."""
    session = fill(stock)
    for number in range(200):  # so that its index is far above ours
        stock.http("PUT", f"/v1/kv/many/{number}", b"x")
    before = carry(stock, ours)
    assert shown(ours) == before
    assert ours.http("PUT", "/v1/kv/new", b"2").json is True
    highest = max(entry["ModifyIndex"] for entry in before["kv"])
    assert ours.http("GET", "/v1/kv/new").json[0]["ModifyIndex"] > highest
    assert ours.http("PUT", f"/v1/kv/held?release={session}", b"").json is True


def test_a_restored_state_outlives_a_restart(ours, stock):
    """What was restored is on the disk, and so is what came after it."""
    fill(stock)
    carry(stock, ours)
    assert ours.http("PUT", "/v1/kv/after", b"2").json is True
    before = shown(ours)
    ours.kill()
    ours.start().wait_ready()
    assert shown(ours)["kv"] == before["kv"]
    assert shown(ours)["services"] == before["services"]


def test_the_stock_command_saves_inspects_and_restores(ours, tmp_path):
    """It checks the archive before it believes that it has one."""
    fill(ours)
    before = shown(ours)
    file = str(tmp_path / "backup.tgz")

    def consul(*args):
        done = subprocess.run(
            [str(CONSUL), "snapshot", *args],
            env=os.environ | {"CONSUL_HTTP_ADDR": f"{ours.address}:8500"},
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Saved and verified snapshot" in consul("save", file)
    assert "Index" in consul("inspect", file)
    ours.http("DELETE", "/v1/kv/?recurse")
    assert "Restored snapshot" in consul("restore", file)
    assert shown(ours)["kv"] == before["kv"]
