"""The catalog's tables: what a row is, by what it is found, how little it holds.

A row of nodes is a `Node`, one of checks a `HealthCheck`, one of services a
`ServiceRow`: the instance as it is shown, with the name of its node. Keys are lower
case, since names and ids compare without case. Equal parts of many rows, such as names
and empty settings, are one object.
"""

import sys
from typing import Any, Final

import msgspec.structs

from consultwist.state.store import Store
from consultwist.state.table import Schema, Table
from consultwist.state.transaction import Transaction
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    GatewayService,
    HealthCheck,
    HealthCheckDefinition,
    Node,
    NodeService,
    ServiceConnect,
    Weights,
)
from consultwist.structs.service_rules import CONNECT_PROXY
from consultwist.wire.struct import Struct

NODES: Final = "nodes"
SERVICES: Final = "services"
CHECKS: Final = "checks"
GATEWAY_SERVICES: Final = "gateway-services"
#: Declared by `api/coordinate`; deleting a node deletes its coordinates.
COORDINATES: Final = "coordinates"

#: The index row that tells when a service last lost its last instance.
LAST_EXTINCTION: Final = "service_last_extinction"

#: The service that stands for the servers themselves.
CONSUL: Final = "consul"
#: The check that tells whether gossip finds a node alive.
SERF_HEALTH: Final = "serfHealth"

CRITICAL: Final = "critical"

#: Where a table of tables may be read: the store itself or a transaction.
Readable = Store | Transaction

_WEIGHT_MAX: Final = 65535
_ONE_EACH: Final = Weights(passing=1, warning=1)
_NO_PROXY: Final = ConnectProxyConfig()
_NO_CONNECT: Final = ServiceConnect()
_NO_DEFINITION: Final = HealthCheckDefinition()
#: Longer texts are rarely equal.
_SHARED_TEXT_MAX: Final = 64


class ServiceRow(Struct):
    """An instance and the name of its node."""

    node: str = ""
    service: NodeService = NodeService()


def node_key(name: str) -> str:
    """Return the key of a node."""
    return sys.intern(name.lower())


def place_key(node: str, name: str) -> tuple[str, str]:
    """Return the key of what a node has: of a service or a check, by its id."""
    return sys.intern(node.lower()), name.lower()


def service_row_name(name: str) -> str:
    """Return the name of the index row of a service."""
    return f"service.{name}"


def kind_row_name(kind: str) -> str:
    """Return the name of the index row of a kind of services."""
    return f"service_kind.{kind or 'typical'}"


def connect_row_name(name: str) -> str:
    """Return what readers of a service in the mesh watch.

    There is no index row of this name; it is touched when an instance comes, changes
    or goes by which the service is reached.
    """
    return f"connect.{name}"


# --- reading -------------------------------------------------------------------------


def find_node(state: Readable, name: str) -> Node | None:
    """Return the node with this name."""
    node: Node | None = state.table(NODES).get(name.lower())
    return node


def find_service(state: Readable, node: str, service_id: str) -> NodeService | None:
    """Return an instance on a node."""
    row: ServiceRow | None = find_service_row(state, node, service_id)
    return None if row is None else row.service


def find_service_row(state: Readable, node: str, service_id: str) -> ServiceRow | None:
    """Return the row of an instance on a node."""
    row: ServiceRow | None = state.table(SERVICES).get(place_key(node, service_id))
    return row


def find_check(state: Readable, node: str, check_id: str) -> HealthCheck | None:
    """Return a check of a node or of a service on it."""
    check: HealthCheck | None = state.table(CHECKS).get(place_key(node, check_id))
    return check


def services_on(state: Readable, node: str) -> list[ServiceRow]:
    """Return the instances on a node, by id."""
    return state.table(SERVICES).beginning(node.lower())


def checks_on(state: Readable, node: str) -> list[HealthCheck]:
    """Return the checks of a node and of the services on it, by id."""
    return state.table(CHECKS).beginning(node.lower())


