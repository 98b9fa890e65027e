"""What an agent looks at when it starts, beyond what ``validate`` does.

Consul finds these mistakes only now; the texts are those of its log.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConfigError
from consultwist.tap.definition_checks import check_definitions

_DEFAULT_POLICIES = ("allow", "deny")
_DOWN_POLICIES = ("allow", "deny", "extend-cache", "async-cache")

#: Versions of the protocols that an agent speaks.
_PROTOCOLS = (2, 3)
_RAFT_PROTOCOLS = (1, 3)

_KEY_SIZES = (16, 24, 32)
_PORT_MAX = 65535

#: Watch type to the parameter it cannot do without, and how Consul asks for it.
_WATCH_NEEDS = {
    "key": ("key", "Must specify a single key to watch"),
    "keyprefix": ("prefix", "Must specify a single prefix to watch"),
    "services": None,
    "nodes": None,
    "service": ("service", "Must specify a single service to watch"),
    "checks": None,
    "event": None,
    "connect_roots": None,
    "connect_leaf": ("service", "Must specify a single service to watch"),
    "agent_service": ("service_id", "Must specify a single service ID to watch"),
}
_HANDLERS = ("script", "http")


_OLD_HANDLER = (
    "The 'handler' field in watches has been deprecated and replaced with "
    "the 'args' field. See https://www.consul.io/docs/agent/watches.html"
)


def check_start(config: RuntimeConfig, warn: Callable[[str], None]) -> None:
    """Refuse a configuration that no agent can run with.

    Args:
        config: the configuration.
        warn: told what still works but should be changed.

    Raises:
        ConfigError: with the text of Consul's log.
    """
    mode = "server" if config.server_mode else "client"
    for problem in _mode_problems(config):
        raise ConfigError(f"Failed to start Consul {mode}: {problem}")
    for problem in (
        *_key_problems(config),
        *_recursor_problems(config),
        *_socket_problems(config),
    ):
        raise ConfigError(problem)
    check_definitions(config)
    for watch in config.watches:
        _check_watch(watch, warn)


def _mode_problems(config: RuntimeConfig) -> Iterator[str]:
    if config.acls_enabled and config.acl_default_policy not in _DEFAULT_POLICIES:
        yield f"Unsupported default ACL policy: {config.acl_default_policy}"
    if config.acls_enabled and config.acl_down_policy not in _DOWN_POLICIES:
        yield f"Unsupported down ACL policy: {config.acl_down_policy}"
    least, most = _PROTOCOLS
    if not least <= config.rpc_protocol <= most:
        word = "high" if config.rpc_protocol > most else "low"
        yield (
            f"Protocol version '{config.rpc_protocol}' too {word}. "
            f"Must be in range: [{least}, {most}]"
        )
    least, most = _RAFT_PROTOCOLS
    # Zero stands for the default.
    if config.server_mode and not 0 <= config.raft_protocol <= most:
        yield (
            f"Failed to start Raft: Protocol version {config.raft_protocol} "
            f"must be >= {least} and <= {most}"
        )


def _key_problems(config: RuntimeConfig) -> Iterator[str]:
    if not config.encrypt_key:
        return
    try:
        size = len(base64.b64decode(config.encrypt_key, validate=True))
    except binascii.Error as error:
        yield f"Failed to configure keyring: {error}"
        return
    if size not in _KEY_SIZES:
        yield (
            "Failed to configure keyring: Invalid key: "
            "key size must be 16, 24 or 32 bytes"
        )


def _recursor_problems(config: RuntimeConfig) -> Iterator[str]:
    for recursor in config.dns_recursors:
        host, colon, port = recursor.rpartition(":")
        if not colon or (":" in host and not host.endswith("]")):
            continue
        if not (port.isdigit() and int(port) <= _PORT_MAX):
            yield f"Invalid recursor address: address tcp/{port}: unknown port"


def _socket_problems(config: RuntimeConfig) -> Iterator[str]:
    listeners = (*config.http_addrs, *config.https_addrs, *config.grpc_addrs)
    if not config.unix_socket_mode or not any(a.is_unix for a in listeners):
        return
    try:
        int(config.unix_socket_mode, 8)
    except ValueError:
        # Consul shows the number that it could not read, not the text.
        yield "Failed setting up socket: invalid mode specified: 0"


def _check_watch(watch: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Refuse a watch that could not be started."""
    problem = _watch_problem(watch)
    if problem:
        raise ConfigError(f"Failed to parse watch ({_go_map(watch)}): {problem}")
    if "handler" in watch:
        warn(_OLD_HANDLER)
    handlers = [name for name in ("handler", "args") if watch.get(name)]
    kind = watch.get("handler_type", "script")
    if kind == "script" and not handlers:
        raise ConfigError("Must define a watch handler")
    if len(handlers) > 1:
        raise ConfigError("Only one watch handler allowed")


def _watch_problem(watch: dict[str, Any]) -> str:
    kind = watch.get("type")
    if not isinstance(kind, str) or not kind:
        return "Watch type must be specified"
    if watch.get("handler_type", "script") not in _HANDLERS:
        return f"Handler type '{watch['handler_type']}' not recognized"
    if kind not in _WATCH_NEEDS:
        return f"Unsupported watch type: {kind}"
    need = _WATCH_NEEDS[kind]
    if need is not None and not watch.get(need[0]):
        return need[1]
    if kind == "checks" and watch.get("service") and watch.get("state"):
        return "Cannot specify service and state"
    return ""


def _go_map(watch: dict[str, Any]) -> str:
    """Return a watch as Go's %#v shows what is left of it after parsing."""
    left = dict(watch)
    if "type" in left:
        del left["type"]
        left.pop("handler_type", None)
    else:
        left.setdefault("handler_type", "script")
    pairs = ", ".join(f'"{name}":{_go_value(left[name])}' for name in sorted(left))
    return f"map[string]interface {{}}{{{pairs}}}"


def _go_value(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        return _go_value(value[0])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        inner = ", ".join(_go_value(element) for element in value)
        return f"[]interface {{}}{{{inner}}}"
    if isinstance(value, dict):
        return _go_map({"type": "", **value})
    return f'"{value}"'
