"""From merged values to the `RuntimeConfig`: defaults, derived values, checks."""

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import attrs

from consultwist.config.addresses import AddressReader, read_addresses
from consultwist.config.ca_config import go_names
from consultwist.config.ciphers import parse_ciphers
from consultwist.config.definitions import check_definition, service_definition
from consultwist.config.entries import check_entry
from consultwist.config.merge import Merged
from consultwist.config.network import InterfaceAddress, interface_addresses
from consultwist.config.problems import Problems
from consultwist.config.runtime import (
    KEY,
    AutoConfig,
    AutoConfigAuthorizer,
    CacheConfig,
    LoggingConfig,
    RuntimeConfig,
    SOAConfig,
    TelemetryConfig,
)
from consultwist.config.schema import Kind
from consultwist.config.validate import validate
from consultwist.errors import ConfigError
from consultwist.structs.service_rules import error_list

Record = TypeVar("Record")

#: The Raft timings of the defaults are multiplied by at most this (Consul's limit).
RAFT_MULTIPLIER_MAX = 10

#: Where the introduction token may also come from.
INTRO_TOKEN_VARIABLE = "CONSUL_INTRO_TOKEN"  # noqa: S105 - the name, not the token


@attrs.frozen
class Surroundings:
    """What the configuration takes from the machine it is read on."""

    hostname: Callable[[], str] = socket.gethostname
    interfaces: Callable[[], list[InterfaceAddress]] = interface_addresses
    environment: Mapping[str, str] = os.environ


@attrs.frozen
class Built:
    """A configuration with what the user should be told about it."""

    config: RuntimeConfig
    warnings: tuple[str, ...]


def build(merged: Merged, surroundings: Surroundings, *, dev: bool = False) -> Built:
    """Return the configuration that the merged values describe.

    Raises:
        ConfigError: where they describe none that could work.
    """
    problems = Problems(warnings=list(merged.warnings))
    config = _Builder(merged, surroundings, problems).config(dev=dev)
    warnings = tuple(validate(config, problems))
    return Built(config, warnings)


