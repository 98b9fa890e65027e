"""Which address, port and weight an instance shows."""

import pytest

from consultwist.dns.addresses import (
    node_address,
    service_address,
    service_port,
    usable,
    weight,
)
from consultwist.dns.names import Question
from consultwist.dns.records import TYPE_A, TYPE_AAAA, TYPE_ANY, TYPE_SRV
from consultwist.dns.settings import Settings
from consultwist.structs.catalog import (
    CheckServiceNode,
    HealthCheck,
    Node,
    NodeService,
    ServiceAddress,
    Weights,
)

NODE = Node(
    node="t1",
    address="10.0.0.1",
    tagged_addresses={
        "lan_ipv4": "10.0.4.1",
        "lan_ipv6": "fd00::1",
        "wan": "192.0.2.1",
        "wan_ipv4": "192.0.2.4",
    },
)
SERVICE = NodeService(
    service="tag",
    address="10.5.0.1",
    port=1,
    tagged_addresses={
        "lan_ipv4": ServiceAddress(address="10.5.4.1", port=11),
        "wan": ServiceAddress(address="192.0.5.1", port=13),
    },
)


def asked(kind: int, *, translate: bool = True) -> Question:
    """Return a question to an agent of dc1."""
    settings = Settings(datacenter="dc1", translate_wan_addrs=translate)
    return Question(name="tag.service.consul.", type=kind, settings=settings)


@pytest.mark.parametrize(
    ("kind", "near", "far"),
    [
        (TYPE_A, "10.0.4.1", "192.0.2.4"),
        (TYPE_AAAA, "fd00::1", "192.0.2.1"),
        (TYPE_ANY, "fd00::1", "192.0.2.4"),
        (TYPE_SRV, "fd00::1", "192.0.2.4"),
    ],
)
def test_node_addresses_suit_the_question(kind, near, far):
    """The family asked for is preferred, IPv6 where any will do; WAN from afar."""
    assert node_address(NODE, asked(kind), "dc1") == near
    assert node_address(NODE, asked(kind), "dc2") == far
    assert node_address(NODE, asked(kind, translate=False), "dc2") == near
    assert node_address(Node(address="10.0.0.9"), asked(kind), "dc2") == "10.0.0.9"


def test_service_addresses_and_ports_are_translated_together():
    """Only where the question is for another datacenter."""
    assert service_address(SERVICE, asked(TYPE_A), "dc1") == "10.5.4.1"
    assert service_address(SERVICE, asked(TYPE_AAAA), "dc1") == "10.5.0.1"
    assert service_address(SERVICE, asked(TYPE_A), "dc2") == "192.0.5.1"
    assert service_port(SERVICE, asked(TYPE_SRV), "dc1") == 1
    assert service_port(SERVICE, asked(TYPE_SRV), "dc2") == 13
    assert service_port(NodeService(port=7), asked(TYPE_SRV), "dc2") == 7


def instance(*checks: HealthCheck, weights: Weights | None = None) -> CheckServiceNode:
    """Return an instance with checks."""
    service = NodeService(service="web", weights=weights)
    return CheckServiceNode(node=Node(), service=service, checks=list(checks))


@pytest.mark.parametrize(
    ("statuses", "answered", "only_passing"),
    [
        ((), True, True),
        (("passing",), True, True),
        (("passing", "warning"), True, False),
        (("passing", "critical"), False, False),
        (("odd",), True, False),
    ],
)
def test_critical_instances_are_left_out(statuses, answered, only_passing):
    """And those that warn, where only passing ones are wanted."""
    found = instance(*(HealthCheck(status=status) for status in statuses))
    assert usable(found, only_passing=False) is answered
    assert usable(found, only_passing=True) is only_passing


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((), 5),
        ((HealthCheck(status="passing"),), 5),
        ((HealthCheck(status="warning"), HealthCheck(status="passing")), 2),
        ((HealthCheck(status="warning", service_name="other"),), 5),
        ((HealthCheck(status="odd"),), 1),
        ((HealthCheck(status="critical"),), 0),
        ((HealthCheck(check_id="_node_maintenance", status="warning"),), 0),
        ((HealthCheck(check_id="_service_maintenance:w", status="passing"),), 0),
    ],
)
def test_weights_follow_the_state(checks, expected):
    """Only checks of the node and of the service itself count."""
    found = instance(*checks, weights=Weights(passing=5, warning=2))
    assert weight(found) == expected


def test_instances_without_weights_have_weight_one():
    """As the API's default is."""
    assert weight(instance(HealthCheck(status="warning"))) == 1
