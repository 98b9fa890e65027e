"""The flags of ``agent``, and the configuration keys that they set."""

from typing import Any

import attrs

from consultwist.config.flags import Flag, FlagKind, FlagSet, ParsedFlags

BOOL, INT, STRING = FlagKind.BOOL, FlagKind.INT, FlagKind.STRING
STRINGS, PAIRS = FlagKind.STRINGS, FlagKind.PAIRS

#: Under this name the values of -config-file and -config-dir are kept, in one order.
CONFIG_PATHS = "config paths"


@attrs.frozen
class _KeyFlag:
    """A flag that sets a configuration key."""

    name: str
    kind: FlagKind
    key: str
    usage: str
    placeholder: str = "value"


_KEY_FLAGS = tuple(
    _KeyFlag(*row)
    for row in (
        ("advertise", STRING, "advertise_addr", "Address to tell the LAN."),
        ("advertise-wan", STRING, "advertise_addr_wan", "Address to tell the WAN."),
        (
            *("allow-write-http-from", STRINGS, "http_config.allow_write_http_from"),
            "Network (CIDR) whose clients may change things; repeatable.",
        ),
        ("alt-domain", STRING, "alt_domain", "Second domain that DNS answers for."),
        ("bind", STRING, "bind_addr", "Address to bind for traffic between agents."),
        ("bootstrap", BOOL, "bootstrap", "Let this server elect itself."),
        (
            *("bootstrap-expect", INT, "bootstrap_expect"),
            "Number of servers to wait for before the first election.",
        ),
        (
            *("check_output_max_size", INT, "check_output_max_size"),
            "Bytes of a check's output to keep.",
        ),
        (
            *("client", STRING, "client_addr"),
            "Addresses for HTTP, HTTPS, DNS and gRPC, separated by spaces.",
        ),
        ("data-dir", STRING, "data_dir", "Directory for the state of the agent."),
        ("datacenter", STRING, "datacenter", "Name of the datacenter."),
        (
            *("default-query-time", STRING, "default_query_time"),
            "How long a blocking query waits that names no time.",
        ),
        (
            *("disable-host-node-id", BOOL, "disable_host_node_id"),
            "Make up a node id rather than derive it from the machine.",
        ),
        (
            *("disable-keyring-file", BOOL, "disable_keyring_file"),
            "Keep gossip keys out of the data directory.",
        ),
        ("dns-port", INT, "ports.dns", "Port of the DNS interface."),
        ("domain", STRING, "domain", "Domain that DNS answers for."),
        (
            *("enable-local-script-checks", BOOL, "enable_local_script_checks"),
            "Run script checks that come from files.",
        ),
        (
            *("enable-script-checks", BOOL, "enable_script_checks"),
            "Run script checks, also those registered over HTTP.",
        ),
        ("encrypt", STRING, "encrypt", "Gossip encryption key in base64."),
        ("grpc-port", INT, "ports.grpc", "Port of the gRPC interface."),
        ("http-port", INT, "ports.http", "Port of the HTTP interface."),
        ("https-port", INT, "ports.https", "Port of the HTTPS interface."),
        ("join", STRINGS, "start_join", "Agent to join at the start; repeatable."),
        (
            *("join-wan", STRINGS, "start_join_wan"),
            "Server to join over the WAN at the start; repeatable.",
        ),
        ("log-file", STRING, "log_file", "File or directory for the log."),
        ("log-json", BOOL, "log_json", "Write the log as JSON."),
        ("log-level", STRING, "log_level", "Least level of what is logged."),
        (
            *("log-rotate-bytes", INT, "log_rotate_bytes"),
            "Size at which a new log file begins.",
        ),
        (
            *("log-rotate-duration", STRING, "log_rotate_duration"),
            "Age at which a new log file begins.",
        ),
        (
            *("log-rotate-max-files", INT, "log_rotate_max_files"),
            "Number of old log files to keep; 0 keeps all.",
        ),
        (
            *("max-query-time", STRING, "max_query_time"),
            "The longest that a blocking query may wait.",
        ),
        ("node", STRING, "node_name", "Name of this node."),
        ("node-id", STRING, "node_id", "UUID of this node."),
        (
            *("node-meta", PAIRS, "node_meta"),
            *("Metadata of this node; repeatable.", "key:value"),
        ),
        (
            *("non-voting-server", BOOL, "non_voting_server"),
            "Enterprise: a server outside the quorum.",
        ),
        ("pid-file", STRING, "pid_file", "File for the process id."),
        (
            *("primary-gateway", STRINGS, "primary_gateways"),
            "Mesh gateway of the primary datacenter; repeatable.",
        ),
        ("protocol", INT, "protocol", "Version of the protocol to speak."),
        ("raft-protocol", INT, "raft_protocol", "Version of Raft to speak."),
        ("recursor", STRINGS, "recursors", "DNS server to ask; repeatable."),
        ("rejoin", BOOL, "rejoin_after_leave", "Join again although we had left."),
        ("retry-interval", STRING, "retry_interval", "Time between tries to join."),
        (
            *("retry-interval-wan", STRING, "retry_interval_wan"),
            "Time between tries to join over the WAN.",
        ),
        (
            *("retry-join", STRINGS, "retry_join"),
            "Agent to join, tried until it works; repeatable.",
        ),
        (
            *("retry-join-wan", STRINGS, "retry_join_wan"),
            "Server to join over the WAN, tried until it works; repeatable.",
        ),
        ("retry-max", INT, "retry_max", "Tries to join; 0 means for ever."),
        ("retry-max-wan", INT, "retry_max_wan", "Tries to join over the WAN."),
        ("segment", STRING, "segment", "The network segment to join; for clients."),
        (
            *("serf-lan-allowed-cidrs", STRINGS, "serf_lan_allowed_cidrs"),
            "Network that LAN members may come from; repeatable.",
        ),
        ("serf-lan-bind", STRING, "serf_lan", "Address to bind for LAN gossip."),
        ("serf-lan-port", INT, "ports.serf_lan", "Port of LAN gossip."),
        (
            *("serf-wan-allowed-cidrs", STRINGS, "serf_wan_allowed_cidrs"),
            "Network that WAN members may come from; repeatable.",
        ),
        ("serf-wan-bind", STRING, "serf_wan", "Address to bind for WAN gossip."),
        ("serf-wan-port", INT, "ports.serf_wan", "Port of WAN gossip."),
        ("server", BOOL, "server", "Be a server."),
        ("server-port", INT, "ports.server", "Port of RPC between servers."),
        ("syslog", BOOL, "enable_syslog", "Send the log to syslog too."),
        ("ui", BOOL, "ui", "Serve the web UI."),
        ("ui-content-path", STRING, "ui_content_path", "Path of the web UI."),
        ("ui-dir", STRING, "ui_dir", "Directory with a web UI of your own."),
    )
)

