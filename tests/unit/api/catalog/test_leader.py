"""The catalog follows the gossip pool while a server leads."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from consultwist.api.catalog import rows
from consultwist.api.catalog.leader import (
    RECONCILE_INTERVAL_S,
    CatalogFollowsMembers,
    consul_service,
)
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.errors import NoLeader
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    NodeService,
    RegisterRequest,
)
from consultwist.structs.message_type import MessageType
from consultwist.testing.state import LocalServer, Replica


def id_of(name):
    """Return an id that no other name has."""
    return f"40e4a748-2192-161a-0510-{name.encode().hex().rjust(12, '0')[-12:]}"


class Pool:
    """A gossip pool that holds what a test says."""

    def __init__(self):
        self._members = {}
        self._watchers = []

    def members(self, *, wan=False):
        return list(self._members.values())

    def on_change(self, callback):
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback)

    def put(self, *members):
        for member in members:
            self._members[member.name] = member
        self.tell()

    def forget(self, name):
        del self._members[name]
        self.tell()

    def tell(self):
        for callback in list(self._watchers):
            callback()


def member(name, role="node", status=MemberStatus.ALIVE, ip=b"\x0a\0\0\x01", **tags):
    tags = {"dc": "dc1", "role": role, "id": id_of(name), **tags}
    vsn = bytes((1, 5, 2, 2, 5, 4))
    return PoolMember(name=name, ip=ip, tags=tags, status=status, vsn=vsn)


def server_member(name="srv", **changes):
    tags = {"port": "8300", "build": "1.8.7:1f2e3d", "raft_vsn": "3"}
    return member(name, "consul", **(tags | changes))


@pytest.fixture
def server():
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
    server = LocalServer(Replica(*tables))
    server.membership = Pool()
    return server


def lead(server):
    return CatalogFollowsMembers().start(server)


def node_of(server, name) -> Any:
    return rows.find_node(server.store, name)


def consul_on(server, name) -> Any:
    return rows.find_service(server.store, name, "consul")


def health(server, name) -> Any:
    return rows.find_check(server.store, name, "serfHealth")


def settle(server):
    """Let changes that came during a write be taken up."""
    server.reactor.advance(0.2)


def test_members_are_registered_when_leading_begins(server):
    """A client gets a node with its health, and no service."""
    server.membership.put(member("c1"))
    lead(server)
    node = node_of(server, "c1")
    assert (node.id, node.address, node.datacenter) == (id_of("c1"), "10.0.0.1", "dc1")
    check = health(server, "c1")
    assert (check.name, check.status, check.output) == (
        "Serf Health Status",
        "passing",
        "Agent alive and reachable",
    )
    assert server.replica.rows("services") == []


def test_servers_get_the_service_consul(server):
    """Its metadata tells versions and whether the server votes."""
    server.membership.put(server_member(nonvoter="1"))
    lead(server)
    found = consul_on(server, "srv")
    assert (found.service, found.port) == ("consul", 8300)
    assert found.meta == {
        "non_voter": "true",
        "raft_version": "3",
        "serf_protocol_current": "2",
        "serf_protocol_max": "5",
        "serf_protocol_min": "1",
        "version": "1.8.7",
    }


def test_nothing_is_written_where_nothing_differs(server):
    """Reconciling again proposes nothing."""
    server.membership.put(server_member(), member("c1"))
    lead(server)
    count = len(server.commands)
    server.reactor.advance(RECONCILE_INTERVAL_S + 1)
    server.membership.tell()
    assert len(server.commands) == count == 2


def test_a_new_version_of_a_server_is_told(server):
    """Metadata of the service follows the member's tags."""
    server.membership.put(server_member())
    lead(server)
    server.membership.put(server_member(build="1.8.8:x"))
    assert consul_on(server, "srv").meta["version"] == "1.8.8"


def test_a_failed_member_becomes_critical_and_well_again(server):
    """What the agent told of its node stays."""
    server.membership.put(member("c1"))
    lead(server)
    told = RegisterRequest(
        datacenter="dc1",
        id=id_of("c1"),
        node="c1",
        address="10.0.0.1",
        tagged_addresses={"lan": "10.0.0.1"},
        node_meta={"rack": "1"},
    )
    server.replica.apply(MessageType.REGISTER, told)
    server.membership.put(member("c1", status=MemberStatus.FAILED))
    check = health(server, "c1")
    assert (check.status, check.output) == ("critical", "Agent not live or unreachable")
    settle(server)
    server.membership.put(member("c1"))
    assert health(server, "c1").status == "passing"
    node = node_of(server, "c1")
    assert node.tagged_addresses == {"lan": "10.0.0.1"}
    assert node.meta == {"rack": "1"}


