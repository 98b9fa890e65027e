"""Anti-entropy between the agent's local state and the catalog."""

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from consultwist.agent.anti_entropy import AntiEntropy, Identity, scale
from consultwist.agent.local_state import LocalState
from consultwist.errors import NoLeader, PermissionDenied
from consultwist.structs.catalog import (
    HealthCheck,
    IndexedHealthChecks,
    IndexedNodeServices,
    Node,
    NodeService,
    NodeServices,
)
from consultwist.testing.host import make_host

NODE = Node(id="1", node="n1", address="127.0.0.1", meta={}, tagged_addresses={})


class Catalog:
    """A catalog that keeps one node, and every request that it got."""

    def __init__(self):
        self.node = None
        self.services = {}
        self.checks = {}
        self.writes = []
        self.error = None
        self.hold = None

    def rpc(self, method, request):
        if self.error is not None:
            raise self.error
        if method == "Catalog.NodeServices":
            services = NodeServices(node=self.node, services=dict(self.services))
            found = None if self.node is None else services
            return IndexedNodeServices(node_services=found)
        if method == "Health.NodeChecks":
            return IndexedHealthChecks(health_checks=list(self.checks.values()))
        self.writes.append((method, request))
        if method == "Catalog.Register":
            self._register(request)
        else:
            self.services.pop(request.service_id, None)
            self.checks.pop(request.check_id, None)
        if self.hold is not None:
            return self.hold
        return None

    def _register(self, request):
        self.node = Node(
            id=request.id,
            node=request.node,
            address=request.address,
            meta=request.node_meta,
            tagged_addresses=request.tagged_addresses,
        )
        if request.service is not None:
            self.services[request.service.id] = request.service
        for check in [request.check, *(request.checks or ())]:
            if check is not None:
                self.checks[check.check_id] = check


@pytest.fixture
def world():
    """An agent's state in step with an empty catalog."""
    host = make_host()
    catalog = Catalog()
    state = LocalState(host, 0, False, lambda: sync.sync_changes())  # noqa: PLW0108
    identity = Identity(node=NODE, token=lambda: "agent-token", members=lambda: 1)
    sync = AntiEntropy(host, state, catalog.rpc, identity, 60)
    sync.startService()
    yield host, catalog, state, sync
    sync.stopService()


def test_the_node_itself_is_registered_at_start(world):
    """An agent without services appears in the catalog."""
    host, catalog, _, _ = world
    host.reactor.advance(0)
    ((method, request),) = catalog.writes
    assert method == "Catalog.Register"
    assert (request.node, request.token) == ("n1", "agent-token")


def test_a_service_and_its_checks_go_in_one_request(world):
    """A registration costs one entry of the log."""
    host, catalog, state, _ = world
    host.reactor.advance(0)
    catalog.writes.clear()
    state.add_service(NodeService(id="web", service="web"), "t")
    state.add_check(HealthCheck(node="n1", check_id="a", service_id="web"), "t")
    state.add_check(HealthCheck(node="n1", check_id="b", service_id="web"), "t")
    host.reactor.advance(0)
    ((_, request),) = catalog.writes
    assert request.service.id == "web"
    assert [check.check_id for check in request.checks] == ["a", "b"]
    assert request.token == "t"
    assert request.skip_node_update


def test_what_only_the_catalog_knows_is_removed(world):
    """The agent is the truth about its own node; serfHealth and consul stay."""
    host, catalog, _, _ = world
    catalog.node = NODE
    catalog.services = {
        "old": NodeService(id="old"),
        "consul": NodeService(id="consul"),
    }
    catalog.checks = {
        "gone": HealthCheck(check_id="gone"),
        "serfHealth": HealthCheck(check_id="serfHealth"),
    }
    host.reactor.advance(0)
    assert list(catalog.services) == ["consul"]
    assert list(catalog.checks) == ["serfHealth"]


