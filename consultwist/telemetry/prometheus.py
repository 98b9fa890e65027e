"""Prometheus: what has been counted since the start, in its text format 0.0.4.

Metrics that were not touched for the retention time are forgotten, so that what a
former leader counted does not stay for ever.
"""

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TypeVar

import attrs
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.interfaces import ITelemetrySink
from consultwist.telemetry.metrics import Metrics
from consultwist.telemetry.runtime import resource_usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: The quantiles that Consul shows, over the observations of the last 10 s.
QUANTILES = (0.5, 0.9, 0.99)
WINDOW_S = 10.0

#: Of a sample that is observed more often than this in the window, the last count.
WINDOW_SIZE_MAX = 1000

_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_:]")

_Labels = tuple[tuple[str, str], ...]
_Key = tuple[str, _Labels]


@attrs.define
class _Number:
    """A counter or a gauge."""

    value: float = 0.0
    touched: float = 0.0


@attrs.define
class _Times:
    """A sample: how many, their sum, and the last ones with their moments."""

    count: int = 0
    sum: float = 0.0
    touched: float = 0.0
    recent: deque[tuple[float, float]] = attrs.field(
        factory=lambda: deque(maxlen=WINDOW_SIZE_MAX)
    )


T = TypeVar("T", _Number, _Times)


@implementer(ITelemetrySink)
class PrometheusSink:
    """Adds up what Prometheus will ask for."""

    def __init__(self, clock: Clock, retention_s: float) -> None:
        self._clock = clock
        self._retention_s = retention_s
        self._counters: dict[_Key, _Number] = {}
        self._gauges: dict[_Key, _Number] = {}
        self._samples: dict[_Key, _Times] = {}

    def counter(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        key = (name, tuple(labels.items()))
        found = self._counters.get(key)
        if found is None:
            found = self._counters[key] = _Number()
        found.value += value
        found.touched = self._clock.monotonic()

    def gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge."""
        key = (name, tuple(labels.items()))
        self._gauges[key] = _Number(value, self._clock.monotonic())

    def sample(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Record one observation."""
        key = (name, tuple(labels.items()))
        found = self._samples.get(key)
        if found is None:
            found = self._samples[key] = _Times()
        found.count += 1
        found.sum += value
        found.touched = self._clock.monotonic()
        found.recent.append((found.touched, value))

    def families(self) -> "_Families":
        """Return what is to be shown; forget what is too old."""
        now = self._clock.monotonic()
        families = _Families()
        for kind, known in (("counter", self._counters), ("gauge", self._gauges)):
            for name, labels, number in self._young(known, now):
                line = f"{name}{_braces(labels)} {go_float(number.value)}"
                families.add(name, kind, [line])
        for name, labels, times in self._young(self._samples, now):
            families.add(name, "summary", _show_times(name, labels, times, now))
        return families

    def _young(
        self, known: dict[_Key, T], now: float
    ) -> Iterator[tuple[str, _Labels, T]]:
        for key in [k for k, v in known.items() if v.touched < now - self._retention_s]:
            del known[key]
        for (name, labels), value in sorted(known.items(), key=lambda item: item[0]):
            yield _name(name), labels, value


class _Families:
    """Metrics by name, each with its type and its lines."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, list[str]]] = {}

    def add(self, name: str, kind: str, lines: Iterable[str]) -> None:
        """Add lines; of two types under one name the first one stays."""
        family = self._families.setdefault(name, (kind, []))
        if family[0] == kind:
            family[1].extend(lines)

    def text(self) -> str:
        """Return the text, metrics in the order of their names."""
        out: list[str] = []
        for name, (kind, lines) in sorted(self._families.items()):
            out += [f"# HELP {name} {name}", f"# TYPE {name} {kind}", *lines]
        return "".join(f"{line}\n" for line in out)


def _show_times(name: str, labels: _Labels, times: _Times, now: float) -> Iterator[str]:
    recent = sorted(v for moment, v in times.recent if moment >= now - WINDOW_S)
    for quantile in QUANTILES:
        marked = (*labels, ("quantile", str(quantile)))
        yield f"{name}{_braces(marked)} {go_float(_quantile(recent, quantile))}"
    yield f"{name}_sum{_braces(labels)} {go_float(times.sum)}"
    yield f"{name}_count{_braces(labels)} {times.count}"


def render(metrics: Metrics) -> str:
    """Return the text for Prometheus; empty where the sink is not configured."""
    metrics.publish_gauges()
    for sink in metrics.sinks:
        if isinstance(sink, PrometheusSink):
            families = sink.families()
            for name, value in resource_usage().items():
                kind = "counter" if name.endswith("_total") else "gauge"
                families.add(name, kind, [f"{name} {go_float(value)}"])
            return families.text()
    return ""


def _name(name: str) -> str:
    clean = _FORBIDDEN.sub("_", name)
    return f"_{clean}" if clean[:1].isdigit() else clean


def _braces(labels: _Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{_name(k)}="{_escape(v)}"' for k, v in labels) + "}"


def _escape(value: str) -> str:
    clean = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return clean.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _quantile(ordered: list[float], quantile: float) -> float:
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(quantile * len(ordered)) - 1, 0)]


def go_float(value: float) -> str:
    """Return a number as Go's ``FormatFloat(v, 'g', -1, 64)`` prints it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    power = len(text) - 1 + exponent
    minus = "-" if sign else ""
    if -4 <= power < 6:
        return minus + f"{Decimal(repr(abs(float(value)))).normalize():f}"
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
