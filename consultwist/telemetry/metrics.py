"""Metrics: the registry of everything that the agent counts, gauges and times.

Names are given without the prefix: ``metrics.counter("rpc.request")`` counts
``consul.rpc.request``. Observations are added up over intervals of ten seconds that
begin at multiples of ten seconds, and the last minute of them is kept; besides, each
goes to the sinks that are configured, such as statsd.

Gauges differ from Consul's in one respect: there every value is sent when it is set,
here the last one at the end of each interval, so that nothing need be set again and
again only to be seen.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.interfaces import ITelemetrySink
from consultwist.telemetry.naming import Naming, PrefixFilter
from consultwist.telemetry.series import NO_LABELS, Aggregate, Series
from consultwist.telemetry.summary import (
    Gauge,
    Interval,
    MetricsSummary,
    dump,
    summarize,
)

log = Logger()

#: Consul aggregates over 10 s and keeps 1 min.
INTERVAL_S = 10.0
INTERVALS_KEPT = 6

#: More series than this are not told apart: labels that take any value would
#: otherwise fill the memory.
SERIES_MAX = 10_000

#: How a series is found: its name, or that with the labels as they were given.
_Key = str | tuple[str, tuple[tuple[str, str], ...]]


@implementer(ITelemetrySink)
class Metrics(Service):
    """The registry of an agent.

    As a service it closes the intervals; before it is started, and in tests that do
    not start it, everything falls into the first interval.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        clock: Clock,
        *,
        naming: Naming | None = None,
        wanted: PrefixFilter | None = None,
        sinks: Sequence[Any] = (),
    ) -> None:
        """Begin to count.

        Args:
            reactor: runs the timer that closes intervals.
            clock: tells when they begin.
            naming: completes the names.
            wanted: leaves metrics out by their names.
            sinks: providers of `ITelemetrySink`; those that are services, too, are
                started and stopped with this one.
        """
        self._reactor = reactor
        self._clock = clock
        self._naming = naming or Naming()
        self._wanted = wanted or PrefixFilter((), (), default=True)
        self.sinks = tuple(sinks)
        self._counters: dict[_Key, Series] = {}
        self._samples: dict[_Key, Series] = {}
        self._gauges: dict[_Key, Gauge] = {}
        self._collectors: list[Callable[[], None]] = []
        self._finished: deque[Interval] = deque(maxlen=INTERVALS_KEPT)
        self._begin_wall = _interval_begin(clock.wall())
        self._timer: IDelayedCall | None = None

    # --- what is observed ------------------------------------------------------------

    def counter(
        self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None
    ) -> None:
        """Add to a counter."""
        series = self._counters.get((name, tuple(labels.items())) if labels else name)
        if series is None:
            series = self.counter_series(name, labels)
        series.add(value)

    def sample(
        self, name: str, value: float, labels: Mapping[str, str] | None = None
    ) -> None:
        """Record one observation, in milliseconds where it is a time."""
        series = self._samples.get((name, tuple(labels.items())) if labels else name)
        if series is None:
            series = self.sample_series(name, labels)
        series.add(value)

    def gauge(
        self, name: str, value: float, labels: Mapping[str, str] | None = None
    ) -> None:
        """Set a gauge."""
        key = (name, tuple(labels.items())) if labels else name
        if key not in self._gauges and len(self._gauges) >= SERIES_MAX:
            return
        full = self._naming.gauge(name)
        self._gauges[key] = Gauge(full, labels or NO_LABELS, float(value))

    def counter_series(
        self, name: str, labels: Mapping[str, str] | None = None
    ) -> Series:
        """Return a counter to keep and `add` to."""
        return self._series(self._counters, name, labels, "counter")

    def sample_series(
        self, name: str, labels: Mapping[str, str] | None = None
    ) -> Series:
        """Return a sample to keep and `add` to."""
        return self._series(self._samples, name, labels, "sample")

    def _series(
        self,
        known: dict[_Key, Series],
        name: str,
        labels: Mapping[str, str] | None,
        method: str,
    ) -> Series:
        key: _Key = (name, tuple(labels.items())) if labels else name
        found = known.get(key)
        if found is not None:
            return found
        in_order = dict(sorted(labels.items())) if labels else NO_LABELS
        full = self._naming.counter(name)
        if len(known) >= SERIES_MAX:
            return Series(full, in_order)
        # The same labels in another order are the same series under another key.
        same: _Key = (name, tuple(in_order.items())) if labels else name
        series = known.get(same) or Series(full, in_order)
        if self._wanted.allows(full):
            series.sends = tuple(getattr(sink, method) for sink in self.sinks)
        known[key] = known[same] = series
        return series

    # --- what is shown ---------------------------------------------------------------

    def add_collector(self, collect: Callable[[], None]) -> None:
        """Call a function that sets gauges before gauges are shown."""
        self._collectors.append(collect)

    def summary(self) -> MetricsSummary:
        """Return the last whole interval, or the first one while it lasts."""
        interval = self._finished[-1] if self._finished else self._current()
        return summarize(interval, INTERVAL_S)

    def dump(self) -> str:
        """Return the whole intervals of the last minute as text."""
        return dump(self._finished)

    def publish_gauges(self) -> None:
        """Send all gauges to the sinks."""
        for collect in self._collectors:
            collect()
        for gauge in self._wanted_gauges():
            for sink in self.sinks:
                sink.gauge(gauge.name, gauge.value, gauge.labels)

    def _wanted_gauges(self) -> list[Gauge]:
        allows = self._wanted.allows
        return [gauge for gauge in self._gauges.values() if allows(gauge.name)]

    def _current(self) -> Interval:
        for collect in self._collectors:
            collect()
        return self._interval(Series.look)

    def _interval(self, read: Callable[[Series], Aggregate | None]) -> Interval:
        return Interval(
            self._begin_wall,
            self._wanted_gauges(),
            self._observed(self._counters.values(), read),
            self._observed(self._samples.values(), read),
        )

    def _observed(
        self, known: Iterable[Series], read: Callable[[Series], Aggregate | None]
    ) -> list[Aggregate]:
        distinct = {id(series): series for series in known}.values()
        aggregates = [aggregate for s in distinct if (aggregate := read(s)) is not None]
        return [a for a in aggregates if self._wanted.allows(a.name)]

    # --- life ------------------------------------------------------------------------

    def reload(self, wanted: PrefixFilter) -> None:
        """Use another filter from now on."""
        self._wanted = wanted
        for known, method in ((self._counters, "counter"), (self._samples, "sample")):
            for series in known.values():
                sends = tuple(getattr(sink, method) for sink in self.sinks)
                series.sends = sends if wanted.allows(series.name) else ()

    def startService(self) -> None:
        """Begin to close intervals."""
        super().startService()
        for sink in self.sinks:
            if isinstance(sink, Service):
                sink.startService()
        self._arm()

    def stopService(self) -> None:
        """Close no more intervals, and send what the sinks still hold."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sink in self.sinks:
            if isinstance(sink, Service):
                sink.stopService()

    def _arm(self) -> None:
        now = self._clock.wall()
        self._timer = self._reactor.callLater(
            _interval_begin(now) + INTERVAL_S - now, self._close_interval
        )

    def _close_interval(self) -> None:
        self.publish_gauges()
        self._finished.append(self._interval(Series.take))
        self._begin_wall = _interval_begin(self._clock.wall())
        self._arm()


def _interval_begin(wall: float) -> float:
    return wall - wall % INTERVAL_S
