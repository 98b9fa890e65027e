"""What a service instance must look like: the rules of agents and of the catalog."""

import re
from collections.abc import Iterator
from typing import Final

from consultwist.structs.catalog import ExposePath, NodeService, Upstream
from consultwist.wire.quoting import quoted

CONNECT_PROXY: Final = "connect-proxy"
MESH_GATEWAY: Final = "mesh-gateway"
TERMINATING_GATEWAY: Final = "terminating-gateway"
INGRESS_GATEWAY: Final = "ingress-gateway"
GATEWAYS: Final = (MESH_GATEWAY, TERMINATING_GATEWAY, INGRESS_GATEWAY)

#: Stands for every service where a name is asked for.
WILDCARD: Final = "*"

# Consul's limits on the metadata of nodes and services.
META_PAIRS_MAX: Final = 64
META_KEY_MAX: Final = 128
META_VALUE_MAX: Final = 512
_META_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_META_RESERVED: Final = "consul-"
#: The one reserved key that mesh gateways may set.
_META_FEDERATION: Final = "consul-wan-federation"

#: Where a proxy binds an upstream that names no address.
_UPSTREAM_ADDRESS: Final = "127.0.0.1"
_UPSTREAM_TYPES: Final = ("", "service", "prepared_query")
_EXPOSED_PROTOCOLS: Final = ("", "http", "http2")
_PORT_MAX: Final = 65535


def meta_problem(meta: dict[str, str] | None, kind: str = "") -> str:
    """Return what is wrong with the metadata of a node or service, or nothing.

    Args:
        meta: the metadata.
        kind: the kind of the service; a mesh gateway may set one reserved key.
    """
    if not meta:
        return ""
    if len(meta) > META_PAIRS_MAX:
        return (
            f"Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"
        )
    for key, value in meta.items():
        problem = _pair_problem(key, value, kind)
        if problem:
            return f"Couldn't load metadata pair ('{key}', '{value}'): {problem}"
    return ""


def service_problems(service: NodeService) -> list[str]:
    """Return what is wrong with a service instance of its kind; nothing is well."""
    problems: list[str] = []
    if service.kind == CONNECT_PROXY:
        problems.extend(_proxy_problems(service))
    elif service.kind in GATEWAYS:
        problems.extend(_gateway_problems(service))
    sidecar = service.connect.sidecar_service
    if sidecar is not None:
        if sidecar.id:
            problems.append(
                "A SidecarService cannot specify an ID as this is managed by the agent"
            )
        if sidecar.connect is not None and sidecar.connect.sidecar_service is not None:
            problems.append("A SidecarService cannot have a nested SidecarService")
    return problems


def error_list(problems: list[str]) -> str:
    """Return problems as Consul lists several errors in one text."""
    count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
    lines = "".join(f"\t* {problem}\n" for problem in problems)
    return f"{count} occurred:\n{lines}\n"


def _pair_problem(key: str, value: str, kind: str) -> str:
    if not key:
        return "Key cannot be blank"
    if not _META_KEY.fullmatch(key):
        return "Key contains invalid characters"
    if len(key) > META_KEY_MAX:
        return f"Key is too long (limit: {META_KEY_MAX} characters)"
    may_federate = kind == MESH_GATEWAY and key == _META_FEDERATION
    if key.startswith(_META_RESERVED) and not may_federate:
        return f"Key prefix '{_META_RESERVED}' is reserved for internal use"
    if len(value.encode("utf-8", "surrogateescape")) > META_VALUE_MAX:
        return f"Value is too long (limit: {META_VALUE_MAX} characters)"
    return ""


def _proxy_problems(service: NodeService) -> Iterator[str]:
    # A wildcard destination is accepted by 1.8.7; newer releases refuse it.
    if not service.proxy.destination_service_name.strip():
        yield (
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services"
        )
    if not service.port:
        yield "Port must be set for a Connect proxy"
    if service.connect.native:
        yield "A Proxy cannot also be Connect Native, only typical services"
    yield from _upstream_problems(service.proxy.upstreams or [])
    yield from _expose_problems(service.proxy.expose.paths or [])


def _upstream_problems(upstreams: list[Upstream]) -> Iterator[str]:
    targets: dict[tuple[str, ...], None] = {}
    bound: dict[str, None] = {}
    for upstream in upstreams:
        if upstream.destination_type not in _UPSTREAM_TYPES:
            yield f'unknown upstream destination type: "{upstream.destination_type}"'
        if not upstream.destination_name:
            yield "upstream destination name cannot be empty"
        if not upstream.local_bind_port:
            yield "upstream local bind port cannot be zero"
        target = _upstream_target(upstream)
        if target in targets:
            yield f"upstreams cannot contain duplicates of {':'.join(target)}"
        targets[target] = None
        address = upstream.local_bind_address or _UPSTREAM_ADDRESS
        if ":" in address:
            address = f"[{address}]"
        place = f"{address}:{upstream.local_bind_port}"
        if place in bound:
            yield (
                "upstreams cannot contain duplicates by local bind address and port: "
                f"{quoted(place)} is specified more than once"
            )
        bound[place] = None


def _upstream_target(upstream: Upstream) -> tuple[str, ...]:
    target = [upstream.destination_type or "service", upstream.destination_name]
    if upstream.datacenter:
        target.append(f"?dc={upstream.datacenter}")
    return tuple(target)


def _expose_problems(paths: list[ExposePath]) -> Iterator[str]:
    known: dict[str, None] = {}
    ports: dict[int, None] = {}
    for path in paths:
        if not path.path:
            yield "expose.paths: empty path exposed"
        if path.path in known:
            yield "expose.paths: duplicate paths exposed"
        known[path.path] = None
        if path.listener_port in ports:
            yield "expose.paths: duplicate listener ports exposed"
        ports[path.listener_port] = None
        if not 0 < path.listener_port <= _PORT_MAX:
            yield f"expose.paths: invalid listener port: {path.listener_port}"
        if path.protocol.lower() not in _EXPOSED_PROTOCOLS:
            yield (
                f"protocol '{path.protocol.lower()}' not supported for path: "
                f"{path.path}, must be in: [http http2]"
            )


def _gateway_problems(service: NodeService) -> Iterator[str]:
    kind, proxy = service.kind, service.proxy
    if not service.port and kind != INGRESS_GATEWAY:
        yield f"Port must be non-zero for a {kind}"
    if service.connect.sidecar_service is not None:
        yield f"A {kind} cannot have a sidecar service defined"
    for name, value in (
        ("DestinationServiceName", proxy.destination_service_name),
        ("DestinationServiceID", proxy.destination_service_id),
        ("LocalServiceAddress", proxy.local_service_address),
        ("LocalServicePort", proxy.local_service_port),
        ("Upstreams", proxy.upstreams),
    ):
        if value:
            yield f"The Proxy.{name} configuration is invalid for a {kind}"
