"""Catalog records as the HTTP API shows them.

Tags are lists even where there are none. Towards other datacenters an agent can be told
to show the WAN addresses of nodes and services in place of their own.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from consultwist.http.messages import Request
from consultwist.interfaces import IAgent
from consultwist.structs.catalog import (
    CheckServiceNode,
    Node,
    NodeServiceList,
    NodeServices,
    ServiceNode,
)
from consultwist.wire import json

Plain = dict[str, Any]

#: The tagged address that other datacenters use.
_WAN: Final = "wan"


def shows_wan(request: Request, agent: IAgent) -> bool:
    """Tell whether an answer shows the addresses that other datacenters use."""
    config = agent.config
    return bool(config.translate_wan_addrs) and (
        request.query.get("dc", "") not in ("", config.datacenter)
    )


def nodes(found: Iterable[Node]) -> list[Plain]:
    """Show nodes."""
    return [node.to_plain() for node in found]


def wan_nodes(found: Iterable[Node]) -> list[Plain]:
    """Show nodes with their WAN addresses."""
    return [_with_wan_address(node.to_plain()) for node in found]


def service_nodes(found: Iterable[ServiceNode]) -> bytes:
    """Show instances with their nodes, flat."""
    return json.encode_plain(_service_nodes(found))


def wan_service_nodes(found: Iterable[ServiceNode]) -> list[Plain]:
    """Show instances with their nodes, flat, with the WAN addresses of both."""
    shown = [_with_wan_address(each) for each in _service_nodes(found)]
    for each in shown:
        wan = (each.get("ServiceTaggedAddresses") or {}).get(_WAN)
        if wan is not None:
            each["ServiceAddress"] = wan["Address"]
    return shown


def node_services(found: NodeServices | None) -> Plain | None:
    """Show a node with its services by id, or null."""
    if found is None:
        return None
    plain = found.to_plain()
    for service in (plain["Services"] or {}).values():
        listed(service, "Tags")
    return plain


def node_service_list(found: NodeServiceList) -> Plain:
    """Show a node with its services as a list."""
    plain = found.to_plain()
    for service in plain["Services"] or ():
        listed(service, "Tags")
    return plain


def wan_instances(found: Iterable[CheckServiceNode]) -> list[Plain]:
    """Show instances with nodes and checks, with the WAN addresses of both."""
    shown = [_instance(each) for each in found]
    for each in shown:
        _with_wan_address(each["Node"])
        wan = (each["Service"].get("TaggedAddresses") or {}).get(_WAN)
        if wan is not None:
            each["Service"]["Address"] = wan["Address"]
    return shown


def passing(
    show: Callable[[list[CheckServiceNode]], object],
) -> Callable[[Any], object]:
    """Return what shows, of some instances, those whose checks are all passing."""

    def show_passing(found: Iterable[CheckServiceNode]) -> object:
        return show([each for each in found if is_passing(each)])

    return show_passing


def is_passing(instance: CheckServiceNode) -> bool:
    """Tell whether all checks that concern an instance are passing."""
    return all(check.status == "passing" for check in instance.checks or ())


def _service_nodes(found: Iterable[ServiceNode]) -> list[Plain]:
    return [listed(each.to_plain(), "ServiceTags") for each in found]


def _instance(instance: CheckServiceNode) -> Plain:
    plain = instance.to_plain()
    if plain["Service"] is not None:
        listed(plain["Service"], "Tags")
    for check in listed(plain, "Checks")["Checks"]:
        listed(check, "ServiceTags")
    return plain


def listed(plain: Plain, name: str) -> Plain:
    """Make a list of a field that is null."""
    if plain[name] is None:
        plain[name] = []
    return plain


def _with_wan_address(plain: Plain) -> Plain:
    wan = (plain["TaggedAddresses"] or {}).get(_WAN)
    if wan is not None:
        plain["Address"] = wan
    return plain
