"""What a reload changes, and what waits for the next start."""

from typing import Any

import attrs

from consultwist.config.merge import AGENT_AND_DEFINITION_KEYS
from consultwist.config.runtime import KEY, RuntimeConfig

#: Attributes that reload although no reloadable key stands behind them alone.
_DERIVED = frozenset(
    {
        "acl_agent_master_token",
        "acl_agent_token",
        "acl_master_token",
        "acl_replication_token",
        "acl_token",
        "checks",
        "config_entry_bootstrap",
        "dns_recursors",
        "dns_soa",
        "services",
        "tls_cipher_suites",
        "verify_outgoing",
        "watches",
    }
)

_RELOADABLE_KEYS = frozenset(
    key.path for key in AGENT_AND_DEFINITION_KEYS if key.reloadable
)

#: Groups of settings of which some reload and some do not.
_GROUPS = ("cache", "logging", "telemetry")
_GROUP_DERIVED = frozenset({"allowed_prefixes", "blocked_prefixes"})


@attrs.frozen
class Reload:
    """The outcome of reading the configuration again.

    Attributes:
        config: the configuration to have in force: the old one with what may change.
        changed: the attributes that changed and apply now.
        ignored: what changed too and needs a restart, by configuration key
            where the attribute holds one.
    """

    config: RuntimeConfig
    changed: tuple[str, ...]
    ignored: tuple[str, ...]


def compare(old: RuntimeConfig, new: RuntimeConfig) -> Reload:
    """Return which of the new settings apply without a restart.

    The node id is the agent's own choice where the configuration names none; such a
    difference is none.
    """
    changes: dict[str, Any] = {}
    ignored: list[str] = []
    for field in attrs.fields(RuntimeConfig):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before == after or (field.name == "node_id" and not after):
            continue
        if field.name in _GROUPS:
            after = _merge_group(before, after, ignored)
            if after == before:
                continue
        elif not _is_reloadable(field, _DERIVED):
            ignored.append(_shown(field))
            continue
        changes[field.name] = after
    return Reload(attrs.evolve(old, **changes), tuple(changes), tuple(ignored))


def _merge_group(before: Any, after: Any, ignored: list[str]) -> Any:
    """Return a group of settings with those taken over that may change."""
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(before)):
        value = getattr(after, field.name)
        if value == getattr(before, field.name):
            continue
        if _is_reloadable(field, _GROUP_DERIVED):
            changes[field.name] = value
        else:
            ignored.append(_shown(field))
    return attrs.evolve(before, **changes)


def _is_reloadable(field: "attrs.Attribute[Any]", derived: frozenset[str]) -> bool:
    return field.name in derived or field.metadata.get(KEY) in _RELOADABLE_KEYS


def _shown(field: "attrs.Attribute[Any]") -> str:
    return field.metadata.get(KEY) or field.name