def test_a_failed_stranger_is_not_registered(server):
    """Only a node that is known can become critical."""
    server.membership.put(member("c1", status=MemberStatus.FAILED))
    lead(server)
    assert server.commands == []


@pytest.mark.parametrize("how", ["left", "forgotten"])
def test_a_member_that_goes_takes_its_node_along(server, how):
    """Whether it said goodbye or was reaped."""
    server.membership.put(server_member("server-1"), member("c1"))
    lead(server)
    if how == "left":
        server.membership.put(member("c1", status=MemberStatus.LEFT))
    else:
        server.membership.forget("c1")
    assert node_of(server, "c1") is None
    assert node_of(server, "server-1") is not None


def test_the_leader_does_not_remove_itself(server):
    """A leader that leaves is removed by the next one."""
    server.membership.put(server_member("server-1"))
    lead(server)
    server.membership.put(server_member("server-1", status=MemberStatus.LEFT))
    server.membership.forget("server-1")
    assert node_of(server, "server-1") is not None


def test_external_nodes_are_left_alone(server):
    """A node without the check of gossip was never a member."""
    request = RegisterRequest(
        datacenter="dc1",
        node="ext",
        address="1.1.1.1",
        service=NodeService(id="s", service="s"),
        check=HealthCheck(node="ext", check_id="c", name="c"),
    )
    server.replica.apply(MessageType.REGISTER, request)
    lead(server)
    assert node_of(server, "ext") is not None


def test_members_of_other_kinds_are_not_registered(server):
    """Other datacenters and other programs in the pool are no nodes."""
    server.membership.put(member("x", dc="dc2"), member("y", role="serf"))
    lead(server)
    assert server.commands == []


def test_a_node_deleted_by_mistake_comes_back(server):
    """At the latest with the next reconciliation."""
    server.membership.put(member("c1"))
    lead(server)
    request = DeregisterRequest(datacenter="dc1", node="c1")
    server.replica.apply(MessageType.DEREGISTER, request)
    server.reactor.advance(RECONCILE_INTERVAL_S)
    assert node_of(server, "c1") is not None


def test_changes_during_a_write_are_taken_up_after_it(server):
    """No second reconciliation runs beside the first."""
    pending = []

    def raft_apply(message_type, request):
        pending.append(request.node)
        done: Deferred[None] = Deferred()
        pending_results.append(done)
        return done

    pending_results: list[Deferred[None]] = []
    server.raft_apply = raft_apply
    server.membership.put(member("c1"))
    lead(server)
    server.membership.put(member("c2"))
    assert pending == ["c1"]
    pending_results[0].callback(None)
    settle(server)
    assert pending == ["c1", "c1"]
    pending_results[1].callback(None)
    assert pending == ["c1", "c1", "c2"]


def test_one_refused_member_does_not_stop_the_others(server):
    """A failure is logged, and the next member's turn comes."""
    apply = server.raft_apply

    def raft_apply(message_type, request):
        if request.node == "c1":
            failing: Deferred[None] = Deferred()
            failing.errback(NoLeader())
            return failing
        return apply(message_type, request)

    server.raft_apply = raft_apply
    server.membership.put(member("c1"), member("c2"))
    lead(server)
    assert node_of(server, "c2") is not None


def test_nothing_happens_after_leadership_is_lost(server):
    """The pending write is given up, the timer and the watch are gone."""
    written = []

    def raft_apply(message_type, request):
        written.append(request.node)
        return Deferred()

    server.raft_apply = raft_apply
    server.membership.put(member("c1"), member("c2"))
    stop = lead(server)
    stop()
    server.membership.put(member("c3"))
    server.reactor.advance(2 * RECONCILE_INTERVAL_S)
    assert written == ["c1"]
    assert server.reactor.getDelayedCalls() == []


def test_a_server_without_versions_is_shown_without(server):
    """Tags that a member does not have leave their place empty."""
    bare = PoolMember(name="s", tags={"port": "1"})
    assert consul_service(bare).meta == {
        "non_voter": "false",
        "raft_version": "0",
        "serf_protocol_current": "0",
        "serf_protocol_max": "0",
        "serf_protocol_min": "0",
        "version": "",
    }
