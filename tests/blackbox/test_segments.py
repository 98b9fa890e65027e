"""Network segments: pools of their own within one datacenter."""

import pytest

from consultwist.testing.processes import RunningAgent, wait_until

pytestmark = pytest.mark.blackbox


def members(agent, segment=""):
    """Return the names of the members of a segment, in order."""
    answer = agent.http("GET", f"/v1/agent/members?segment={segment}")
    assert answer.status == 200, answer.text
    return sorted(member["Name"] for member in answer.json)


def test_a_client_is_in_its_segment_and_a_server_in_all(tmp_path):
    """The client gossips in its segment alone, and still comes into the catalog."""
    segments = {"segments": [{"name": "alpha", "port": 8303}], "node_name": "s1"}
    with RunningAgent(tmp_path / "server", segments) as server:
        client = RunningAgent(
            tmp_path / "client",
            {
                "node_name": "c1",
                "segment": "alpha",
                "ports": {"serf_lan": 8303},
                "retry_join": [server.address],
            },
            server=False,
        )
        try:
            client.start()
            wait_until(lambda: members(server, "alpha") == ["c1", "s1"])
            assert members(server) == ["s1"]
            assert members(server, "_all") == ["c1", "s1"]
            wait_until(
                lambda: (
                    {n["Node"] for n in server.http("GET", "/v1/catalog/nodes").json}
                    == {"c1", "s1"}
                )
            )
            assert server.http("GET", "/v1/agent/members?segment=x").status == 500
        finally:
            client.kill()
