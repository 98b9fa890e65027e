"""The RPC methods of health: checks and instances, their indexes and wakings."""

import pytest

from consultwist.api.catalog.rows import GATEWAY_SERVICES
from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.health.rpc import Health
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.errors import ConsultwistError
from consultwist.structs.catalog import (
    ChecksInStateRequest,
    ConnectProxyConfig,
    GatewayService,
    HealthCheck,
    NodeSpecificRequest,
    ServiceName,
    ServiceSpecificRequest,
)
from consultwist.structs.coordinate import Coord, Coordinate, CoordinateBatch
from consultwist.structs.message_type import MessageType
from consultwist.structs.query import QuerySource
from consultwist.testing.deferred import no_result_of, result_of
from consultwist.testing.registrations import deregister, register, service
from consultwist.testing.state import LocalServer, Replica


@pytest.fixture
def server():
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
    return LocalServer(Replica(*tables), Catalog(), Health())


def check(name, status="passing", **fields):
    return HealthCheck(name=name, status=status, **fields)


def instances(server, name="web", **fields):
    request = ServiceSpecificRequest(datacenter="dc1", service_name=name, **fields)
    return server.rpc("Health.ServiceNodes", request)


def ids(reply):
    return [each.service.id for each in reply.nodes]


def names(reply):
    return [each.check_id for each in reply.health_checks]


def in_state(server, state, **fields):
    request = ChecksInStateRequest(datacenter="dc1", state=state, **fields)
    return server.rpc("Health.ChecksInState", request)


def of_service(server, name="web", **fields):
    request = ServiceSpecificRequest(datacenter="dc1", service_name=name, **fields)
    return server.rpc("Health.ServiceChecks", request)


def of_node(server, node="n1", **fields):
    request = NodeSpecificRequest(datacenter="dc1", node=node, **fields)
    return server.rpc("Health.NodeChecks", request)


def test_an_instance_comes_with_the_checks_of_node_and_service(server):
    """Those of the node first; those of other services not."""
    register(server, service=service(), checks=[check("own", service_id="web1")])
    register(server, service=service("d", "db"), check=check("db", service_id="d"))
    register(server, check=check("zz-node"))
    (found,) = instances(server).nodes
    assert found.node.node == "n1"
    assert found.service.id == "web1"
    assert [each.check_id for each in found.checks] == ["zz-node", "own"]


def test_an_instance_without_checks_has_none(server):
    """As Go's nil list."""
    register(server, service=service())
    assert instances(server).nodes[0].checks is None


def test_instances_need_a_name(server):
    """An empty service is refused."""
    with pytest.raises(ConsultwistError, match="Must provide service name"):
        instances(server, "")


def test_an_answer_is_kept_while_nothing_about_it_changes(server):
    """Checks that are registered again unchanged do not part with it."""
    register(server, service=service(), check=check("c"))
    first = instances(server)
    register(server, check=check("c"))
    register(server, "n2", service=service("d", "db"), check=check("c"))
    again = instances(server)
    assert again.nodes is first.nodes
    assert again.index == first.index == 1


@pytest.mark.parametrize("how", ["node check", "own check", "type", "node", "gone"])
def test_a_change_of_health_is_seen_at_once(server, how):
    """A kept answer goes with the first change of what it rests on."""
    register(server, service=service(), check=check("c"))
    first = instances(server).nodes
    if how == "node check":
        register(server, check=check("c", "critical"))
    elif how == "own check":
        register(server, check=check("own", service_id="web1"))
    elif how == "type":
        register(server, check=check("c", type="http"))
    elif how == "node":
        register(server, address="10.0.0.2")
    else:
        deregister(server, check_id="c")
    assert instances(server).nodes != first


def test_a_reader_wakes_when_its_service_turns_critical(server):
    """And sleeps while others do."""
    register(server, service=service(), check=check("c", service_id="web1"))
    register(server, "n2", service=service("d", "db"))
    waiting = instances(server, min_query_index=1)
    register(server, "n2", check=check("c", "critical"))
    no_result_of(waiting)
    register(server, check=check("c", "critical", service_id="web1"))
    assert result_of(waiting).nodes[0].checks[0].status == "critical"


def test_an_absent_service_counts_checks_too(server):
    """Before any extinction the index is the highest of the catalog."""
    register(server)
    register(server, check=check("c"))
    register(server, check=check("c"))
    reply = instances(server, "nope")
    assert (reply.nodes, reply.index) == ([], 3)


