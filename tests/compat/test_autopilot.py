"""Our autopilot looks after stock servers, version 1.8.7, as it does after ours."""

import pytest

from consultwist.testing.processes import RunningAgent, find_consul, wait_until

CONSUL = find_consul()

pytestmark = [
    pytest.mark.compat,
    pytest.mark.blackbox,
    pytest.mark.skipif(CONSUL is None, reason="no stock Consul is on this machine"),
]

#: Servers are looked after every ten seconds.
TEND_TIMEOUT_S = 30.0

#: A stock server tells the WAN, then the LAN, and waits for both.
LEAVE_TIMEOUT_S = 40.0


def peers(agent):
    """Return the servers of Raft as an agent shows them: by name, whether they vote."""
    shown = agent.http("GET", "/v1/operator/raft/configuration")
    if shown.status != 200:
        return {}
    return {each["Node"]: each["Voter"] for each in shown.json["Servers"]}


def test_a_stock_server_joins_is_promoted_and_leaves(tmp_path):
    """It gets a vote when it has proved stable, and is removed when it leaves."""
    settings = {"server_stabilization_time": "1s"}
    ours = RunningAgent(tmp_path / "ours", {"node_name": "a", "autopilot": settings})
    with ours:
        config = {
            "node_name": "b",
            "retry_join": [ours.address],
            "limits": {},
            "performance": {"raft_multiplier": 1, "leave_drain_time": "100ms"},
        }
        command = [str(CONSUL), "agent"]
        with RunningAgent(tmp_path / "stock", config, command=command) as stock:
            wait_until(lambda: peers(ours) == {"a": True, "b": True}, TEND_TIMEOUT_S)
            wait_until(lambda: peers(stock) == {"a": True, "b": True})
            health = ours.http("GET", "/v1/operator/autopilot/health")
            assert [each["Name"] for each in health.json["Servers"]] == ["a", "b"]
            # Both must agree to a write now.
            assert stock.http("PUT", "/v1/kv/x", b"1").json is True
            # A snapshot comes from the leader by way of a stock follower.
            assert stock.http("GET", "/v1/snapshot").body[:2] == b"\x1f\x8b"
            wait_until(
                lambda: ours.http("GET", "/v1/operator/autopilot/health").status == 200
            )
            left = stock.http("PUT", "/v1/agent/leave", timeout_s=LEAVE_TIMEOUT_S)
            assert left.status == 200
            wait_until(lambda: peers(ours) == {"a": True})
        assert ours.http("GET", "/v1/kv/x?raw").body == b"1"
