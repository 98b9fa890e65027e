# ruff: noqa: RUF009 - each call makes one attrs field, at class creation
"""RuntimeConfig: everything an agent needs to know, checked and typed.

The attributes are flat and follow the names that ``/v1/agent/self`` shows under
``DebugConfig``. An attribute that simply holds a configuration key says which
(`setting`); the others are worked out in `consultwist.config.build`.

Intervals are seconds as float (`Seconds`). Records that hold secrets have no repr, so
that none gets into a log or a traceback by accident.
"""

from typing import Annotated, Any

import attrs

from consultwist.structs.catalog import ServiceDefinition
from consultwist.structs.check_definition import CheckDefinition

#: An interval in seconds.
Seconds = Annotated[float, "seconds"]

#: The name of the metadata that holds the configuration key of an attribute.
KEY = "key"
#: The name of the metadata that holds the Go name, where the rule does not give it.
GO_NAME = "go"


def setting(key: str, go: str = "") -> Any:
    """Declare an attribute that holds the value of a configuration key as it is."""
    return attrs.field(metadata={KEY: key, GO_NAME: go})


def derived(go: str = "") -> Any:
    """Declare an attribute that is worked out from several keys."""
    return attrs.field(metadata={KEY: "", GO_NAME: go})


@attrs.frozen(order=True)
class ListenAddress:
    """Where a listener is bound: a network with host and port, or a socket path."""

    network: str
    host: str
    port: int = 0

    def __str__(self) -> str:
        """Return Consul's form: ``tcp://127.0.0.1:8500``, ``unix:///run/c.sock``."""
        return f"{self.network}://{self.location}"

    @property
    def is_unix(self) -> bool:
        """Whether this is a Unix socket; `host` is then its path."""
        return self.network == "unix"

    @property
    def location(self) -> str:
        """The address without the network: ``127.0.0.1:8500``, ``[::1]:8500``."""
        if self.is_unix:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@attrs.frozen(kw_only=True)
class SOAConfig:
    """The numbers of the SOA record of the DNS domain."""

    expire: int = setting("dns_config.soa.expire")
    minttl: int = setting("dns_config.soa.min_ttl", "Minttl")
    refresh: int = setting("dns_config.soa.refresh")
    retry: int = setting("dns_config.soa.retry")


@attrs.frozen(kw_only=True)
class CacheConfig:
    """How often one entry of the agent cache may be fetched."""

    entry_fetch_max_burst: int = setting("cache.entry_fetch_max_burst")
    entry_fetch_rate: float = setting("cache.entry_fetch_rate")


@attrs.frozen(kw_only=True)
class LoggingConfig:
    """Where the agent's log goes, and how much of it."""

    enable_syslog: bool = setting("enable_syslog")
    log_file_path: str = setting("log_file")
    log_json: bool = setting("log_json")
    log_level: str = setting("log_level")
    log_rotate_bytes: int = setting("log_rotate_bytes")
    log_rotate_duration: Seconds = setting("log_rotate_duration")
    log_rotate_max_files: int = setting("log_rotate_max_files")
    name: str = ""
    syslog_facility: str = setting("syslog_facility")


@attrs.frozen(kw_only=True, repr=False)
class TelemetryConfig:
    """Where metrics go, and which."""

    allowed_prefixes: tuple[str, ...] = derived()
    blocked_prefixes: tuple[str, ...] = derived()
    circonus_api_app: str = setting("telemetry.circonus_api_app", "CirconusAPIApp")
    circonus_api_token: str = setting(
        "telemetry.circonus_api_token", "CirconusAPIToken"
    )
    circonus_api_url: str = setting("telemetry.circonus_api_url", "CirconusAPIURL")
    circonus_broker_id: str = setting("telemetry.circonus_broker_id")
    circonus_broker_select_tag: str = setting("telemetry.circonus_broker_select_tag")
    circonus_check_display_name: str = setting("telemetry.circonus_check_display_name")
    circonus_check_force_metric_activation: str = setting(
        "telemetry.circonus_check_force_metric_activation"
    )
    circonus_check_id: str = setting("telemetry.circonus_check_id")
    circonus_check_instance_id: str = setting("telemetry.circonus_check_instance_id")
    circonus_check_search_tag: str = setting("telemetry.circonus_check_search_tag")
    circonus_check_tags: str = setting("telemetry.circonus_check_tags")
    circonus_submission_interval: str = setting(
        "telemetry.circonus_submission_interval"
    )
    circonus_submission_url: str = setting("telemetry.circonus_submission_url")
    disable: bool = False
    disable_hostname: bool = setting("telemetry.disable_hostname")
    dogstatsd_addr: str = setting("telemetry.dogstatsd_addr")
    dogstatsd_tags: tuple[str, ...] = setting("telemetry.dogstatsd_tags")
    filter_default: bool = setting("telemetry.filter_default")
    metrics_prefix: str = setting("telemetry.metrics_prefix")
    prometheus_retention_time: Seconds = setting("telemetry.prometheus_retention_time")
    statsd_addr: str = setting("telemetry.statsd_address")
    statsite_addr: str = setting("telemetry.statsite_address")


