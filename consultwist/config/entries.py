"""Config entries in files: which kinds there are, and which names they know."""

from typing import Any

from consultwist.errors import ConfigError
from consultwist.structs.service_rules import error_list

#: What every entry has.
_EVERY_ENTRY = "kind name namespace createindex modifyindex"

#: The names at the top of an entry by its kind, in lower case without underscores.
_NAMES = {
    "service-defaults": "protocol meshgateway expose externalsni",
    "proxy-defaults": "config meshgateway expose",
    "service-router": "routes",
    "service-splitter": "splits",
    "service-resolver": "defaultsubset subsets redirect failover connecttimeout "
    "loadbalancer",
    "ingress-gateway": "tls listeners",
    "terminating-gateway": "services",
}

#: The weights of all splits of a service together.
_WEIGHT_SUM = 100


def check_entry(entry: dict[str, Any]) -> None:
    """Refuse an entry of an unknown kind or with names that its kind does not have.

    Raises:
        ConfigError: with Consul's text.
    """
    kind = entry.get("kind", entry.get("Kind"))
    if kind is None:
        raise ConfigError("Payload does not contain a kind/Kind key at the top level")
    if not isinstance(kind, str):
        raise ConfigError("Kind value in payload is not a string")
    if kind not in _NAMES:
        raise ConfigError(f"invalid config entry kind: {kind}")
    known = (_EVERY_ENTRY + " " + _NAMES[kind]).split()
    unknown = [name for name in entry if _plain(name) not in known]
    if unknown:
        raise ConfigError(
            error_list([f'invalid config key "{name}"' for name in unknown])
        )
    if kind == "service-splitter":
        _check_weights(entry)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _check_weights(entry: dict[str, Any]) -> None:
    splits = entry.get("splits", entry.get("Splits", []))
    weights = [_weight(split) for split in splits if isinstance(split, dict)]
    total = sum(weights)
    if abs(total - _WEIGHT_SUM) >= 0.01:  # two digits count
        raise ConfigError(
            f"the sum of all split weights must be {_WEIGHT_SUM}, not {total:f}"
        )


def _weight(split: dict[str, Any]) -> float:
    value = split.get("weight", split.get("Weight", 0))
    return float(value) if isinstance(value, int | float) else 0.0
