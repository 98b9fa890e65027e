"""Operators see and change Raft's servers and autopilot, by HTTP and by RPC."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import fail, succeed

from consultwist.api.operator.http import OperatorRoutes
from consultwist.api.operator.leader import AutopilotRoutine
from consultwist.api.operator.rpc import Operator
from consultwist.api.operator.table import OperatorTable
from consultwist.errors import ConsultwistError, NotLeader, PermissionDenied
from consultwist.gossip.serf.members import PoolMember
from consultwist.raft.configuration import Configuration, Server, Suffrage
from consultwist.structs.message_type import MessageType
from consultwist.structs.operator import (
    AutopilotConfig,
    AutopilotSetConfigRequest,
    OperatorHealthReply,
    RaftRemovePeerRequest,
    ServerHealth,
)
from consultwist.structs.query import DCSpecificRequest
from consultwist.testing.captures import Replay, load_captures
from consultwist.testing.local_api import LocalAPI
from consultwist.testing.state import Replica
from consultwist.wire.time import Time

VECTORS = Path(__file__).parents[3] / "vectors" / "http"

#: The server of the captures.
ID = "1ea0ad70-99f5-ac2a-5009-e7592755b2df"
ADDRESS = "127.0.40.1:8300"
HEALTH = ServerHealth(
    id=ID,
    name="srv1",
    address=ADDRESS,
    serf_status=1,
    version="1.8.7",
    leader=True,
    last_contact=0,
    last_term=2,
    last_index=141,
    healthy=True,
    voter=True,
    stable_since=Time(1_700_000_000, 600_000_000),
)
SETTINGS = {
    "autopilot_cleanup_dead_servers": True,
    "autopilot_last_contact_threshold": 0.2,
    "autopilot_max_trailing_logs": 250,
    "autopilot_min_quorum": 0,
    "autopilot_server_stabilization_time": 10.0,
    "autopilot_redundancy_zone_tag": "",
    "autopilot_disable_upgrade_migration": False,
    "autopilot_upgrade_version_tag": "",
}
CONFIGURATION = "/v1/operator/autopilot/configuration"


class FakeAutopilot:
    """An autopilot that remembers whether it runs."""

    def __init__(self):
        self.health = OperatorHealthReply(healthy=True, servers=[HEALTH])
        self.is_running = False

    def start(self):
        self.is_running = True

    def stop(self):
        self.is_running = False


@pytest.fixture
def api():
    """The API of a server that leads alone, with the first autopilot configuration."""
    made: Any = LocalAPI([OperatorTable()], [Operator()], [OperatorRoutes()])
    tags = {
        "role": "consul",
        "dc": "dc1",
        "port": "8300",
        "vsn": "2",
        "raft_vsn": "3",
        "build": "1.8.7:",
    }
    me = PoolMember(name="srv1", ip=bytes([127, 0, 40, 1]), tags=tags, status=1)
    made.removed = []
    server = made.server
    server.raft = SimpleNamespace(
        configuration=Configuration(servers=[Server(id=ID, address=ADDRESS)]),
        remove=lambda server_id: succeed(made.removed.append(server_id)),
    )
    server.membership = SimpleNamespace(members=lambda: [me])
    server.leader_address = lambda: ADDRESS
    server.autopilot = FakeAutopilot()
    server.config = SimpleNamespace(**vars(server.config), **SETTINGS)
    made.stop = AutopilotRoutine().start(server)
    return made


class Rights:
    """An authorizer that allows one kind of access to operators."""

    def __init__(self, access):
        self.access = access

    def allows(self, resource, access, name):
        return (resource, access) == ("operator", self.access)


def test_every_recorded_call_is_answered_as_recorded(api):
    """Status, headers and body are those of a real server, call after call."""
    entries = load_captures(VECTORS / "operator.json")
    paths = ("/v1/operator/raft", "/v1/operator/autopilot")
    entries = [e for e in entries if e["request"]["path"].startswith(paths)]
    replay = Replay(api.client, lambda _: None)
    for entry in entries:
        assert not replay.run(entry), entry["id"]
    assert len(entries) == 15


# --- the servers of Raft --------------------------------------------------------------


def test_servers_that_the_pool_does_not_know_are_shown(api):
    """By what Raft knows of them."""
    unknown = Server(id="x", address="10.0.0.9:8300", suffrage=Suffrage.NONVOTER)
    servers = api.server.raft.configuration.servers
    api.server.raft.configuration = Configuration(servers=[*servers, unknown])
    shown = api.client.get("/v1/operator/raft/configuration").json["Servers"]
    assert shown[0]["Node"] == "srv1"
    assert shown[1] == {
        "ID": "x",
        "Node": "(unknown)",
        "Address": "10.0.0.9:8300",
        "Leader": False,
        "ProtocolVersion": "unknown",
        "Voter": False,
    }


@pytest.mark.parametrize("query", [f"id={ID}", f"address={ADDRESS}"])
def test_a_server_is_removed_by_id_or_address(api, query):
    """The answer is empty."""
    answer = api.client.request("DELETE", f"/v1/operator/raft/peer?{query}")
    assert (answer.status, answer.body) == (200, b"")
    assert api.removed == [ID]


def test_a_removal_that_fails_is_told(api):
    """As when leadership is lost meanwhile."""
    api.server.raft.remove = lambda _: fail(NotLeader())
    answer = api.client.request("DELETE", f"/v1/operator/raft/peer?id={ID}")
    assert (answer.status, answer.text) == (500, "node is not the leader")


# --- the configuration of autopilot ---------------------------------------------------


def test_a_configuration_is_replaced_as_a_whole(api):
    """What is left out becomes zero; the index of the first one stays."""
    before = api.client.get(CONFIGURATION).json
    body = b'{"MaxTrailingLogs": 7, "LastContactThreshold": "1.5s", "MinQuorum": 3}'
    assert api.client.put(CONFIGURATION, body).json is True
    after = api.client.get(CONFIGURATION).json
    assert after["MaxTrailingLogs"] == 7
    assert after["LastContactThreshold"] == "1.5s"
    assert after["MinQuorum"] == 3
    assert after["CleanupDeadServers"] is False
    assert after["ServerStabilizationTime"] == "0s"
    assert after["CreateIndex"] == before["CreateIndex"]
    assert after["ModifyIndex"] > before["ModifyIndex"]


def test_a_configuration_is_compared_and_set(api):
    """Only where nobody changed it since it was read."""
    index = api.client.get(CONFIGURATION).json["ModifyIndex"]
    body = b'{"MaxTrailingLogs": 7}'
    assert api.client.put(f"{CONFIGURATION}?cas={index + 1}", body).json is False
    assert api.client.get(CONFIGURATION).json["MaxTrailingLogs"] == 250
    assert api.client.put(f"{CONFIGURATION}?cas={index}", body).json is True
    assert api.client.get(CONFIGURATION).json["MaxTrailingLogs"] == 7


def test_before_the_first_configuration_there_is_none_to_compare():
    """Comparing fails, and reading tells why there is nothing."""
    fresh = Replica(OperatorTable())
    request = AutopilotSetConfigRequest(cas=True)
    assert fresh.apply(MessageType.AUTOPILOT, request) is False
    api = LocalAPI([OperatorTable()], [Operator()], [OperatorRoutes()])
    answer = api.client.get(CONFIGURATION)
    assert (answer.status, answer.text) == (
        500,
        "autopilot config not initialized yet",
    )


def test_the_configuration_survives_a_snapshot(api):
    """With its indexes; a state without one has none afterwards either."""
    fresh = Replica(OperatorTable())
    fresh.restore(api.replica.snapshot())
    assert fresh.store.values == api.replica.store.values
    empty = Replica(OperatorTable())
    empty.restore(Replica(OperatorTable()).snapshot())
    assert empty.store.values == {}


# --- health ---------------------------------------------------------------------------


def test_who_is_not_healthy_shows_in_the_status(api):
    """Simple monitors look at nothing else."""
    sick = ServerHealth(id="x", serf_status=4, last_contact=-1)
    api.server.autopilot.health = OperatorHealthReply(servers=[HEALTH, sick])
    answer = api.client.get("/v1/operator/autopilot/health")
    assert answer.status == 429
    first, second = answer.json["Servers"]
    assert first["StableSince"] == "2023-11-14T22:13:21Z"
    assert (second["SerfStatus"], second["LastContact"]) == ("failed", "-1ns")
    assert second["StableSince"] == "0001-01-01T00:00:00Z"


def test_before_the_first_round_nothing_is_healthy(api):
    """There are no servers to show."""
    api.server.autopilot.health = OperatorHealthReply()
    answer = api.client.get("/v1/operator/autopilot/health")
    assert answer.status == 429
    assert answer.json == {"Healthy": False, "FailureTolerance": 0, "Servers": None}


def test_an_unknown_status_of_a_member_has_no_name(api):
    """Newer servers may know more of them."""
    odd = ServerHealth(serf_status=9)
    api.server.autopilot.health = OperatorHealthReply(servers=[odd])
    shown = api.client.get("/v1/operator/autopilot/health").json
    assert shown["Servers"][0]["SerfStatus"] == ""


# --- the leader and rights ------------------------------------------------------------


def test_the_leader_writes_the_first_configuration(api):
    """From its own settings, once; and autopilot runs while it leads."""
    (command,) = api.server.commands
    assert command[1].config == AutopilotConfig(
        cleanup_dead_servers=True,
        last_contact_threshold=200_000_000,
        max_trailing_logs=250,
        server_stabilization_time=10_000_000_000,
    )
    assert api.server.autopilot.is_running
    api.stop()
    assert not api.server.autopilot.is_running
    AutopilotRoutine().start(api.server)()
    assert len(api.server.commands) == 1


def test_a_configuration_that_cannot_be_written_is_left_to_the_next_leader(api):
    """Autopilot runs nevertheless."""
    api.replica.store.values.clear()
    api.server.raft_apply = lambda *_: fail(NotLeader())
    AutopilotRoutine().start(api.server)
    assert api.server.autopilot.is_running
    assert api.replica.store.values == {}


READS = ("RaftGetConfiguration", "AutopilotGetConfiguration", "ServerHealth")
WRITES = {
    "RaftRemovePeerByAddress": RaftRemovePeerRequest(datacenter="dc1"),
    "RaftRemovePeerByID": RaftRemovePeerRequest(datacenter="dc1"),
    "AutopilotSetConfiguration": AutopilotSetConfigRequest(datacenter="dc1"),
}


def test_methods_ask_for_the_rights_of_operators(api):
    """Reading needs read access, changing needs write access."""
    reads = {name: DCSpecificRequest(datacenter="dc1") for name in READS}
    for wrong, requests in (("write", reads), ("read", WRITES)):
        api.server.authorizer = Rights(wrong)
        for name, request in requests.items():
            with pytest.raises(PermissionDenied):
                api.server.rpc(f"Operator.{name}", request)
    api.server.authorizer = Rights("read")
    for name, request in reads.items():
        assert api.server.rpc(f"Operator.{name}", request) is not None
    api.server.authorizer = Rights("write")
    with pytest.raises(ConsultwistError, match="was not found"):
        api.server.rpc("Operator.RaftRemovePeerByID", WRITES["RaftRemovePeerByID"])
