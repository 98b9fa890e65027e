"""Who leads, and who takes part: any server answers, leader or not."""

from types import SimpleNamespace
from typing import Any

import pytest

from consultwist.api.status.http import StatusRoutes
from consultwist.api.status.rpc import Status
from consultwist.raft.configuration import Configuration, Server, Suffrage
from consultwist.structs.status import PingRequest, PingResponse, RaftStatsRequest
from consultwist.testing.local_api import LocalAPI

ONE = Server(id="1", address="10.0.0.1:8300")
TWO = Server(id="2", address="10.0.0.2:8300", suffrage=Suffrage.NONVOTER)


@pytest.fixture
def api():
    made = LocalAPI([], [Status()], [StatusRoutes()])
    server: Any = made.server
    server.raft = SimpleNamespace(
        leader=ONE,
        configuration=Configuration.of([ONE, TWO]),
        stats=lambda: {
            "last_contact": "45.855913ms",
            "last_log_index": "14",
            "last_log_term": "2",
        },
    )
    return made


def test_the_leader_is_told_by_its_address(api):
    """An empty text where there is none, still with status 200."""
    assert api.client.get("/v1/status/leader").json == "10.0.0.1:8300"
    api.server.raft.leader = None
    answer = api.client.get("/v1/status/leader")
    assert (answer.status, answer.json) == (200, "")


def test_peers_are_all_servers_of_the_configuration(api):
    """Those without a vote, too; a list, also where there are none."""
    assert api.client.get("/v1/status/peers").json == [ONE.address, TWO.address]
    api.server.raft.configuration = Configuration()
    assert api.client.get("/v1/status/peers").json == []


def test_query_parameters_are_looked_at(api):
    """As with other reads."""
    assert api.client.get("/v1/status/leader?wait=x").text == "Invalid wait time"


def test_servers_tell_each_other_how_far_they_are(api):
    """For autopilot."""
    assert api.server.rpc("Status.Ping", PingRequest()) == PingResponse()
    stats = api.server.rpc("Status.RaftStats", RaftStatsRequest())
    assert (stats.last_contact, stats.last_index, stats.last_term) == (
        "45.855913ms",
        14,
        2,
    )