_SOURCE_FLAGS = (
    Flag(
        *("config-dir", STRINGS, "Directory with configuration files; repeatable."),
        into=CONFIG_PATHS,
    ),
    Flag(
        *("config-file", STRINGS, "Configuration file in HCL or JSON; repeatable."),
        into=CONFIG_PATHS,
    ),
    Flag(
        *("config-format", STRING, "Format of all files: hcl or json."),
        placeholder="string",
    ),
    Flag("dev", BOOL, "Development mode: a server in memory, on this machine only."),
    Flag("hcl", STRINGS, "Fragment of HCL; repeatable."),
)

AGENT_FLAGS = FlagSet(
    (
        *(Flag(f.name, f.kind, f.usage, f.placeholder) for f in _KEY_FLAGS),
        *_SOURCE_FLAGS,
    )
)

#: For the reference: key to the flags that set it.
FLAGS_BY_KEY = {flag.key: (flag.name,) for flag in _KEY_FLAGS}


def flag_values(parsed: ParsedFlags) -> dict[str, Any]:
    """Return the values of flags nested as configuration keys are."""
    values: dict[str, Any] = {}
    for flag in _KEY_FLAGS:
        if flag.name not in parsed.values:
            continue
        *sections, last = flag.key.split(".")
        section = values
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = parsed.values[flag.name]
    return values