_STATIC = "auto_config.authorization.static"


@attrs.frozen(kw_only=True)
class AutoConfigAuthorizer:
    """How a server decides which clients may fetch their configuration."""

    enabled: bool = setting("auto_config.authorization.enabled")
    allow_reuse: bool = setting(f"{_STATIC}.allow_reuse")
    claim_assertions: tuple[str, ...] = setting(f"{_STATIC}.claim_assertions")
    bound_audiences: tuple[str, ...] = setting(f"{_STATIC}.bound_audiences")
    bound_issuer: str = setting(f"{_STATIC}.bound_issuer")
    claim_mappings: dict[str, str] = setting(f"{_STATIC}.claim_mappings")
    list_claim_mappings: dict[str, str] = setting(f"{_STATIC}.list_claim_mappings")
    clock_skew_leeway: Seconds = setting(f"{_STATIC}.clock_skew_leeway")
    expiration_leeway: Seconds = setting(f"{_STATIC}.expiration_leeway")
    not_before_leeway: Seconds = setting(f"{_STATIC}.not_before_leeway")
    jwks_ca_cert: str = setting(f"{_STATIC}.jwks_ca_cert")
    jwks_url: str = setting(f"{_STATIC}.jwks_url")
    jwt_supported_algs: tuple[str, ...] = setting(f"{_STATIC}.jwt_supported_algs")
    jwt_validation_pub_keys: tuple[str, ...] = setting(
        f"{_STATIC}.jwt_validation_pub_keys"
    )
    oidc_discovery_ca_cert: str = setting(f"{_STATIC}.oidc_discovery_ca_cert")
    oidc_discovery_url: str = setting(f"{_STATIC}.oidc_discovery_url")


@attrs.frozen(kw_only=True, repr=False)
class AutoConfig:
    """Whether and where this client fetches its configuration."""

    authorizer: AutoConfigAuthorizer = derived()
    dns_sans: tuple[str, ...] = derived("DNSSANs")
    enabled: bool = setting("auto_config.enabled")
    ip_sans: tuple[str, ...] = derived("IPSANs")
    intro_token: str = derived()
    intro_token_file: str = setting("auto_config.intro_token_file")
    server_addresses: tuple[str, ...] = setting("auto_config.server_addresses")