def test_what_the_catalog_has_otherwise_is_written_again(world):
    """A full sync finds a changed row and puts it right."""
    host, catalog, state, _ = world
    state.add_service(NodeService(id="web", service="web", port=1))
    host.reactor.advance(0)
    catalog.services["web"] = NodeService(id="web", service="web", port=2)
    host.reactor.advance(121)
    assert catalog.services["web"].port == 1


def test_tags_may_be_overridden_in_the_catalog(world):
    """With EnableTagOverride the catalog's tags win."""
    host, catalog, state, _ = world
    service = NodeService(id="web", service="web", enable_tag_override=True)
    state.add_service(service)
    host.reactor.advance(0)
    catalog.services["web"] = NodeService(
        id="web", service="web", tags=["x"], enable_tag_override=True
    )
    catalog.writes.clear()
    host.reactor.advance(121)
    assert state.service("web").tags == ["x"]
    assert catalog.writes == []


def test_an_unchanged_world_causes_no_writes(world):
    """Full syncs that find nothing write nothing."""
    host, catalog, state, _ = world
    state.add_service(NodeService(id="web", service="web"))
    host.reactor.advance(0)
    catalog.writes.clear()
    for _ in range(5):
        host.reactor.advance(121)
    assert catalog.writes == []


def test_a_failed_sync_is_told_in_consuls_words(world):
    """Operators look for this line, and for the error behind it."""
    host, catalog, _, sync = world
    catalog.error = NoLeader()
    sync.sync_fully()
    with capturedLogs() as events:
        host.reactor.advance(0)
    assert [formatEvent(event) for event in events] == [
        'failed to sync remote state: error="No cluster leader"'
    ]


def test_a_failed_full_sync_is_tried_again_soon(world):
    """Without a leader the agent tries again after 15 to 30 seconds."""
    host, catalog, _, _ = world
    catalog.error = NoLeader()
    host.reactor.advance(0)
    catalog.error = None
    host.reactor.advance(14.9)
    assert catalog.writes == []
    host.reactor.advance(15.2)
    assert [method for method, _ in catalog.writes] == ["Catalog.Register"]


def test_a_refused_registration_waits_for_the_next_full_sync(world):
    """A permission error does not make the agent hammer the servers."""
    host, catalog, state, _ = world
    host.reactor.advance(0)
    real, attempts = catalog.rpc, []

    def refuse(method, request):
        if method == "Catalog.Register":
            attempts.append(method)
            raise PermissionDenied
        return real(method, request)

    world[3]._rpc = refuse
    state.add_service(NodeService(id="web", service="web"))
    for _ in range(10):
        host.reactor.advance(1)
    assert len(attempts) == 1


def test_changes_during_a_sync_are_written_after_it(world):
    """One sync runs at a time, and nothing is forgotten."""
    host, catalog, state, _ = world
    host.reactor.advance(0)
    catalog.hold = Deferred()
    state.add_service(NodeService(id="a", service="a"))
    host.reactor.advance(0)
    state.add_service(NodeService(id="b", service="b"))
    host.reactor.advance(0)
    assert "b" not in catalog.services
    hold, catalog.hold = catalog.hold, None
    hold.callback(None)
    host.reactor.advance(0)
    assert list(catalog.services) == ["a", "b"]


def test_syncs_can_be_paused(world):
    """While paused nothing is written; afterwards everything is."""
    host, catalog, state, sync = world
    host.reactor.advance(0)
    catalog.writes.clear()
    sync.pause()
    state.add_service(NodeService(id="web", service="web"))
    host.reactor.advance(1)
    assert catalog.writes == []
    sync.resume()
    host.reactor.advance(0)
    assert len(catalog.writes) == 1


@pytest.mark.parametrize(
    ("members", "factor"), [(1, 1), (128, 1), (129, 2), (256, 2), (257, 3), (8193, 8)]
)
def test_the_interval_grows_with_the_cluster(members, factor):
    """The factors are those of the reference table."""
    assert scale(members) == factor
