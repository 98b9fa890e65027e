"""Which address, port and weight an instance shows to a question."""

from collections.abc import Mapping
from typing import Final

from consultwist.dns.names import Question
from consultwist.dns.records import TYPE_A, TYPE_AAAA
from consultwist.structs.catalog import (
    CheckServiceNode,
    HealthCheck,
    Node,
    NodeService,
    ServiceAddress,
)

_PASSING: Final = "passing"
_WARNING: Final = "warning"
_CRITICAL: Final = "critical"
_STATUSES: Final = frozenset((_PASSING, _WARNING, _CRITICAL))

#: The checks that maintenance mode registers.
_NODE_MAINTENANCE: Final = "_node_maintenance"
_SERVICE_MAINTENANCE: Final = "_service_maintenance"

_NO_ADDRESS: Final = ServiceAddress()


def usable(instance: CheckServiceNode, *, only_passing: bool) -> bool:
    """Tell whether an instance may be answered with."""
    for check in instance.checks or ():
        if check.status == _CRITICAL or (only_passing and check.status != _PASSING):
            return False
    return True


def is_remote(question: Question, datacenter: str) -> bool:
    """Tell whether addresses of a datacenter are to be translated to WAN ones."""
    settings = question.settings
    return settings.translate_wan_addrs and datacenter != settings.datacenter


def node_address(node: Node, question: Question, datacenter: str) -> str:
    """Return the address of a node that suits a question."""
    tagged = node.tagged_addresses
    if not tagged:
        return node.address
    default, scope = node.address, "lan"
    if is_remote(question, datacenter):
        default, scope = tagged.get("wan") or default, "wan"
    return _suiting(tagged, default, scope, question.type)


def service_address(service: NodeService, question: Question, datacenter: str) -> str:
    """Return the instance's own address that suits a question; empty for none."""
    if not service.tagged_addresses:
        return service.address
    tagged = {tag: a.address for tag, a in service.tagged_addresses.items()}
    default, scope = service.address, "lan"
    if is_remote(question, datacenter):
        default, scope = tagged.get("wan") or default, "wan"
    return _suiting(tagged, default, scope, question.type)


def _suiting(tagged: Mapping[str, str], default: str, scope: str, kind: int) -> str:
    """Return the tagged address of the family asked for, IPv6 first for any."""
    if kind != TYPE_A and (address := tagged.get(f"{scope}_ipv6")):
        return address
    if kind != TYPE_AAAA and (address := tagged.get(f"{scope}_ipv4")):
        return address
    return default


def service_port(service: NodeService, question: Question, datacenter: str) -> int:
    """Return the port that belongs to the address."""
    if service.tagged_addresses and is_remote(question, datacenter):
        return service.tagged_addresses.get("wan", _NO_ADDRESS).port or service.port
    return service.port


def weight(instance: CheckServiceNode) -> int:
    """Return the SRV weight: by the state of the checks that concern the instance."""
    service = instance.service
    assert service is not None
    passing = warning = 1
    if service.weights is not None:
        passing, warning = service.weights.passing, service.weights.warning
    status = _state(service.service, instance.checks or [])
    if status == _PASSING:
        return passing
    if status == _WARNING:
        return warning
    # Critical instances and those in maintenance are not answered with; an unknown
    # status counts as one, as on the stock agent.
    return 0 if status == _CRITICAL else 1


def _state(service: str, checks: list[HealthCheck]) -> str:
    state = _PASSING
    for check in checks:
        if check.service_name not in ("", service):
            continue
        if check.status not in _STATUSES:
            return ""
        in_maintenance = check.check_id == _NODE_MAINTENANCE or (
            check.check_id.startswith(_SERVICE_MAINTENANCE)
        )
        if in_maintenance or check.status == _CRITICAL:
            state = _CRITICAL
        elif check.status == _WARNING and state == _PASSING:
            state = _WARNING
    return state