@attrs.frozen(kw_only=True, repr=False)
class RuntimeConfig:
    """The configuration in force."""

    acl_agent_master_token: str = derived()
    acl_agent_token: str = derived()
    acl_datacenter: str = derived()
    acl_default_policy: str = derived()
    acl_disabled_ttl: Seconds = setting("acl.disabled_ttl")
    acl_down_policy: str = derived()
    acl_enable_key_list_policy: bool = derived()
    acl_enable_token_persistence: bool = setting("acl.enable_token_persistence")
    acl_master_token: str = derived()
    acl_policy_ttl: Seconds = setting("acl.policy_ttl")
    acl_replication_token: str = derived()
    acl_role_ttl: Seconds = setting("acl.role_ttl")
    acl_token: str = derived()
    acl_token_replication: bool = derived()
    acl_token_ttl: Seconds = derived()
    acls_enabled: bool = derived()
    ae_interval: Seconds = setting("ae_interval", "AEInterval")
    advertise_addr_lan: str = derived()
    advertise_addr_wan: str = derived()
    allow_write_http_from: tuple[str, ...] = derived()
    auto_config: AutoConfig = derived()
    auto_encrypt_allow_tls: bool = setting("auto_encrypt.allow_tls")
    auto_encrypt_dns_san: tuple[str, ...] = setting("auto_encrypt.dns_san")
    auto_encrypt_ip_san: tuple[str, ...] = derived()
    auto_encrypt_tls: bool = setting("auto_encrypt.tls")
    autopilot_cleanup_dead_servers: bool = setting("autopilot.cleanup_dead_servers")
    autopilot_disable_upgrade_migration: bool = setting(
        "autopilot.disable_upgrade_migration"
    )
    autopilot_last_contact_threshold: Seconds = setting(
        "autopilot.last_contact_threshold"
    )
    autopilot_max_trailing_logs: int = setting("autopilot.max_trailing_logs")
    autopilot_min_quorum: int = setting("autopilot.min_quorum")
    autopilot_redundancy_zone_tag: str = setting("autopilot.redundancy_zone_tag")
    autopilot_server_stabilization_time: Seconds = setting(
        "autopilot.server_stabilization_time"
    )
    autopilot_upgrade_version_tag: str = setting("autopilot.upgrade_version_tag")
    bind_addr: str = derived()
    bootstrap: bool = derived()
    bootstrap_expect: int = derived()
    ca_file: str = setting("ca_file")
    ca_path: str = setting("ca_path")
    cache: CacheConfig = derived()
    cert_file: str = setting("cert_file")
    check_deregister_interval_min: Seconds = setting("check_deregister_interval_min")
    check_output_max_size: int = setting("check_output_max_size")
    check_reap_interval: Seconds = setting("check_reap_interval")
    check_update_interval: Seconds = setting("check_update_interval")
    checks: tuple[CheckDefinition, ...] = derived()
    client_addrs: tuple[str, ...] = derived()
    config_entry_bootstrap: tuple[dict[str, Any], ...] = derived()
    connect_ca_config: dict[str, Any] = derived()
    connect_ca_provider: str = setting("connect.ca_provider")
    connect_enabled: bool = derived()
    connect_mesh_gateway_wan_federation_enabled: bool = setting(
        "connect.enable_mesh_gateway_wan_federation"
    )
    connect_sidecar_max_port: int = setting("ports.sidecar_max_port")
    connect_sidecar_min_port: int = setting("ports.sidecar_min_port")
    connect_test_ca_leaf_root_change_spread: Seconds = setting(
        "connect.test_ca_leaf_root_change_spread"
    )
    consul_coordinate_update_batch_size: int = setting(
        "consul.coordinate.update_batch_size"
    )
    consul_coordinate_update_max_batches: int = setting(
        "consul.coordinate.update_max_batches"
    )
    consul_coordinate_update_period: Seconds = setting(
        "consul.coordinate.update_period"
    )
    consul_raft_election_timeout: Seconds = derived()
    consul_raft_heartbeat_timeout: Seconds = derived()
    consul_raft_leader_lease_timeout: Seconds = derived()
    consul_server_health_interval: Seconds = setting("consul.server.health_interval")
    dns_a_record_limit: int = setting("dns_config.a_record_limit")
    dns_addrs: tuple[ListenAddress, ...] = derived()
    dns_allow_stale: bool = setting("dns_config.allow_stale")
    dns_alt_domain: str = setting("alt_domain")
    dns_cache_max_age: Seconds = setting("dns_config.cache_max_age")
    dns_disable_compression: bool = setting("dns_config.disable_compression")
    dns_domain: str = setting("domain")
    dns_enable_truncate: bool = setting("dns_config.enable_truncate")
    dns_max_stale: Seconds = setting("dns_config.max_stale")
    dns_node_meta_txt: bool = setting(
        "dns_config.enable_additional_node_meta_txt", "DNSNodeMetaTXT"
    )
    dns_node_ttl: Seconds = setting("dns_config.node_ttl")
    dns_only_passing: bool = setting("dns_config.only_passing")
    dns_port: int = setting("ports.dns")
    dns_recursor_timeout: Seconds = setting("dns_config.recursor_timeout")
    dns_recursors: tuple[str, ...] = derived()
    dns_soa: SOAConfig = derived("DNSSOA")
    dns_service_ttl: dict[str, Seconds] = setting("dns_config.service_ttl")
    dns_udp_answer_limit: int = setting("dns_config.udp_answer_limit")
    dns_use_cache: bool = setting("dns_config.use_cache")
    data_dir: str = setting("data_dir")
    datacenter: str = derived()
    default_query_time: Seconds = setting("default_query_time")
    dev_mode: bool = derived()
    disable_anonymous_signature: bool = setting("disable_anonymous_signature")
    disable_coordinates: bool = setting("disable_coordinates")
    disable_http_unprintable_char_filter: bool = setting(
        "disable_http_unprintable_char_filter"
    )
    disable_host_node_id: bool = setting("disable_host_node_id")
    disable_keyring_file: bool = setting("disable_keyring_file")
    disable_remote_exec: bool = setting("disable_remote_exec")
    disable_update_check: bool = setting("disable_update_check")
    discard_check_output: bool = setting("discard_check_output")
    discovery_max_stale: Seconds = setting("discovery_max_stale")
    enable_agent_tls_for_checks: bool = setting("enable_agent_tls_for_checks")
    enable_central_service_config: bool = setting("enable_central_service_config")
    enable_debug: bool = setting("enable_debug")
    enable_local_script_checks: bool = derived()
    enable_remote_script_checks: bool = setting("enable_script_checks")
    enable_ui: bool = setting("ui")
    encrypt_key: str = setting("encrypt")
    encrypt_verify_incoming: bool = setting("encrypt_verify_incoming")
    encrypt_verify_outgoing: bool = setting("encrypt_verify_outgoing")
    expose_max_port: int = setting("ports.expose_max_port")
    expose_min_port: int = setting("ports.expose_min_port")
    grpc_addrs: tuple[ListenAddress, ...] = derived()
    grpc_port: int = setting("ports.grpc")
    gossip_lan_gossip_interval: Seconds = setting("gossip_lan.gossip_interval")
    gossip_lan_gossip_nodes: int = setting("gossip_lan.gossip_nodes")
    gossip_lan_probe_interval: Seconds = setting("gossip_lan.probe_interval")
    gossip_lan_probe_timeout: Seconds = setting("gossip_lan.probe_timeout")
    gossip_lan_retransmit_mult: int = setting("gossip_lan.retransmit_mult")
    gossip_lan_suspicion_mult: int = setting("gossip_lan.suspicion_mult")
    gossip_wan_gossip_interval: Seconds = setting("gossip_wan.gossip_interval")
    gossip_wan_gossip_nodes: int = setting("gossip_wan.gossip_nodes")
    gossip_wan_probe_interval: Seconds = setting("gossip_wan.probe_interval")
    gossip_wan_probe_timeout: Seconds = setting("gossip_wan.probe_timeout")
    gossip_wan_retransmit_mult: int = setting("gossip_wan.retransmit_mult")
    gossip_wan_suspicion_mult: int = setting("gossip_wan.suspicion_mult")
    http_addrs: tuple[ListenAddress, ...] = derived()
    http_block_endpoints: tuple[str, ...] = setting("http_config.block_endpoints")
    http_max_conns_per_client: int = setting("limits.http_max_conns_per_client")
    http_port: int = setting("ports.http")
    http_response_headers: dict[str, str] = setting("http_config.response_headers")
    https_addrs: tuple[ListenAddress, ...] = derived()
    https_handshake_timeout: Seconds = setting("limits.https_handshake_timeout")
    https_port: int = setting("ports.https")
    http_use_cache: bool = setting("http_config.use_cache")
    kv_max_value_size: int = setting("limits.kv_max_value_size", "KVMaxValueSize")
    key_file: str = setting("key_file")
    leave_drain_time: Seconds = setting("performance.leave_drain_time")
    leave_on_term: bool = derived()
    logging: LoggingConfig = derived()
    max_query_time: Seconds = setting("max_query_time")
    node_id: str = setting("node_id")
    node_meta: dict[str, str] = setting("node_meta")
    node_name: str = derived()
    non_voting_server: bool = setting("non_voting_server")
    pid_file: str = setting("pid_file")
    primary_datacenter: str = derived()
    primary_gateways: tuple[str, ...] = derived()
    primary_gateways_interval: Seconds = setting("primary_gateways_interval")
    rpc_advertise_addr: ListenAddress = derived()
    rpc_bind_addr: ListenAddress = derived()
    rpc_handshake_timeout: Seconds = setting("limits.rpc_handshake_timeout")
    rpc_hold_timeout: Seconds = setting("performance.rpc_hold_timeout")
    rpc_max_burst: int = setting("limits.rpc_max_burst")
    rpc_max_conns_per_client: int = setting("limits.rpc_max_conns_per_client")
    rpc_protocol: int = setting("protocol")
    rpc_rate_limit: float = setting("limits.rpc_rate")
    raft_protocol: int = setting("raft_protocol")
    raft_snapshot_interval: Seconds = setting("raft_snapshot_interval")
    raft_snapshot_threshold: int = setting("raft_snapshot_threshold")
    raft_trailing_logs: int = setting("raft_trailing_logs")
    reconnect_timeout_lan: Seconds = setting("reconnect_timeout")
    reconnect_timeout_wan: Seconds = setting("reconnect_timeout_wan")
    rejoin_after_leave: bool = setting("rejoin_after_leave")
    retry_join_interval_lan: Seconds = setting("retry_interval")
    retry_join_interval_wan: Seconds = setting("retry_interval_wan")
    retry_join_lan: tuple[str, ...] = derived()
    retry_join_max_attempts_lan: int = setting("retry_max")
    retry_join_max_attempts_wan: int = setting("retry_max_wan")
    retry_join_wan: tuple[str, ...] = derived()
    revision: str = setting("revision")
    segment_limit: int = setting("segment_limit")
    segment_name: str = setting("segment")
    segment_name_limit: int = setting("segment_name_limit")
    segments: tuple[dict[str, Any], ...] = derived()
    serf_advertise_addr_lan: ListenAddress = derived()
    serf_advertise_addr_wan: ListenAddress | None = derived()
    serf_allowed_cidrs_lan: tuple[str, ...] = derived("SerfAllowedCIDRsLAN")
    serf_allowed_cidrs_wan: tuple[str, ...] = derived("SerfAllowedCIDRsWAN")
    serf_bind_addr_lan: ListenAddress = derived()
    serf_bind_addr_wan: ListenAddress | None = derived()
    serf_port_lan: int = setting("ports.serf_lan")
    serf_port_wan: int = setting("ports.serf_wan")
    server_mode: bool = setting("server")
    server_name: str = setting("server_name")
    server_port: int = setting("ports.server")
    services: tuple[ServiceDefinition, ...] = derived()
    session_ttl_min: Seconds = setting("session_ttl_min")
    skip_leave_on_int: bool = derived()
    start_join_addrs_lan: tuple[str, ...] = derived()
    start_join_addrs_wan: tuple[str, ...] = derived()
    sync_coordinate_interval_min: Seconds = setting("sync_coordinate_interval_min")
    sync_coordinate_rate_target: float = setting("sync_coordinate_rate_target")
    tls_cipher_suites: tuple[str, ...] = derived()
    tls_min_version: str = setting("tls_min_version")
    tls_prefer_server_cipher_suites: bool = setting("tls_prefer_server_cipher_suites")
    tagged_addresses: dict[str, str] = derived()
    telemetry: TelemetryConfig = derived()
    translate_wan_addrs: bool = setting("translate_wan_addrs")
    txn_max_req_len: int = setting("limits.txn_max_req_len")
    ui_content_path: str = derived()
    ui_dir: str = setting("ui_dir")
    unix_socket_group: str = setting("unix_sockets.group")
    unix_socket_mode: str = setting("unix_sockets.mode")
    unix_socket_user: str = setting("unix_sockets.user")
    verify_incoming: bool = setting("verify_incoming")
    verify_incoming_https: bool = setting("verify_incoming_https")
    verify_incoming_rpc: bool = setting("verify_incoming_rpc")
    verify_outgoing: bool = derived()
    verify_server_hostname: bool = setting("verify_server_hostname")
    version: str = setting("version")
    version_prerelease: str = setting("version_prerelease")
    watches: tuple[dict[str, Any], ...] = derived()
