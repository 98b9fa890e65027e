"""The rules that a whole configuration must obey, in Consul's order.

The first broken rule is reported; mistakes in single values, which were noted while
the configuration was built, are reported together at their place in that order.
"""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

from consultwist.config.ca_config import check_ca_config
from consultwist.config.problems import Problems
from consultwist.config.runtime import ListenAddress, RuntimeConfig
from consultwist.errors import ConfigError
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    NodeService,
    ServiceConnect,
    ServiceDefinition,
)
from consultwist.structs.service_rules import (
    error_list,
    meta_problem,
    service_problems,
)

_DATACENTER = re.compile(r"[a-z0-9_-]+")
_CONTENT_PATH = re.compile(r"[A-Za-z0-9/_-]+")
_VERSION_PATH = re.compile(r"/v\d+/")
_UNDISCOVERABLE = re.compile(r"[^A-Za-z0-9-]")

#: The longest label of a DNS name (RFC 1035).
_LABEL_MAX = 63

#: Where the gossip keys are kept, below the data directory.
LAN_KEYRING = "serf/local.keyring"
WAN_KEYRING = "serf/remote.keyring"

_DEPLOYMENTS = (
    "See https://www.consul.io/docs/internals/consensus.html#deployment-table"
)


def validate(config: RuntimeConfig, problems: Problems) -> list[str]:
    """Return the warnings about a configuration that can work.

    Raises:
        ConfigError: where a rule is broken.
    """
    for rules in (_identity, _addresses, _modes, _numbers, _metadata, _federation):
        for broken in rules(config, problems):
            raise ConfigError(broken)
    for broken in _unique_addresses(config):
        raise ConfigError(broken)
    problems.raise_errors()
    for service in config.services:
        broken = _service_problem(service)
        if broken:
            raise ConfigError(f'service "{service.name}": {broken}')
    check_ca_config(config.connect_ca_provider, config.connect_ca_config)
    for rules in (_auto_encrypt, _auto_config):
        for broken in rules(config, problems):
            raise ConfigError(broken)
    _warn(config, problems)
    return problems.warnings


