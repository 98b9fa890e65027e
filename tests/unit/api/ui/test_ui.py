"""The overviews of the user interface, from the state to JSON."""

import pytest

from consultwist.api.catalog.rows import GATEWAY_SERVICES
from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.api.ui.http import gateway_summaries, summaries
from consultwist.api.ui.rpc import Overviews
from consultwist.errors import ConsultwistError
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    GatewayService,
    HealthCheck,
    NodeService,
    NodeSpecificRequest,
    RegisterRequest,
    ServiceDumpRequest,
    ServiceName,
    ServiceSpecificRequest,
)
from consultwist.structs.query import DCSpecificRequest
from consultwist.testing.state import LocalServer, Replica


@pytest.fixture
def server():
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
    server = LocalServer(Replica(*tables), Catalog(), Overviews())
    proxy = ConnectProxyConfig(destination_service_name="web")
    register(server, "b", service=service("w2", tags=["v2"]))
    register(server, "a", service=service("w1", tags=["v1"], meta={"x": "y"}))
    register(
        server,
        "a",
        service=service("p", "p", kind="connect-proxy", port=1, proxy=proxy),
    )
    register(server, "a", check=HealthCheck(name="c", status="warning"))
    register(server, "c")
    return server


def register(server, node, **fields):
    request = RegisterRequest(datacenter="dc1", node=node, address="1.1.1.1", **fields)
    server.rpc("Catalog.Register", request)


def service(service_id, name="web", **fields):
    return NodeService(id=service_id, service=name, **fields)


def dump(server, **fields):
    request = ServiceDumpRequest(datacenter="dc1", **fields)
    return server.rpc("Internal.ServiceDump", request)


def test_a_node_is_shown_with_all_on_it(server):
    """Its services and checks; an unknown node is none."""
    request = NodeSpecificRequest(datacenter="dc1", node="A")
    (found,) = server.rpc("Internal.NodeInfo", request).dump
    assert [each.id for each in found.services] == ["p", "w1"]
    assert [each.check_id for each in found.checks] == ["c"]
    request = NodeSpecificRequest(datacenter="dc1", node="nope")
    assert server.rpc("Internal.NodeInfo", request).dump is None


def test_all_nodes_are_shown_by_name(server):
    """The index is the highest of all three tables."""
    reply = server.rpc("Internal.NodeDump", DCSpecificRequest(datacenter="dc1"))
    assert [each.node for each in reply.dump] == ["a", "b", "c"]
    assert reply.dump[2].services is None
    assert reply.index == 5
    request = DCSpecificRequest(datacenter="dc1", filter="Node == b")
    reply = server.rpc("Internal.NodeDump", request)
    assert [each.node for each in reply.dump] == ["b"]


def test_services_are_dumped_all_or_by_kind(server):
    """A kind has an index of its own."""
    assert [each.service.id for each in dump(server).nodes] == ["p", "w1", "w2"]
    proxies = dump(server, use_service_kind=True, service_kind="connect-proxy")
    assert [each.service.id for each in proxies.nodes] == ["p"]
    assert proxies.index == 4
    typical = dump(server, use_service_kind=True)
    assert [each.service.id for each in typical.nodes] == ["w1", "w2"]
    filtered = dump(server, filter="Node.Node == b")
    assert [each.service.id for each in filtered.nodes] == ["w2"]


def test_a_summary_counts_instances_and_checks(server):
    """Names, nodes and tags are in order."""
    assert summaries(dump(server).nodes) == [
        {
            "Kind": "connect-proxy",
            "Name": "p",
            "Tags": None,
            "Nodes": ["a"],
            "InstanceCount": 1,
            "ProxyFor": ["web"],
            "ChecksPassing": 0,
            "ChecksWarning": 1,
            "ChecksCritical": 0,
            "ExternalSources": None,
            "GatewayConfig": {},
        },
        {
            "Name": "web",
            "Tags": ["v1", "v2"],
            "Nodes": ["a", "b"],
            "InstanceCount": 2,
            "ChecksPassing": 0,
            "ChecksWarning": 1,
            "ChecksCritical": 0,
            "ExternalSources": None,
            "GatewayConfig": {},
        },
    ]


def test_a_summary_names_external_sources(server):
    """Each system that brought instances in, once."""
    for number in range(2):
        meta = {"external-source": "nomad"}
        register(server, "c", service=service(f"x{number}", "x", meta=meta))
    (found,) = [each for each in summaries(dump(server).nodes) if each["Name"] == "x"]
    assert found["ExternalSources"] == ["nomad"]


def test_the_services_of_a_gateway_are_shown_with_and_without_instances(server):
    """An exposed service shows where it is reached: by its hosts or in the DNS."""

    def put(txn):
        for name, port, hosts in (
            ("web", 8080, None),
            ("db", 9090, ["db.example.test."]),
            ("none", 0, None),
        ):
            mapping = GatewayService(
                gateway=ServiceName(name="gw"),
                service=ServiceName(name=name),
                port=port,
                hosts=hosts,
            )
            txn.put(GATEWAY_SERVICES, mapping)
        txn.max_index(GATEWAY_SERVICES)

    server.replica.change(put)
    request = ServiceSpecificRequest(datacenter="dc1", service_name="gw")
    reply = server.rpc("Internal.GatewayServiceDump", request)
    shown = gateway_summaries(reply.dump, ["ingress.dc1.consul."])
    assert [(each["Name"], each["InstanceCount"]) for each in shown] == [
        ("db", 0),
        ("none", 0),
        ("web", 2),
    ]
    assert [each["GatewayConfig"] for each in shown] == [
        {"Addresses": ["db.example.test:9090"]},
        {},
        {"Addresses": ["web.ingress.dc1.consul:8080"]},
    ]


def test_a_gateway_needs_a_name(server):
    """An empty gateway is refused."""
    request = ServiceSpecificRequest(datacenter="dc1")
    with pytest.raises(ConsultwistError, match="Must provide gateway name"):
        server.rpc("Internal.GatewayServiceDump", request)