def test_instances_are_narrowed_and_sorted(server):
    """By tags, node metadata, filter and distance."""
    for name, at in (("a", 9.0), ("b", 1.0)):
        register(
            server,
            name,
            node_meta={"n": name},
            service=service(name, tags=[name]),
            check=check("c", "passing" if name == "a" else "warning"),
        )
        place = Coordinate(node=name, coord=Coord(vec=[at]))
        server.replica.apply(
            MessageType.COORDINATE_BATCH_UPDATE, CoordinateBatch(coordinates=[place])
        )
    assert ids(instances(server, tag_filter=True, service_tags=["B"])) == ["b"]
    assert ids(instances(server, node_meta_filters={"n": "a"})) == ["a"]
    assert ids(instances(server, filter='Checks.Status == "warning"')) == ["b"]
    near = QuerySource(datacenter="dc1", node="b")
    assert ids(instances(server, source=near)) == ["b", "a"]


def test_the_mesh_shows_proxies_with_their_checks(server):
    """The proxy's own checks count, not those of what it stands for."""
    proxy = service(
        "p",
        "p",
        kind="connect-proxy",
        port=1,
        proxy=ConnectProxyConfig(destination_service_name="web"),
    )
    register(server, service=service(), check=check("web", service_id="web1"))
    register(server, service=proxy, check=check("proxy", service_id="p"))
    (found,) = instances(server, connect=True).nodes
    assert [each.check_id for each in found.checks] == ["proxy"]


def test_ingress_shows_the_gateways_that_expose_a_service(server):
    """Every gateway once, though it have several listeners; others not."""
    register(server, service=service("i", "ingress", kind="ingress-gateway"))
    register(server, service=service("t", "term", kind="terminating-gateway", port=1))

    def put(txn):
        for gateway, kind, port in (
            ("ingress", "ingress-gateway", 80),
            ("ingress", "ingress-gateway", 81),
            ("term", "terminating-gateway", 0),
        ):
            mapping = GatewayService(
                gateway=ServiceName(name=gateway),
                service=ServiceName(name="web"),
                gateway_kind=kind,
                port=port,
                modify_index=txn.index,
            )
            txn.put(GATEWAY_SERVICES, mapping)
        txn.max_index(GATEWAY_SERVICES)

    server.replica.change(put)
    reply = instances(server, ingress=True)
    assert (ids(reply), reply.index) == (["i"], 3)


def test_checks_are_listed_by_node_service_and_state(server):
    """By node and id; every word but any is compared as it is."""
    register(server, "B", service=service(), checks=[check("own", service_id="web1")])
    register(server, "a", checks=[check("c2", "warning"), check("C1", "critical")])
    assert names(of_node(server, "b")) == ["own"]
    assert names(of_node(server, "A")) == ["C1", "c2"]
    assert names(of_node(server, "nope")) == []
    assert names(of_service(server, "WEB")) == ["own"]
    assert names(in_state(server, "any")) == ["C1", "c2", "own"]
    assert names(in_state(server, "warning")) == ["c2"]
    assert names(in_state(server, "Warning")) == []


def test_lists_of_checks_are_narrowed(server):
    """By node metadata and filter."""
    register(server, "a", node_meta={"n": "a"}, checks=[check("c1"), check("c2")])
    register(server, "b", check=check("c3"), service=service())
    register(server, "b", check=check("own", service_id="web1"))
    assert names(in_state(server, "any", node_meta_filters={"n": "a"})) == ["c1", "c2"]
    assert names(in_state(server, "any", filter="CheckID == c3")) == ["c3"]
    assert names(of_node(server, "a", filter="CheckID != c1")) == ["c2"]
    assert names(of_service(server, node_meta_filters={"n": "a"})) == []


def test_the_index_of_checks_moves_with_every_registration(server):
    """Also where nothing changed; by node metadata it is the service's."""
    register(server, service=service(), check=check("c", service_id="web1"))
    register(server, check=check("c", service_id="web1"))
    assert in_state(server, "any").index == 2
    assert of_node(server).index == 2
    assert of_service(server).index == 2
    register(server, node_meta={"n": "1"})
    assert of_service(server, node_meta_filters={"n": "1"}).index == 3


def test_checks_are_sorted_by_the_distance_of_their_nodes(server):
    """The nearest node's come first."""
    for name, at in (("a", 9.0), ("b", 1.0)):
        register(server, name, check=check(f"c-{name}"))
        place = Coordinate(node=name, coord=Coord(vec=[at]))
        server.replica.apply(
            MessageType.COORDINATE_BATCH_UPDATE, CoordinateBatch(coordinates=[place])
        )
    near = QuerySource(datacenter="dc1", node="b")
    assert names(in_state(server, "any", source=near)) == ["c-b", "c-a"]