@attrs.frozen
class _Builder:
    """Builds one configuration, part by part."""

    merged: Merged
    surroundings: Surroundings
    problems: Problems

    def config(self, *, dev: bool) -> RuntimeConfig:
        value = self.merged.value
        checks = tuple(check_definition(c, self.problems) for c in value("checks"))
        services = tuple(
            service_definition(s, self.problems) for s in value("services")
        )
        reader = AddressReader(
            self.merged, self.surroundings.interfaces(), self.problems
        )
        ports = self._ports(reader)
        addresses = read_addresses(reader)
        parts = {
            **ports,
            **attrs.asdict(addresses, recurse=False),
            **self._joins(reader),
            **self._segments(),
            **self._raft(),
            **self._tls(),
            **self._connect(),
            **self._acl(),
            **self._server_defaults(),
            **self._networks(),
        }
        return self._record(
            RuntimeConfig,
            **parts,
            checks=checks,
            services=services,
            dev_mode=dev,
            node_name=(value("node_name") or self.surroundings.hostname()).strip(),
            ui_content_path=_content_path(value("ui_content_path")),
            cache=self._cache(),
            dns_soa=self._record(SOAConfig),
            logging=self._record(LoggingConfig),
            telemetry=self._telemetry(),
            watches=tuple(value("watches")),
        )

    def _record(self, cls: Callable[..., Record], **parts: Any) -> Record:
        """Make a record: some attributes are given, the others hold keys."""
        values = dict(parts)
        for field in attrs.fields(cast("Any", cls)):
            key = field.metadata.get(KEY)
            if key and field.name not in values:
                values[field.name] = self._typed(key)
        return cls(**values)

    def _typed(self, key: str) -> Any:
        value = self.merged.value(key)
        kind = self.merged.kind(key)
        if kind is Kind.DURATION:
            return self.problems.seconds(key, value)
        if kind is Kind.DURATION_MAP:
            return {
                name: self.problems.seconds(f'{key}["{name}"]', text)
                for name, text in value.items()
            }
        if kind is Kind.STRINGS:
            return tuple(value)
        return value

    def _ports(self, reader: AddressReader) -> dict[str, Any]:
        names = {
            **{f"{n}_port": n for n in ("dns", "http", "https", "grpc", "server")},
            "serf_port_lan": "serf_lan",
            "serf_port_wan": "serf_wan",
            "connect_sidecar_min_port": "sidecar_min_port",
            "connect_sidecar_max_port": "sidecar_max_port",
            "expose_min_port": "expose_min_port",
            "expose_max_port": "expose_max_port",
        }
        # Each mistake in a port is reported where its listener is worked out.
        quiet = attrs.evolve(reader, problems=Problems())
        ports = {attribute: quiet.port(name) for attribute, name in names.items()}
        for name in ("proxy", "sidecar", "expose"):
            if quiet.port(f"{name}_max_port") < quiet.port(f"{name}_min_port"):
                raise ConfigError(
                    f"{name}_min_port must be less than {name}_max_port. "
                    "To disable, set both to zero."
                )
        return ports

    def _joins(self, reader: AddressReader) -> dict[str, Any]:
        recursors: dict[str, None] = {}
        for text in self.merged.value("recursors"):
            found = Problems()
            words = attrs.evolve(reader, problems=found).fields("", text)
            if found.errors:
                reason = found.errors[0].partition('": ')[2]
                quoted = text.replace("\\", "\\\\").replace('"', '\\"')
                raise ConfigError(f'Invalid DNS recursor template "{quoted}": {reason}')
            for word in words:
                if word.startswith("unix://"):
                    raise ConfigError(f"DNS Recursors cannot be unix sockets: {word}")
                recursors[word] = None
        return {
            "dns_recursors": tuple(recursors),
            "primary_gateways": reader.words("primary_gateways"),
            "retry_join_lan": reader.words("retry_join"),
            "retry_join_wan": reader.words("retry_join_wan"),
            "start_join_addrs_lan": reader.words("start_join"),
            "start_join_addrs_wan": reader.words("start_join_wan"),
        }

    def _segments(self) -> dict[str, Any]:
        segments = tuple(self.merged.value("segments"))
        for segment in segments:
            if segment.get("port", 0) <= 0:
                raise ConfigError(
                    f'Port for segment "{segment.get("name", "")}" cannot be <= 0'
                )
        return {"segments": segments}

    def _raft(self) -> dict[str, Any]:
        multiplier = self.merged.value("performance.raft_multiplier")
        if not 1 <= multiplier <= RAFT_MULTIPLIER_MAX:
            raise ConfigError(
                f"performance.raft_multiplier cannot be {multiplier}. "
                f"Must be between 1 and {RAFT_MULTIPLIER_MAX}"
            )
        return {
            f"consul_raft_{name}": self._typed(f"consul.raft.{name}") * multiplier
            for name in (
                "election_timeout",
                "heartbeat_timeout",
                "leader_lease_timeout",
            )
        }

    def _telemetry(self) -> TelemetryConfig:
        allowed: list[str] = []
        blocked: list[str] = []
        for rule in self.merged.value("telemetry.prefix_filter"):
            if not rule:
                self.problems.warn("Cannot have empty filter rule in prefix_filter")
            elif rule[0] == "+":
                allowed.append(rule[1:])
            elif rule[0] == "-":
                blocked.append(rule[1:])
            else:
                self.problems.warn(
                    f"Filter rule must begin with either '+' or '-': \"{rule}\""
                )
        return self._record(
            TelemetryConfig,
            allowed_prefixes=tuple(allowed),
            blocked_prefixes=tuple(blocked),
        )

    def _tls(self) -> dict[str, Any]:
        value = self.merged.value
        ciphers: tuple[str, ...] = ()
        try:
            ciphers = parse_ciphers(value("tls_cipher_suites"))
        except ConfigError as error:
            self.problems.error(
                f"tls_cipher_suites: invalid tls cipher suites: {error}"
            )
        # Checking the name of a server means to check its certificate.
        outgoing = value("verify_outgoing") or value("verify_server_hostname")
        return {"tls_cipher_suites": ciphers, "verify_outgoing": outgoing}

    def _connect(self) -> dict[str, Any]:
        value = self.merged.value
        encrypt_sans = self._addresses("auto_encrypt.ip_san", "AutoEncrypt.IPSAN")
        auto_config = self._auto_config()
        enabled = (
            value("connect.enabled")
            or value("auto_encrypt.allow_tls")
            or auto_config.enabled
        )
        if value("connect.enable_mesh_gateway_wan_federation") and not enabled:
            raise ConfigError(
                "'connect.enable_mesh_gateway_wan_federation=true' "
                "requires 'connect.enabled=true'"
            )
        entries = tuple(value("config_entries.bootstrap"))
        for number, entry in enumerate(entries):
            try:
                check_entry(entry)
            except ConfigError as error:
                raise ConfigError(
                    f"config_entries.bootstrap[{number}]: {error}"
                ) from None
        return {
            "auto_config": auto_config,
            "auto_encrypt_ip_san": encrypt_sans,
            "connect_enabled": enabled,
            "connect_ca_config": go_names(value("connect.ca_config")),
            "config_entry_bootstrap": entries,
        }

    def _auto_config(self) -> AutoConfig:
        token = self.surroundings.environment.get(INTRO_TOKEN_VARIABLE, "")
        return self._record(
            AutoConfig,
            authorizer=self._record(AutoConfigAuthorizer),
            dns_sans=tuple(self.merged.value("auto_config.dns_sans")),
            ip_sans=self._addresses("auto_config.ip_sans", "auto_config.ip_sans"),
            intro_token=self.merged.value("auto_config.intro_token") or token,
        )

    def _addresses(self, key: str, shown: str) -> tuple[str, ...]:
        """Return the IP addresses of a list; others are left out with a warning."""
        found: list[str] = []
        for text in self.merged.value(key):
            try:
                found.append(str(ipaddress.ip_address(text)))
            except ValueError:
                self.problems.warn(f'Cannot parse ip "{text}" from {shown}')
        return tuple(found)

    def _acl(self) -> dict[str, Any]:
        merged, value = self.merged, self.merged.value
        primary = value("primary_datacenter").lower()
        enabled = False
        if merged.get("acl_datacenter") is not None:
            self.problems.warn(
                "The 'acl_datacenter' field is deprecated. "
                "Use the 'primary_datacenter' field instead."
            )
            primary = primary or value("acl_datacenter").lower()
            # In old configurations this key turned the ACL system on.
            enabled = True
        if merged.get("acl.enabled") is not None:
            enabled = value("acl.enabled")
        datacenter = value("datacenter").lower()
        return {
            "datacenter": datacenter,
            "acl_datacenter": primary or datacenter,
            "primary_datacenter": primary or datacenter,
            "acls_enabled": enabled,
            "acl_default_policy": self._newer(
                "acl.default_policy", "acl_default_policy"
            ),
            "acl_down_policy": self._newer("acl.down_policy", "acl_down_policy"),
            "acl_enable_key_list_policy": self._newer(
                "acl.enable_key_list_policy", "acl_enable_key_list_policy"
            ),
            "acl_token_replication": self._newer(
                "acl.enable_token_replication", "enable_acl_replication"
            ),
            "acl_token_ttl": self._newer("acl.token_ttl", "acl_ttl"),
            "acl_agent_master_token": self._newer(
                "acl.tokens.agent_master", "acl_agent_master_token"
            ),
            "acl_agent_token": self._newer("acl.tokens.agent", "acl_agent_token"),
            "acl_master_token": self._newer("acl.tokens.master", "acl_master_token"),
            "acl_replication_token": self._newer(
                "acl.tokens.replication", "acl_replication_token"
            ),
            "acl_token": self._newer("acl.tokens.default", "acl_token"),
        }

    def _newer(self, key: str, old: str) -> Any:
        """Return the value of a key, or of the one it replaced."""
        return self._typed(old if self.merged.get(key) is None else key)

    def _server_defaults(self) -> dict[str, Any]:
        """Return what differs between servers and clients, and bootstrapping."""
        merged, value = self.merged, self.merged.value
        server, expect = value("server"), value("bootstrap_expect")
        bootstrap = value("bootstrap")
        if expect == 1:
            self.problems.warn(
                "BootstrapExpect is set to 1; this is the same as Bootstrap mode."
            )
            bootstrap, expect = True, 0
        leave, skip = (
            merged.get(key) for key in ("leave_on_terminate", "skip_leave_on_interrupt")
        )
        local_scripts = merged.get("enable_local_script_checks")
        return {
            "bootstrap": bootstrap,
            "bootstrap_expect": expect,
            "leave_on_term": (not server) if leave is None else leave,
            "skip_leave_on_int": server if skip is None else skip,
            "enable_local_script_checks": (
                value("enable_script_checks")
                if local_scripts is None
                else local_scripts
            ),
        }

    def _networks(self) -> dict[str, Any]:
        allowed: list[str] = []
        for text in self.merged.value("http_config.allow_write_http_from"):
            try:
                allowed.append(_cidr(text))
            except ValueError:
                self.problems.error(f"allow_write_http_from: invalid cidr: {text}")
        parts: dict[str, Any] = {"allow_write_http_from": tuple(allowed)}
        for pool in ("lan", "wan"):
            key = f"serf_{pool}_allowed_cidrs"
            try:
                cidrs = tuple(_cidr(text) for text in self.merged.value(key))
            except ValueError:
                bad = [t for t in self.merged.value(key) if not _is_cidr(t)]
                lines = [f"invalid cidr: {text}" for text in bad]
                raise ConfigError(f"{key}: {error_list(lines)}") from None
            parts[f"serf_allowed_cidrs_{pool}"] = cidrs
        return parts

    def _cache(self) -> CacheConfig:
        cache = self._record(CacheConfig)
        for name, number in (
            ("entry_fetch_max_burst", cache.entry_fetch_max_burst),
            ("entry_fetch_rate", cache.entry_fetch_rate),
        ):
            if number <= 0:
                raise ConfigError(
                    f"cache.{name} must be strictly positive, was: {number:g}"
                )
        return cache


def _cidr(text: str) -> str:
    if "/" not in text:
        raise ValueError(text)
    return str(ipaddress.ip_network(text, strict=False))


def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except ValueError:
        return False
    return True


def _content_path(text: str) -> str:
    return f"/{text.strip('/')}/" if text else "/ui/"
