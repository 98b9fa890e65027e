"""The telemetry block of the configuration decides about names, filters and sinks."""

from typing import Any

import attrs
import pytest

from consultwist.config.runtime import TelemetryConfig
from consultwist.telemetry.prometheus import PrometheusSink
from consultwist.telemetry.setup import make_filter, make_metrics
from consultwist.telemetry.statsd import DogStatsdSink, StatsdSink


def make_config(**changes):
    """Return Consul's defaults with changes."""
    zeroes: dict[str, Any] = {
        field.name: "" for field in attrs.fields(TelemetryConfig) if field.type is str
    }
    values = zeroes | {
        "allowed_prefixes": (),
        "blocked_prefixes": (),
        "disable_hostname": False,
        "dogstatsd_tags": (),
        "filter_default": True,
        "metrics_prefix": "consul",
        "prometheus_retention_time": 0.0,
    }
    return TelemetryConfig(**(values | changes))


def gauge_name(metrics):
    """Return what a gauge is called."""
    metrics.gauge("g", 1)
    return metrics.summary().gauges[0].name


def test_by_default_nothing_leaves_the_agent(reactor, clock):
    """Without sinks names of gauges do not bear the host, as with Consul."""
    metrics = make_metrics(reactor, clock, make_config(), "vm")
    assert metrics.sinks == ()
    assert gauge_name(metrics) == "consul.g"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"statsd_addr": "127.76.0.9:1"}, StatsdSink),
        ({"dogstatsd_addr": "127.76.0.9:1"}, DogStatsdSink),
        ({"prometheus_retention_time": 60.0}, PrometheusSink),
    ],
)
def test_each_sink_has_its_key(reactor, clock, changes, kind):
    """A configured sink gets the metrics, and gauges the name of the host."""
    metrics = make_metrics(reactor, clock, make_config(**changes), "vm")
    assert [type(sink) for sink in metrics.sinks] == [kind]
    assert gauge_name(metrics) == "consul.vm.g"


def test_the_hostname_can_be_left_out(reactor, clock):
    """disable_hostname and metrics_prefix change the names."""
    config = make_config(
        prometheus_retention_time=1.0, disable_hostname=True, metrics_prefix="acme"
    )
    assert gauge_name(make_metrics(reactor, clock, config, "vm")) == "acme.g"


def test_the_filter_follows_the_configuration():
    """Allowed and blocked prefixes and the default come from the block."""
    config = make_config(
        allowed_prefixes=("consul.raft.apply",),
        blocked_prefixes=("consul.raft",),
        filter_default=False,
    )
    rules = make_filter(config)
    found = [rules.allows(f"consul.{name}") for name in ("raft.apply", "raft.x", "y")]
    assert found == [True, False, False]
