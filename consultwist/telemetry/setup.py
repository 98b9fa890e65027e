"""From the ``telemetry`` block of the configuration to a registry with its sinks."""

from typing import Any

from consultwist.clock import Clock
from consultwist.config.runtime import TelemetryConfig
from consultwist.telemetry.metrics import Metrics
from consultwist.telemetry.naming import Naming, PrefixFilter
from consultwist.telemetry.prometheus import PrometheusSink
from consultwist.telemetry.statsd import DogStatsdSink, StatsdSink


def make_filter(config: TelemetryConfig) -> PrefixFilter:
    """Return which metrics are wanted; also for `Metrics.reload`."""
    return PrefixFilter(
        config.allowed_prefixes,
        config.blocked_prefixes,
        default=config.filter_default,
    )


def make_metrics(
    reactor: Any, clock: Clock, config: TelemetryConfig, hostname: str
) -> Metrics:
    """Return the registry that a configuration asks for.

    Args:
        reactor: provides IReactorTime, and IReactorUDP where statsd is configured.
        clock: the time.
        config: the ``telemetry`` block.
        hostname: the name of this machine. As in Consul names of gauges bear it only
            where metrics leave the agent, and not with ``disable_hostname``.
    """
    sinks: list[Any] = []
    if config.statsd_addr:
        sinks.append(StatsdSink(reactor, config.statsd_addr))
    if config.dogstatsd_addr:
        sink = DogStatsdSink(
            reactor, config.dogstatsd_addr, config.dogstatsd_tags, hostname
        )
        sinks.append(sink)
    if config.prometheus_retention_time > 0:
        sinks.append(PrometheusSink(clock, config.prometheus_retention_time))
    shown = hostname if sinks and not config.disable_hostname else ""
    return Metrics(
        reactor,
        clock,
        naming=Naming(config.metrics_prefix, shown),
        wanted=make_filter(config),
        sinks=sinks,
    )