def instance_checks(checks: Table, row: ServiceRow) -> list[HealthCheck]:
    """Return what tells the health of an instance: its node's checks, then its own."""
    node = row.node.lower()
    of_node: list[HealthCheck] = checks.by("instance", (node, ""))
    return of_node + checks.by("instance", (node, row.service.id.lower()))


# --- compact rows --------------------------------------------------------------------


def shared_text(text: str) -> str:
    """Return a text that many rows may have as one object."""
    return sys.intern(text) if len(text) <= _SHARED_TEXT_MAX else text


def compact_node(node: Node, **changes: Any) -> Node:
    """Return a changed node whose texts are shared with other rows."""
    return msgspec.structs.replace(
        node,
        node=shared_text(node.node),
        datacenter=shared_text(node.datacenter),
        **changes,
    )


def normal_service(service: NodeService, **changes: Any) -> NodeService:
    """Return an instance as the table keeps it: weights valid, equal parts shared."""
    weights = service.weights
    if weights is None or not _valid(weights) or weights == _ONE_EACH:
        weights = _ONE_EACH
    return msgspec.structs.replace(
        service,
        kind=shared_text(service.kind),
        id=shared_text(service.id),
        service=shared_text(service.service),
        tags=shared_texts(service.tags),
        weights=weights,
        proxy=_NO_PROXY if service.proxy == _NO_PROXY else service.proxy,
        connect=_NO_CONNECT if service.connect == _NO_CONNECT else service.connect,
        locally_registered_as_sidecar=False,
        **changes,
    )


def compact_check(check: HealthCheck, **changes: Any) -> HealthCheck:
    """Return a changed check whose texts are shared with other rows."""
    definition = check.definition
    return msgspec.structs.replace(
        check,
        node=shared_text(check.node),
        check_id=shared_text(check.check_id),
        name=shared_text(check.name),
        output=shared_text(check.output),
        service_id=shared_text(check.service_id),
        definition=_NO_DEFINITION if definition == _NO_DEFINITION else definition,
        type=shared_text(check.type),
        **changes,
    )


def shared_texts(texts: list[str] | None) -> list[str] | None:
    """Return a list whose texts are shared with other rows."""
    return None if texts is None else [shared_text(text) for text in texts]


def _valid(weights: Weights) -> bool:
    return 1 <= weights.passing <= _WEIGHT_MAX and 0 <= weights.warning <= _WEIGHT_MAX


# --- schemas -------------------------------------------------------------------------


def connects_to(row: ServiceRow) -> str | None:
    """Return the name of the service that one reaches in the mesh by an instance."""
    service = row.service
    if service.kind == CONNECT_PROXY:
        return service.proxy.destination_service_name.lower()
    return service.service.lower() if service.connect.native else None


def mapping_key(mapping: GatewayService) -> tuple[str, str, str]:
    """Return the key of a gateway's mapping."""
    return (
        mapping.gateway.name.lower(),
        mapping.service.name.lower(),
        str(mapping.port),
    )


SCHEMAS: Final = (
    Schema(
        name=NODES,
        key=lambda node: node_key(node.node),
        indexes={"id": lambda node: node.id.lower() or None},
        watched=True,
    ),
    Schema(
        name=SERVICES,
        key=lambda row: place_key(row.node, row.service.id),
        indexes={
            "service": lambda row: row.service.service.lower(),
            "connect": connects_to,
            "kind": lambda row: row.service.kind or None,
        },
    ),
    Schema(
        name=CHECKS,
        key=lambda check: place_key(check.node, check.check_id),
        indexes={
            "instance": lambda check: place_key(check.node, check.service_id),
            "service": lambda check: check.service_name.lower() or None,
            "status": lambda check: check.status,
        },
    ),
    Schema(
        name=GATEWAY_SERVICES,
        key=mapping_key,
        indexes={
            "gateway": lambda mapping: mapping.gateway.name.lower(),
            "service": lambda mapping: mapping.service.name.lower(),
        },
    ),
)
