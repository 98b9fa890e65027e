"""From a service as a user defines it to the instance and the checks that it means."""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

import msgspec.structs

from consultwist.checks.definition import is_status, validate
from consultwist.errors import BadRequest
from consultwist.structs.catalog import (
    CheckType,
    ConnectProxyConfig,
    ExposeConfig,
    MeshGatewayConfig,
    NodeService,
    ServiceAddress,
    ServiceConnect,
    ServiceDefinition,
    Upstream,
    Weights,
)
from consultwist.structs.service_rules import (
    CONNECT_PROXY,
    error_list,
    meta_problem,
    service_problems,
)

_WEIGHT_MAX: Final = 65535

_ADDRESSES_OF_NOBODY: Final = ("0.0.0.0", "::", "[::]")  # noqa: S104 - refused here


def node_service(definition: ServiceDefinition) -> NodeService:
    """Return the instance that a definition means, defaults filled in.

    Raises:
        BadRequest: with Consul's text, where the definition cannot be.
    """
    if not definition.name:
        raise BadRequest("Missing service name")
    if definition.address in _ADDRESSES_OF_NOBODY:
        raise BadRequest("Invalid service address")
    weights = _weights(definition.weights)
    problem = meta_problem(definition.meta, definition.kind)
    if problem:
        raise BadRequest(f"Invalid Service Meta: {problem}")
    service = NodeService(
        kind=definition.kind,
        id=definition.id or definition.name,
        service=definition.name,
        tags=definition.tags,
        address=definition.address,
        tagged_addresses=tagged_addresses(definition),
        meta=definition.meta,
        port=definition.port,
        weights=weights,
        enable_tag_override=definition.enable_tag_override,
        proxy=_proxy(definition.proxy),
        connect=ServiceConnect(native=_is_native(definition)),
    )
    problems = service_problems(service)
    if problems:
        raise BadRequest(error_list(problems))
    return service


def check_types(definition: ServiceDefinition) -> list[CheckType]:
    """Return the checks of a definition, the single one first, empty ones dropped.

    Raises:
        BadRequest: where one of them cannot run.
    """
    checks = [definition.check, *(definition.checks or ())]
    kept = [check for check in checks if check != CheckType()]
    for check in kept:
        try:
            validate(check)
        except BadRequest as error:
            raise BadRequest(f"Invalid check: {error}") from None
        if check.status and not is_status(check.status):
            raise BadRequest("Status for checks must 'passing', 'warning', 'critical'")
    return kept


def _weights(weights: Weights | None) -> Weights:
    if weights is None:
        return Weights(passing=1, warning=1)
    if weights.passing < 1:
        raise BadRequest("Invalid Weights: Passing must be greater than 0")
    if weights.warning < 0:
        raise BadRequest("Invalid Weights: Warning must be greater or equal than 0")
    if weights.passing > _WEIGHT_MAX or weights.warning > _WEIGHT_MAX:
        raise BadRequest(
            f"Invalid Weights: DNS Weight must be between 0 and {_WEIGHT_MAX}"
        )
    return weights


def tagged_addresses(
    definition: ServiceDefinition,
) -> dict[str, ServiceAddress] | None:
    """Return the tagged addresses, those of the address's own family filled in."""
    tagged = dict(definition.tagged_addresses or {})
    try:
        version = ipaddress.ip_address(definition.address).version
    except ValueError:
        return tagged or None
    own = ServiceAddress(address=definition.address, port=definition.port)
    for context in ("lan", "wan"):
        tagged.setdefault(f"{context}_ipv{version}", own)
    return tagged


def _is_native(definition: ServiceDefinition) -> bool:
    return definition.connect is not None and definition.connect.native


def _upstream(upstream: Upstream, of_proxy: MeshGatewayConfig) -> Upstream:
    """Return an upstream with what it leaves to its proxy filled in."""
    return msgspec.structs.replace(
        upstream,
        destination_type=upstream.destination_type or "service",
        mesh_gateway=upstream.mesh_gateway if upstream.mesh_gateway.mode else of_proxy,
    )


def _proxy(proxy: ConnectProxyConfig | None) -> ConnectProxyConfig:
    if proxy is None:
        return ConnectProxyConfig()
    upstreams = [
        _upstream(upstream, proxy.mesh_gateway) for upstream in proxy.upstreams or ()
    ]
    paths = [
        msgspec.structs.replace(path, protocol=path.protocol or "http")
        for path in proxy.expose.paths or ()
    ]
    return msgspec.structs.replace(
        proxy,
        upstreams=upstreams or None,
        expose=ExposeConfig(checks=proxy.expose.checks, paths=paths or None),
    )


def sidecar_of(
    definition: ServiceDefinition,
    service: NodeService,
    free_port: Callable[[str], int],
) -> ServiceDefinition | None:
    """Return the definition of the proxy beside a service, or None for no sidecar.

    Args:
        definition: the parent as the user defined it.
        service: the parent's instance.
        free_port: gives the port for a proxy by its id; asked where the definition
            names none.

    Raises:
        BadRequest: where the sidecar's definition cannot be.
    """
    connect = definition.connect
    sidecar = connect.sidecar_service if connect is not None else None
    if sidecar is None:
        return None
    if sidecar.id:
        raise BadRequest(
            "Invalid SidecarService: sidecar_service can't specify an ID as this is "
            "managed by the agent"
        )
    if sidecar.connect is not None and sidecar.connect.sidecar_service is not None:
        raise BadRequest(
            "Invalid SidecarService: sidecar_service can't have a nested "
            "sidecar_service"
        )
    proxy = sidecar.proxy or ConnectProxyConfig()
    sidecar_id = f"{service.id}-sidecar-proxy"
    chosen = sidecar.port or free_port(sidecar_id)
    return msgspec.structs.replace(
        sidecar,
        id=sidecar_id,
        name=sidecar.name or f"{service.service}-sidecar-proxy",
        kind=sidecar.kind or CONNECT_PROXY,
        address=sidecar.address or service.address,
        port=chosen,
        tags=sidecar.tags or service.tags,
        meta=sidecar.meta or service.meta,
        token=sidecar.token or definition.token,
        proxy=_sidecar_proxy(proxy, service),
        checks=sidecar.checks or _sidecar_checks(sidecar, service, chosen),
    )


def _sidecar_proxy(
    proxy: ConnectProxyConfig, service: NodeService
) -> ConnectProxyConfig:
    changes: dict[str, Any] = {
        "destination_service_name": proxy.destination_service_name or service.service
    }
    if not proxy.destination_service_id:
        changes["destination_service_id"] = service.id
        changes["local_service_address"] = proxy.local_service_address or "127.0.0.1"
    if not proxy.local_service_port:
        changes["local_service_port"] = service.port
    return msgspec.structs.replace(proxy, **changes)


def _sidecar_checks(
    sidecar: ServiceDefinition, service: NodeService, port: int
) -> list[CheckType]:
    if sidecar.check != CheckType():
        return []
    listening = CheckType(
        name="Connect Sidecar Listening",
        tcp=f"127.0.0.1:{port}",
        interval=10_000_000_000,
    )
    aliasing = CheckType(
        name=f"Connect Sidecar Aliasing {service.id}", alias_service=service.id
    )
    return [listening, aliasing]
