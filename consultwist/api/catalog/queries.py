"""Reads of the catalog's tables: what a query finds, at which index, resting on what.

Each function notes in the watch set all that its answer rests on, so that answers can
be kept and blocked readers woken. What a reader of one service rests on is that
service's index row, so that it sleeps while other services change.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from consultwist.api.catalog.rows import (
    CHECKS,
    GATEWAY_SERVICES,
    LAST_EXTINCTION,
    NODES,
    SERVICES,
    ServiceRow,
    connect_row_name,
    find_node,
    instance_checks,
    node_key,
    service_row_name,
)
from consultwist.state import watch
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.catalog import (
    CheckServiceNode,
    GatewayService,
    Node,
    ServiceNode,
    ServiceSpecificRequest,
)
from consultwist.structs.filter import compile_filter
from consultwist.structs.service_rules import (
    INGRESS_GATEWAY,
    TERMINATING_GATEWAY,
    WILDCARD,
)
from consultwist.wire.struct import Struct

Record = TypeVar("Record", bound=Struct)

Found = tuple[int, list[ServiceRow]]

#: Shorter texts are not looked up as the beginning of a node's id.
_ID_PREFIX_MIN: Final = 2
_ID_PREFIX: Final = re.compile("[0-9a-f-]+")

# Flat instances have lists and maps even where there is nothing in them.
_NO_TAGS: Final[list[str]] = []
_NO_META: Final[dict[str, str]] = {}


# --- instances -----------------------------------------------------------------------


def service_index(
    store: Store, seen: WatchSet, name: str, *, exists: bool, checks: bool
) -> int:
    """Return the index of a service: of its own row while it has instances.

    Args:
        store: the state.
        seen: notes what the index rests on.
        name: the service.
        exists: whether it has instances.
        checks: whether checks belong to the answer.
    """
    if not exists:
        extinction = row_index(store, seen, LAST_EXTINCTION)
        seen.add(watch.row(service_row_name(name)))
        if extinction:
            return extinction
    own = row_index(store, seen, service_row_name(name))
    if own:
        return own
    rows = (NODES, SERVICES, CHECKS) if checks else (NODES, SERVICES)
    return row_index(store, seen, *rows)


def service_rows(store: Store, seen: WatchSet, name: str, *, checks: bool) -> Found:
    """Return the instances of a service."""
    rows = store.table(SERVICES).by("service", name.lower())
    index = service_index(store, seen, name, exists=bool(rows), checks=checks)
    return index, rows


def connect_rows(store: Store, seen: WatchSet, name: str, *, checks: bool) -> Found:
    """Return the instances by which a service is reached in the mesh.

    They are its proxies, its own instances that speak for themselves, and terminating
    gateways that stand for it.
    """
    seen.add(watch.row(connect_row_name(name)))
    index, gateways = gateway_rows(store, seen, name, TERMINATING_GATEWAY)
    rows = store.table(SERVICES).by("connect", name.lower()) + gateways
    if not rows:
        own = service_index(store, seen, name, exists=False, checks=checks)
        return max(index, own), rows
    for found in dict.fromkeys(row.service.service for row in rows):
        own = service_index(store, seen, found, exists=True, checks=checks)
        index = max(index, own)
    return index, rows


def ingress_rows(store: Store, seen: WatchSet, name: str) -> Found:
    """Return the instances of the ingress gateways that expose a service."""
    return gateway_rows(store, seen, name, INGRESS_GATEWAY)


def gateway_rows(store: Store, seen: WatchSet, name: str, kind: str) -> Found:
    """Return the instances of all gateways of a kind that serve a service."""
    seen.add(watch.row(GATEWAY_SERVICES))
    index = 0
    rows: dict[int, ServiceRow] = {}
    mappings: list[GatewayService] = store.table(GATEWAY_SERVICES).by(
        "service", name.lower()
    )
    for mapping in mappings:
        if mapping.gateway_kind != kind:
            continue
        gateway = mapping.gateway.name
        own, instances = service_rows(store, seen, gateway, checks=False)
        index = max(index, mapping.modify_index, own)
        # A gateway with several listeners for the service is one gateway.
        rows.update((id(row), row) for row in instances)
    return index, list(rows.values())


def with_tags(rows: list[ServiceRow], tags: Iterable[str]) -> list[ServiceRow]:
    """Return the instances that have all tags, in whatever case."""
    wanted = {tag.lower() for tag in tags}
    return [
        row
        for row in rows
        if wanted.issubset(tag.lower() for tag in row.service.tags or ())
    ]


def requested_tags(request: ServiceSpecificRequest) -> list[str]:
    """Return the tags that instances must have; old clients name a single one."""
    if not request.tag_filter:
        return []
    return request.service_tags or [request.service_tag]


def tagged(rows: list[ServiceRow], request: ServiceSpecificRequest) -> list[ServiceRow]:
    """Return the instances that have the tags that a request asks for."""
    return with_tags(rows, requested_tags(request)) if request.tag_filter else rows


def on_address(store: Store, seen: WatchSet, address: str) -> Found:
    """Return the instances at an address, be it their own or their node's."""
    nodes = store.table(NODES)
    rows = [
        row
        for row in store.table(SERVICES).rows()
        if (row.service.address or nodes.get(row.node.lower()).address) == address
    ]
    return row_index(store, seen, NODES, SERVICES), rows


