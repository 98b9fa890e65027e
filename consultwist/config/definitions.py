"""Service and check definitions of files as the records that the agent registers."""

from typing import Any

from consultwist.config.problems import Problems
from consultwist.structs.catalog import (
    CheckType,
    ConnectProxyConfig,
    ExposeConfig,
    ExposePath,
    MeshGatewayConfig,
    ServiceAddress,
    ServiceConnect,
    ServiceDefinition,
    Upstream,
    Weights,
)
from consultwist.structs.check_definition import CheckDefinition
from consultwist.structs.check_extensions import CheckExtensions
from consultwist.structs.service_rules import meta_problem

#: What is kept of a check's output where the check does not say: Consul's buffer.
_OUTPUT_SIZE = 4096

#: A DNS weight has 16 bits (RFC 2782).
_WEIGHT_MAX = 65535

Values = dict[str, Any]


def check_definition(values: Values, problems: Problems) -> CheckDefinition:
    """Return the record of a ``check`` block."""
    return CheckDefinition(
        id=values.get("id", ""),
        service_id=values.get("service_id", ""),
        token=values.get("token", ""),
        **_how_it_runs(values, problems),
    )


def service_definition(values: Values, problems: Problems) -> ServiceDefinition:
    """Return the record of a ``service`` block."""
    name = values.get("name", "")
    meta = values.get("meta", {})
    problem = meta_problem(meta, values.get("kind", ""))
    if problem:
        problems.error(f"invalid meta for service {name}: {problem}")
    checks = [*values.get("checks", ())]
    if "check" in values:
        checks.append(values["check"])
    return ServiceDefinition(
        kind=values.get("kind", ""),
        id=values.get("id", ""),
        name=name,
        tags=values.get("tags", []),
        address=values.get("address", ""),
        tagged_addresses={
            tag: ServiceAddress(**address)
            for tag, address in values.get("tagged_addresses", {}).items()
        },
        meta=meta,
        port=values.get("port", 0),
        checks=[_check_type(check, problems) for check in checks],
        connect=_connect(values.get("connect"), problems),
        enable_tag_override=values.get("enable_tag_override", False),
        proxy=_proxy(values.get("proxy")),
        token=values.get("token", ""),
        weights=_weights(name, values.get("weights", {}), problems),
    )


def _check_type(values: Values, problems: Problems) -> CheckType:
    return CheckType(check_id=values.get("id", ""), **_how_it_runs(values, problems))


def _how_it_runs(values: Values, problems: Problems) -> dict[str, Any]:
    """Return what checks of services and stand-alone checks have in common."""

    def duration(name: str) -> int:
        # Consul names no place in its message, so that the text is the same for all.
        return problems.nanoseconds(f"check[].{name}", values.get(name, ""))

    after = "deregister_critical_service_after"
    return {
        "name": values.get("name", ""),
        "notes": values.get("notes", ""),
        "status": values.get("status", ""),
        "script_args": values.get("args", []),
        "http": values.get("http", ""),
        "header": values.get("header", {}),
        "method": values.get("method", ""),
        "body": values.get("body", ""),
        "tcp": values.get("tcp", ""),
        "interval": duration("interval"),
        "docker_container_id": values.get("docker_container_id", ""),
        "shell": values.get("shell", ""),
        "grpc": values.get("grpc", ""),
        "grpc_use_tls": values.get("grpc_use_tls", False),
        "tls_skip_verify": values.get("tls_skip_verify", False),
        "alias_node": values.get("alias_node", ""),
        "alias_service": values.get("alias_service", ""),
        "timeout": duration("timeout"),
        "ttl": duration("ttl"),
        "success_before_passing": values.get("success_before_passing", 0),
        "failures_before_critical": values.get("failures_before_critical", 0),
        after: duration(after),
        "output_max_size": values.get("output_max_size", _OUTPUT_SIZE),
        **{name: values[name] for name in _EXTENSIONS if name in values},
        **{name: duration(name) for name in _EXTENSION_DURATIONS},
    }


#: The fields of `CheckExtensions`, whose keys have their names.
_EXTENSION_DURATIONS = ("certificate_expiry_warning", "latency_warning")
_EXTENSIONS = tuple(
    name
    for name in CheckExtensions.__struct_fields__
    if name not in _EXTENSION_DURATIONS
)


def _connect(values: Values | None, problems: Problems) -> ServiceConnect | None:
    if values is None:
        return None
    sidecar = values.get("sidecar_service")
    return ServiceConnect(
        native=values.get("native", False),
        sidecar_service=(
            None if sidecar is None else service_definition(sidecar, problems)
        ),
    )


def _proxy(values: Values | None) -> ConnectProxyConfig | None:
    if values is None:
        return None
    expose = values.get("expose", {})
    return ConnectProxyConfig(
        destination_service_name=values.get("destination_service_name", ""),
        destination_service_id=values.get("destination_service_id", ""),
        local_service_address=values.get("local_service_address", ""),
        local_service_port=values.get("local_service_port", 0),
        config=values.get("config", {}),
        upstreams=[_upstream(upstream) for upstream in values.get("upstreams", ())],
        mesh_gateway=MeshGatewayConfig(**values.get("mesh_gateway", {})),
        expose=ExposeConfig(
            checks=expose.get("checks", False),
            paths=[ExposePath(**path) for path in expose.get("paths", ())],
        ),
    )


def _upstream(values: Values) -> Upstream:
    return Upstream(
        destination_type=values.get("destination_type", "service"),
        destination_namespace=values.get("destination_namespace", ""),
        destination_name=values.get("destination_name", ""),
        datacenter=values.get("datacenter", ""),
        local_bind_address=values.get("local_bind_address", ""),
        local_bind_port=values.get("local_bind_port", 0),
        config=values.get("config", {}),
        mesh_gateway=MeshGatewayConfig(**values.get("mesh_gateway", {})),
    )


def _weights(name: str, values: Values, problems: Problems) -> Weights:
    weights = Weights(
        passing=values.get("passing", 1), warning=values.get("warning", 1)
    )
    if weights.passing < 1:
        problem = "Passing must be greater than 0"
    elif weights.warning < 0:
        problem = "Warning must be greater or equal than 0"
    elif max(weights.passing, weights.warning) > _WEIGHT_MAX:
        problem = f"DNS Weight must be between 0 and {_WEIGHT_MAX}"
    else:
        return weights
    problems.error(f"Invalid weight definition for service {name}: {problem}")
    return Weights(passing=1, warning=1)
