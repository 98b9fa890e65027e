"""The keys of service and check definitions, relative to the definition.

A few also go by the spelling of the HTTP API; that is the alias. Of the keys of later
releases only those are known here that the agent fulfils: a definition that asks for a
check or an address which it cannot give must not start.
"""

import attrs

from consultwist.config.schema import Key, Kind

BOOL, INT, DURATION = Kind.BOOL, Kind.INT, Kind.DURATION
STRING, STRINGS, STRING_MAP = Kind.STRING, Kind.STRINGS, Kind.STRING_MAP
STRINGS_MAP, MAP = Kind.STRINGS_MAP, Kind.MAP
SECTION, SECTIONS = Kind.SECTION, Kind.SECTIONS

CHECK_KEYS = (
    Key("id", STRING),
    Key("name", STRING),
    Key("notes", STRING),
    Key("service_id", STRING, alias="serviceid"),
    Key("token", STRING),
    Key("status", STRING),
    Key("args", STRINGS, alias="scriptargs"),
    Key("http", STRING),
    Key("header", STRINGS_MAP),
    Key("method", STRING),
    Key("body", STRING),
    Key("output_max_size", INT),
    Key("tcp", STRING),
    Key("interval", DURATION),
    Key("docker_container_id", STRING, alias="dockercontainerid"),
    Key("shell", STRING),
    Key("grpc", STRING),
    Key("grpc_use_tls", BOOL),
    Key("tls_skip_verify", BOOL, alias="tlsskipverify"),
    Key("alias_node", STRING),
    Key("alias_service", STRING),
    Key("timeout", DURATION),
    Key("ttl", DURATION),
    Key("success_before_passing", INT),
    Key("failures_before_critical", INT),
    Key(
        "deregister_critical_service_after",
        DURATION,
        alias="deregistercriticalserviceafter",
    ),
    # Of later releases.
    Key("tcp_use_tls", BOOL, alias="tcpusetls"),
    Key("tls_server_name", STRING, alias="tlsservername"),
    Key("disable_redirects", BOOL, alias="disableredirects"),
    Key("udp", STRING),
    Key("h2ping", STRING),
    Key("h2ping_use_tls", BOOL, alias="h2pingusetls"),
    Key("os_service", STRING),
    Key("failures_before_warning", INT),
    # Ours.
    Key("expected_status", STRINGS),
    Key("body_match", STRING),
    Key("body_json", STRING_MAP),
    Key("certificate_expiry_warning", DURATION),
    Key("latency_warning", DURATION),
)

#: What a service and a sidecar have in common.
_SERVICE_KEYS = (
    Key("kind", STRING),
    Key("id", STRING),
    Key("name", STRING),
    Key("tags", STRINGS),
    Key("address", STRING),
    Key("tagged_addresses.<name>.address", STRING),
    Key("tagged_addresses.<name>.port", INT),
    Key("meta", STRING_MAP),
    Key("port", INT),
    Key("token", STRING),
    Key("weights.passing", INT),
    Key("weights.warning", INT),
    Key("enable_tag_override", BOOL),
    Key("proxy.destination_service_name", STRING),
    Key("proxy.destination_service_id", STRING),
    Key("proxy.local_service_address", STRING),
    Key("proxy.local_service_port", INT),
    Key("proxy.config", MAP),
    Key("proxy.upstreams", SECTIONS),
    Key("proxy.upstreams[].destination_type", STRING),
    Key("proxy.upstreams[].destination_namespace", STRING),
    Key("proxy.upstreams[].destination_name", STRING),
    Key("proxy.upstreams[].datacenter", STRING),
    Key("proxy.upstreams[].local_bind_address", STRING),
    Key("proxy.upstreams[].local_bind_port", INT),
    Key("proxy.upstreams[].config", MAP),
    Key("proxy.upstreams[].mesh_gateway.mode", STRING),
    Key("proxy.mesh_gateway.mode", STRING),
    Key("proxy.expose.checks", BOOL),
    Key("proxy.expose.paths", SECTIONS),
    Key("proxy.expose.paths[].listener_port", INT),
    Key("proxy.expose.paths[].path", STRING),
    Key("proxy.expose.paths[].local_path_port", INT),
    Key("proxy.expose.paths[].protocol", STRING),
    Key("connect.native", BOOL),
)


def _below(prefix: str, keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(attrs.evolve(key, path=f"{prefix}.{key.path}") for key in keys)


_CHECKS = (
    Key("checks", SECTIONS),
    *_below("check", CHECK_KEYS),
    *_below("checks[]", CHECK_KEYS),
)
_SIDECAR = "connect.sidecar_service"

SERVICE_KEYS = (
    *_SERVICE_KEYS,
    *_CHECKS,
    Key(_SIDECAR, SECTION),
    *_below(_SIDECAR, (*_SERVICE_KEYS, *_CHECKS)),
)

DEFINITION_KEYS = (
    Key("checks", SECTIONS, reloadable=True),
    Key("services", SECTIONS, reloadable=True),
    *_below("check", CHECK_KEYS),
    *_below("checks[]", CHECK_KEYS),
    *_below("service", SERVICE_KEYS),
    *_below("services[]", SERVICE_KEYS),
)
