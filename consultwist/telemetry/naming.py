"""What a metric is called, and which metrics are wanted."""

from collections.abc import Iterable

import attrs


@attrs.frozen
class Naming:
    """How the name of a metric is completed.

    Attributes:
        prefix: what all names begin with, ``consul`` by default; may be empty.
        hostname: what names of gauges have behind the prefix, so that gauges of
            several hosts stay apart; empty to leave it out.
    """

    prefix: str = "consul"
    hostname: str = ""

    def counter(self, name: str) -> str:
        """Return the full name of a counter or a sample."""
        return f"{self.prefix}.{name}" if self.prefix else name

    def gauge(self, name: str) -> str:
        """Return the full name of a gauge."""
        return self.counter(f"{self.hostname}.{name}" if self.hostname else name)


class PrefixFilter:
    """Decides by the longest matching prefix whether a metric is wanted.

    A prefix that is both allowed and blocked is blocked, as in Consul.
    """

    def __init__(
        self, allowed: Iterable[str], blocked: Iterable[str], *, default: bool
    ) -> None:
        rules = dict.fromkeys(allowed, True) | dict.fromkeys(blocked, False)
        self._rules = sorted(rules.items(), key=lambda rule: -len(rule[0]))
        self._default = default

    def allows(self, name: str) -> bool:
        """Tell whether a metric of this full name is wanted."""
        for prefix, is_wanted in self._rules:
            if name.startswith(prefix):
                return is_wanted
        return self._default


def http_metric(method: str, pattern: str) -> str:
    """Return the name of the metric that times the requests of a route.

    The empty last part of a pattern that ends with a slash becomes an underscore:
    ``GET`` and ``/v1/kv/`` make ``http.GET.v1.kv._``.
    """
    parts = [part or "_" for part in pattern.split("/")[1:]]
    return ".".join(["http", method, *parts])
