"""The metrics of one interval, as ``/v1/agent/metrics`` and SIGUSR1 show them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import attrs

from consultwist.telemetry.series import Aggregate
from consultwist.wire.struct import Struct


@attrs.frozen
class Gauge:
    """The last value of a gauge."""

    name: str
    labels: Mapping[str, str]
    value: float


@attrs.frozen
class Interval:
    """Everything observed within one interval.

    Attributes:
        begin_wall: when it began, in seconds since the epoch.
        gauges: the values at its end.
        counters: the sums of increments.
        samples: the times.
    """

    begin_wall: float
    gauges: Sequence[Gauge]
    counters: Sequence[Aggregate]
    samples: Sequence[Aggregate]


class GaugeValue(Struct):
    """A gauge in the JSON answer."""

    name: str = ""
    value: float = 0.0
    labels: dict[str, str] | None = None


class SampledValue(Struct):
    """A counter or a sample in the JSON answer."""

    name: str = ""
    count: int = 0
    rate: float = 0.0
    sum: float = 0.0
    min: float = 0.0
    max: float = 0.0
    mean: float = 0.0
    stddev: float = 0.0
    labels: dict[str, str] | None = None


class MetricsSummary(Struct):
    """The answer of ``/v1/agent/metrics``; Consul never uses points."""

    timestamp: str = ""
    gauges: list[GaugeValue] | None = None
    points: list[str] | None = None
    counters: list[SampledValue] | None = None
    samples: list[SampledValue] | None = None


def summarize(interval: Interval, length_s: float) -> MetricsSummary:
    """Return an interval as JSON shows it, each list sorted by name."""
    begin = datetime.fromtimestamp(round(interval.begin_wall), UTC)
    return MetricsSummary(
        timestamp=f"{begin:%Y-%m-%d %H:%M:%S} +0000 UTC",
        gauges=[
            GaugeValue(name=g.name, value=float(g.value), labels=dict(g.labels))
            for g in sorted(interval.gauges, key=_order)
        ],
        points=[],
        counters=_sampled(interval.counters, length_s),
        samples=_sampled(interval.samples, length_s),
    )


def _sampled(aggregates: Iterable[Aggregate], length_s: float) -> list[SampledValue]:
    return [
        SampledValue(
            name=a.name,
            count=a.count,
            rate=float(a.sum / length_s),
            sum=float(a.sum),
            min=float(a.min),
            max=float(a.max),
            mean=float(a.mean),
            stddev=float(a.stddev),
            labels=dict(a.labels),
        )
        for a in sorted(aggregates, key=_order)
    ]


def _order(shown: Gauge | Aggregate) -> tuple[str, list[tuple[str, str]]]:
    return shown.name, sorted(shown.labels.items())


def dump(intervals: Iterable[Interval]) -> str:
    """Return intervals as the text that SIGUSR1 writes to the standard error."""
    lines: list[str] = []
    for interval in intervals:
        begin = datetime.fromtimestamp(round(interval.begin_wall), UTC)
        stamp = f"[{begin:%Y-%m-%d %H:%M:%S} +0000 UTC]"
        lines += [
            f"{stamp}[G] '{_flat(gauge)}': {gauge.value:.3f}"
            for gauge in sorted(interval.gauges, key=_order)
        ]
        for letter, aggregates in (("C", interval.counters), ("S", interval.samples)):
            lines += [
                f"{stamp}[{letter}] '{_flat(aggregate)}': {_words(aggregate)}"
                for aggregate in sorted(aggregates, key=_order)
            ]
    return "".join(f"{line}\n" for line in lines)


def _flat(shown: Gauge | Aggregate) -> str:
    return ".".join([shown.name, *shown.labels.values()])


def _words(a: Aggregate) -> str:
    if a.stddev == 0:
        return f"Count: {a.count} Sum: {a.sum:.3f}"
    return (
        f"Count: {a.count} Min: {a.min:.3f} Mean: {a.mean:.3f} Max: {a.max:.3f} "
        f"Stddev: {a.stddev:.3f} Sum: {a.sum:.3f}"
    )