def _identity(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    if not config.datacenter:
        yield "datacenter cannot be empty"
    if not _DATACENTER.fullmatch(config.datacenter):
        yield (
            f"datacenter cannot be {_quoted(config.datacenter)}. "
            "Please use only [a-z0-9-_]"
        )
    if not config.data_dir and not config.dev_mode:
        yield "data_dir cannot be empty"
    if not _CONTENT_PATH.fullmatch(config.ui_content_path):
        yield (
            "ui-content-path can only contain alphanumeric, -, _, or /. "
            f"received: {config.ui_content_path}"
        )
    if _VERSION_PATH.fullmatch(config.ui_content_path):
        path = config.ui_content_path
        yield f"ui-content-path cannot have 'v[0-9]'. received: {path}"
    place = Path(config.data_dir)
    if not config.dev_mode and place.exists() and not place.is_dir():
        yield f'data_dir "{config.data_dir}" is not a directory'
    if not config.node_name:
        yield "node_name cannot be empty"
    if _UNDISCOVERABLE.search(config.node_name):
        problems.warn(
            f"Node name {_quoted(config.node_name)} will not be discoverable via DNS "
            "due to invalid characters. Valid characters include all alpha-numerics "
            "and dashes."
        )
    elif len(config.node_name) > _LABEL_MAX:
        problems.warn(
            f"Node name {_quoted(config.node_name)} will not be discoverable via DNS "
            "due to it being too long. Valid lengths are between 1 and 63 bytes."
        )


def _addresses(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    del problems  # only mistakes here
    for address, name in (
        (config.advertise_addr_lan, ""),
        (config.advertise_addr_wan, "WAN "),
    ):
        if _is_any(address):
            yield f"Advertise {name}address cannot be 0.0.0.0, :: or [::]"
    yield from _segments(config)
    if any(address.is_unix for address in config.dns_addrs):
        yield "DNS address cannot be a unix socket"
    if any(_is_any(address) for address in config.dns_recursors):
        yield "DNS recursor address cannot be 0.0.0.0, :: or [::]"
    reserved = ["service", "connect", "node", "query", "addr", config.datacenter]
    if config.dns_alt_domain.startswith(tuple(f"{label}." for label in reserved)):
        yield f"alt_domain cannot start with {{{','.join(reserved)}}}"


def _segments(config: RuntimeConfig) -> Iterator[str]:
    """Check the network segments, which a stock Consul has only in Enterprise."""
    names = [segment.get("name", "") for segment in config.segments]
    if config.segments and not config.server_mode:
        yield "Segments can only be configured on server agents"
    if config.segment_name and config.server_mode:
        yield "Segment option can only be set on client agents"
    if len(names) > config.segment_limit:
        yield f"Cannot exceed network segment limit of {config.segment_limit}"
    for name in names:
        if not name:
            yield "Segment name cannot be blank"
        if len(name) > config.segment_name_limit:
            yield (
                f"Segment name {_quoted(name)} exceeds maximum length of "
                f"{config.segment_name_limit}"
            )
        if names.count(name) > 1:
            yield f"Segment name {_quoted(name)} is used more than once"


def _modes(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    del problems  # only mistakes here
    if config.bootstrap and not config.server_mode:
        yield "'bootstrap = true' requires 'server = true'"
    if config.bootstrap_expect < 0:
        yield (
            f"bootstrap_expect cannot be {config.bootstrap_expect}. "
            "Must be greater than or equal to zero"
        )
    if config.bootstrap_expect > 0 and not config.server_mode:
        yield "'bootstrap_expect > 0' requires 'server = true'"
    if config.bootstrap_expect > 0 and config.dev_mode:
        yield "'bootstrap_expect > 0' not allowed in dev mode"
    if config.bootstrap_expect > 0 and config.bootstrap:
        yield "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive"
    if config.check_output_max_size < 1:
        yield (
            "check_output_max_size must be positive, to discard check output "
            "use the discard_check_output flag"
        )


def _numbers(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    del problems  # only mistakes here
    if config.autopilot_max_trailing_logs < 0:
        yield _negative(
            "autopilot.max_trailing_logs", config.autopilot_max_trailing_logs
        )
    if not _DATACENTER.fullmatch(config.primary_datacenter):
        yield (
            f"acl_datacenter cannot be {_quoted(config.primary_datacenter)}. "
            "Please use only [a-z0-9-_]"
        )
    if not config.dev_mode and config.enable_ui and config.ui_dir:
        yield (
            "Both the ui and ui-dir flags were specified, please provide only one.\n"
            "If trying to use your own web UI resources, use the ui-dir flag.\n"
            "The web UI is included in the binary so use ui to enable it"
        )
    if config.dns_udp_answer_limit < 0:
        yield _negative("dns_config.udp_answer_limit", config.dns_udp_answer_limit)
    if config.dns_a_record_limit < 0:
        yield _negative("dns_config.a_record_limit", config.dns_a_record_limit)


def _negative(key: str, number: int) -> str:
    return f"{key} cannot be {number}. Must be greater than or equal to zero"


def _metadata(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    problem = meta_problem(config.node_meta)
    if problem:
        yield f"node_meta invalid: {problem}"
    if not config.encrypt_key:
        return
    offset = _base64_error(config.encrypt_key)
    if offset is not None:
        yield f"encrypt has invalid key: illegal base64 data at input byte {offset}"
    keyrings = {"LAN": LAN_KEYRING}
    if config.server_mode:
        keyrings["WAN"] = WAN_KEYRING
    for pool, name in keyrings.items():
        if not config.dev_mode and (Path(config.data_dir) / name).exists():
            problems.warn(
                f"WARNING: {pool} keyring exists but -encrypt given, using keyring"
            )


def _federation(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    del problems  # only mistakes here
    key = "connect.enable_mesh_gateway_wan_federation = true"
    if config.connect_mesh_gateway_wan_federation_enabled:
        if not config.server_mode:
            yield f"'{key}' requires 'server = true'"
        if re.search(r"[/\\]", config.node_name):
            yield f"'{key}' requires that 'node_name' not contain '/' characters"
        if config.start_join_addrs_wan:
            yield f"'start_join_wan' is incompatible with '{key}'"
        if config.retry_join_wan:
            yield f"'retry_join_wan' is incompatible with '{key}'"
    if config.primary_gateways:
        if not config.server_mode:
            yield "'primary_gateways' requires 'server = true'"
        if config.primary_datacenter == config.datacenter:
            yield (
                "'primary_gateways' should only be configured in a secondary datacenter"
            )


def _unique_addresses(config: RuntimeConfig) -> Iterator[str]:
    taken: dict[tuple[str, str], str] = {}
    listeners: list[tuple[str, ListenAddress | None]] = [
        *(("DNS", address) for address in config.dns_addrs),
        *(("HTTP", address) for address in config.http_addrs),
        *(("HTTPS", address) for address in config.https_addrs),
        ("RPC Advertise", config.rpc_advertise_addr),
        ("Serf Advertise LAN", config.serf_advertise_addr_lan),
        ("Serf Advertise WAN", config.serf_advertise_addr_wan),
    ]
    for name, address in listeners:
        if address is None:
            continue
        place = (address.network, address.location)
        if place in taken:
            shown = address.location
            yield f"{name} address {shown} already configured for {taken[place]}"
        taken[place] = name


def _service_problem(service: ServiceDefinition) -> str:
    problems = service_problems(
        NodeService(
            kind=service.kind,
            service=service.name,
            port=service.port,
            proxy=service.proxy or ConnectProxyConfig(),
            connect=service.connect or ServiceConnect(),
        )
    )
    return error_list(problems) if problems else ""


def _auto_encrypt(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    del problems  # only mistakes here
    if config.server_mode and config.auto_encrypt_tls:
        yield "auto_encrypt.tls can only be used on a client."
    if not config.server_mode and config.auto_encrypt_allow_tls:
        yield "auto_encrypt.allow_tls can only be used on a server."
    if config.auto_encrypt_tls and config.auto_config.enabled:
        yield "both auto_encrypt.tls and auto_config.enabled cannot be set to true."


def _auto_config(config: RuntimeConfig, problems: Problems) -> Iterator[str]:
    auto = config.auto_config
    if auto.authorizer.enabled:
        yield from _authorizer(config)
    if not auto.enabled:
        return
    if config.server_mode:
        yield "auto_config.enabled cannot be set to true for server agents."
    if not config.verify_outgoing:
        yield (
            "auto_config.enabled cannot be set without configuring TLS "
            "for server communications"
        )
    if auto.intro_token and auto.intro_token_file:
        problems.warn(
            "Both an intro token and intro token file are set. "
            "The intro token will be used instead of the file"
        )
    elif not auto.intro_token and not auto.intro_token_file:
        yield (
            "One of auto_config.intro_token, auto_config.intro_token_file or the "
            "CONSUL_INTRO_TOKEN environment variable must be set to enable auto_config"
        )
    if not auto.server_addresses:
        yield "auto_config.enabled is set without providing a list of addresses"


def _authorizer(config: RuntimeConfig) -> Iterator[str]:
    authorizer = config.auto_config.authorizer
    if not config.server_mode:
        yield (
            "auto_config.authorization.enabled cannot be set to true for client agents"
        )
    if not config.cert_file:
        yield (
            "auto_config.authorization.enabled cannot be set without providing "
            "a TLS certificate for the server"
        )
    sources = (
        authorizer.jwt_validation_pub_keys,
        authorizer.jwks_url,
        authorizer.oidc_discovery_url,
    )
    if sum(bool(source) for source in sources) != 1:
        yield (
            "auto_config.authorization.static has invalid configuration: "
            "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' "
            'must be set for type "jwt"'
        )


def _warn(config: RuntimeConfig, problems: Problems) -> None:
    expect = config.bootstrap_expect
    if config.server_mode and expect == 2:
        problems.warn(
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure "
            f"tolerance. {_DEPLOYMENTS}"
        )
    elif config.server_mode and expect > 2 and expect % 2 == 0:
        problems.warn(
            "bootstrap_expect is even number: A cluster with an even number of servers "
            f"does not achieve optimum fault tolerance. {_DEPLOYMENTS}"
        )
    if config.server_mode and config.bootstrap and not expect:
        problems.warn("bootstrap = true: do not enable unless necessary")
    if config.server_mode and expect > 1:
        problems.warn(f"bootstrap_expect > 0: expecting {expect} servers")
    verified = config.verify_incoming or config.verify_incoming_rpc
    if config.auto_encrypt_allow_tls and not verified:
        problems.warn(
            "if auto_encrypt.allow_tls is turned on, either verify_incoming or "
            "verify_incoming_rpc should be enabled. It is necessary to turn it off "
            "during a migration to TLS, but it should definitely be turned on "
            "afterwards."
        )
    open_api = not config.acls_enabled and not config.allow_write_http_from
    if config.enable_remote_script_checks and open_api:
        problems.warn(
            "using enable-script-checks without ACLs and without allow_write_http_from "
            "is DANGEROUS, use enable-local-script-checks instead, see "
            "https://www.hashicorp.com/blog/"
            "protecting-consul-from-rce-risk-in-specific-configurations/"
        )


def _is_any(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]")).is_unspecified
    except ValueError:
        return False


def _quoted(text: str) -> str:
    """Return a text in quotes as Go's %q shows it."""
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + shown.replace("\n", "\\n").replace("\t", "\\t") + '"'


_BASE64 = re.compile(r"[A-Za-z0-9+/]")


def _base64_error(text: str) -> int | None:
    """Return where a text stops being base64, counted as Go's decoder does."""
    letters = [(i, c) for i, c in enumerate(text) if c not in "\r\n"]
    for position, (index, character) in enumerate(letters):
        place = position % 4
        if _BASE64.fullmatch(character):
            continue
        if character != "=" or place < 2:
            return index
        rest = letters[position + 1 :]
        if place == 2:
            if not rest:
                return len(text)
            if rest[0][1] != "=":
                return rest[0][0] - 1
            rest = rest[1:]
        return rest[0][0] if rest else None
    left = len(letters) % 4
    return letters[-left][0] if left else None