def service_nodes(store: Store, rows: list[ServiceRow]) -> list[ServiceNode]:
    """Return instances with their nodes, flat."""
    nodes = store.table(NODES)
    return [_service_node(nodes.get(row.node.lower()), row) for row in rows]


def _service_node(node: Node, row: ServiceRow) -> ServiceNode:
    service = row.service
    assert service.weights is not None
    return ServiceNode(
        id=node.id,
        node=row.node,
        address=node.address,
        datacenter=node.datacenter,
        tagged_addresses=node.tagged_addresses,
        node_meta=node.meta,
        service_kind=service.kind,
        service_id=service.id,
        service_name=service.service,
        service_tags=service.tags or _NO_TAGS,
        service_address=service.address,
        service_tagged_addresses=service.tagged_addresses,
        service_weights=service.weights,
        service_meta=service.meta or _NO_META,
        service_port=service.port,
        service_enable_tag_override=service.enable_tag_override,
        service_proxy=service.proxy,
        service_connect=service.connect,
        create_index=service.create_index,
        modify_index=service.modify_index,
    )


def check_service_nodes(store: Store, rows: list[ServiceRow]) -> list[CheckServiceNode]:
    """Return instances with their nodes and all checks that concern them."""
    nodes, checks = store.table(NODES), store.table(CHECKS)
    return [
        CheckServiceNode(
            node=nodes.get(row.node.lower()),
            service=row.service,
            checks=instance_checks(checks, row) or None,
        )
        for row in rows
    ]


# --- nodes ---------------------------------------------------------------------------


def watched_node(store: Store, seen: WatchSet, name: str) -> Node | None:
    """Return a node by its name or the beginning of its id, if that is only one's."""
    seen.add(watch.key(NODES, node_key(name)))
    node = find_node(store, name)
    if node is not None:
        return node
    prefix = name.lower()
    if len(prefix) < _ID_PREFIX_MIN or not _ID_PREFIX.fullmatch(prefix):
        return None
    seen.add(watch.row(NODES))
    table = store.table(NODES)
    # An id of an odd length is looked up without its last digit, as in Consul.
    prefix = prefix[: len(prefix) // 2 * 2]
    ids = [each for each in table.values("id") if str(each).startswith(prefix)]
    if len(ids) != 1:
        return None
    found: Node = table.by("id", ids[0])[0]
    return found


def gateway_services(
    store: Store, seen: WatchSet, gateway: str
) -> tuple[int, list[GatewayService]]:
    """Return which services a gateway serves, without the wildcard itself."""
    mappings: list[GatewayService] = store.table(GATEWAY_SERVICES).by(
        "gateway", gateway.lower()
    )
    found = [each for each in mappings if each.service.name != WILDCARD]
    return row_index(store, seen, GATEWAY_SERVICES), found


# --- narrowing -----------------------------------------------------------------------


def has_meta(meta: dict[str, str] | None, wanted: dict[str, str] | None) -> bool:
    """Tell whether metadata holds all wanted pairs."""
    if not wanted:
        return True
    known = meta or {}
    return all(known.get(key) == value for key, value in wanted.items())


def accepting(text: str, kind: type[Record]) -> Callable[[Record], bool]:
    """Return the test that a filter expression is.

    Raises:
        ConsultwistError: where the expression is not sound.
    """
    if not text:
        return _always
    return compile_filter(text, kind)


def filtered(text: str, kind: type[Record], records: list[Record]) -> list[Record]:
    """Return the records that a filter expression accepts; all for no expression."""
    if not text:
        return records
    accepts = compile_filter(text, kind)
    return [record for record in records if accepts(record)]


def _always(_: object) -> bool:
    return True
