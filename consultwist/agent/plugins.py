"""What plugin discovery found: the one place that asks Twisted for plugins.

Plugins are sorted by name before use. Two that claim the same name, message type or
label stop the start, as does a built-in one that did not load: Twisted only logs a
dropin that fails to import, and an agent without its key/value store must not start.
Claims on HTTP paths and RPC names are compared where they are collected, in
`http.router` and `rpc.dispatch`.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

import attrs
from twisted.plugin import getPlugins

from consultwist.errors import ConfigError
from consultwist.interfaces import (
    IAgentInterface,
    ICheckType,
    IDNSForm,
    IHTTPEndpoint,
    ILeaderRoutine,
    IRPCEndpoint,
    IStateTable,
)

#: The plugins that come with consultwist, by interface and name.
BUILT_IN: Final[dict[Any, frozenset[str]]] = {
    IAgentInterface: frozenset(("dns", "http")),
    ICheckType: frozenset(
        (
            "alias",
            "docker",
            "grpc",
            "h2ping",
            "http",
            "os_service",
            "script",
            "tcp",
            "ttl",
            "udp",
        )
    ),
    IDNSForm: frozenset(
        ("address", "connect", "ingress", "node", "query", "reverse", "service")
    ),
    IHTTPEndpoint: frozenset(
        (
            "agent",
            "catalog",
            "coordinate",
            "event",
            "health",
            "keyring",
            "kv",
            "operator",
            "session",
            "snapshot",
            "status",
            "txn",
            "ui",
        )
    ),
    ILeaderRoutine: frozenset(
        (
            "autopilot",
            "catalog-follows-members",
            "coordinate-batches",
            "leader-announcement",
            "session-expiry",
            "tombstone-collection",
        )
    ),
    IRPCEndpoint: frozenset(
        (
            "Catalog",
            "Coordinate",
            "Health",
            "KVS",
            "Operator",
            "Session",
            "Status",
            "Txn",
            "event",
            "keyring",
            "ui",
        )
    ),
    IStateTable: frozenset(
        (
            "catalog",
            "coordinate",
            "federation-state",
            "kv",
            "operator",
            "session",
            "txn",
        )
    ),
}

#: Finds the plugins that provide an interface, as Twisted's `getPlugins`.
Finder = Callable[[Any], Iterable[Any]]


@attrs.frozen(kw_only=True)
class Plugins:
    """The plugins of one process, by what they are, each sorted by name."""

    check_types: tuple[ICheckType, ...] = ()
    dns_forms: tuple[IDNSForm, ...] = ()
    http_endpoints: tuple[IHTTPEndpoint, ...] = ()
    interfaces: tuple[IAgentInterface, ...] = ()
    leader_routines: tuple[ILeaderRoutine, ...] = ()
    rpc_endpoints: tuple[IRPCEndpoint, ...] = ()
    state_tables: tuple[IStateTable, ...] = ()


def discover(
    find: Finder = getPlugins, built_in: dict[Any, frozenset[str]] = BUILT_IN
) -> Plugins:
    """Find all plugins; call it once per start.

    Raises:
        ConfigError: where two plugins claim the same thing, or a built-in is missing.
    """

    def found(interface: Any, **claims: Callable[[Any], Iterable[Hashable]]) -> Any:
        plugins = sorted(find(interface), key=_name)
        _refuse_double_claims(
            interface, plugins, "name", lambda plugin: [_name(plugin)]
        )
        for what, claim in claims.items():
            _refuse_double_claims(interface, plugins, what, claim)
        _require_built_in(interface, plugins, built_in.get(interface, frozenset()))
        return tuple(plugins)

    return Plugins(
        check_types=found(ICheckType),
        dns_forms=found(IDNSForm, label=lambda form: form.labels),
        http_endpoints=found(IHTTPEndpoint),
        interfaces=found(IAgentInterface),
        leader_routines=found(ILeaderRoutine),
        rpc_endpoints=found(IRPCEndpoint),
        state_tables=found(IStateTable, command=lambda table: table.commands()),
    )


def _name(plugin: Any) -> str:
    return str(plugin.kind if ICheckType.providedBy(plugin) else plugin.name)


def _refuse_double_claims(
    interface: Any,
    plugins: Iterable[Any],
    what: str,
    claims_of: Callable[[Any], Iterable[Hashable]],
) -> None:
    owners: dict[Hashable, Any] = {}
    for plugin in plugins:
        for claim in claims_of(plugin):
            other = owners.setdefault(claim, plugin)
            if other is not plugin:
                raise ConfigError(
                    f"two plugins of {interface.__name__} claim the {what} {claim!r}: "
                    f"{type(other).__module__} and {type(plugin).__module__}"
                )


def _require_built_in(
    interface: Any, plugins: Iterable[Any], names: frozenset[str]
) -> None:
    missing = sorted(names - {_name(plugin) for plugin in plugins})
    if missing:
        raise ConfigError(
            f"built-in plugins of {interface.__name__} did not load: "
            + ", ".join(missing)
        )
