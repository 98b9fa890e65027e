"""Metrics add up over intervals, under Consul's names, and reach the sinks."""

import json
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.application.service import Service
from twisted.internet.task import Clock as TwistedClock
from zope.interface.verify import verifyObject

from consultwist.interfaces import ITelemetrySink
from consultwist.telemetry.metrics import SERIES_MAX, Metrics
from consultwist.telemetry.naming import Naming, PrefixFilter, http_metric
from consultwist.telemetry.series import Aggregate, Series
from consultwist.telemetry.summary import Gauge, Interval, summarize
from consultwist.testing.clock import ReactorClock
from consultwist.wire import json as wire_json

VECTOR = Path(__file__).parents[2] / "vectors" / "telemetry" / "summary.json"


def captured():
    """Return a captured answer of Consul's."""
    return json.loads(VECTOR.read_text())["body"]


def shown(metrics):
    """Return the summary as a client decodes it."""
    return json.loads(wire_json.encode(metrics.summary()))


def test_the_answer_has_the_form_of_consuls():
    """The same observations make the same JSON, to order and form of numbers."""
    body = captured()
    interval = Interval(
        1795517460.2,
        [Gauge(g["Name"], g["Labels"], float(g["Value"])) for g in body["Gauges"]],
        [_aggregate(counter) for counter in body["Counters"]],
        [_aggregate(sample) for sample in reversed(body["Samples"])],
    )
    found = json.loads(wire_json.encode(summarize(interval, 10.0)))
    assert list(found) == list(body)
    assert found["Timestamp"] == body["Timestamp"]
    assert found["Gauges"] == body["Gauges"]
    assert found["Points"] == []
    for kind in ("Counters", "Samples"):
        assert [list(s) for s in found[kind]] == [list(s) for s in body[kind]]
        for ours, theirs in zip(found[kind], body[kind], strict=True):
            for key in ("Name", "Labels", "Count"):
                assert ours.pop(key) == theirs.pop(key)
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_whole_numbers_have_no_fraction(metrics):
    """A count of one is written 1, as Go writes it, not 1.0."""
    metrics.counter("rpc.request")
    assert b'"Sum":1,' in wire_json.encode(metrics.summary())


def _aggregate(sampled):
    count, total, spread = sampled["Count"], sampled["Sum"], sampled["Stddev"]
    sum_sq = (spread**2 * count * (count - 1) + total**2) / count
    return Aggregate(
        sampled["Name"],
        sampled["Labels"],
        count,
        float(total),
        sum_sq,
        float(sampled["Min"]),
        float(sampled["Max"]),
    )


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_an_aggregate_agrees_with_statistics(values):
    """Count, sum, bounds, mean and deviation are those of the observations."""
    series = Series("x")
    for value in values:
        series.add(value)
    found = series.take()
    assert found is not None
    assert (found.count, found.min, found.max) == (
        len(values),
        min(values),
        max(values),
    )
    assert found.sum == pytest.approx(math.fsum(values), abs=1e-6)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    expected = statistics.stdev(values) if len(values) > 1 else 0.0
    assert found.stddev == pytest.approx(expected, rel=1e-4, abs=1.0)
    assert series.take() is None


def test_the_first_interval_is_shown_while_it_lasts(metrics):
    """Before ten seconds have passed there is something to see, too."""
    metrics.startService()
    metrics.counter("rpc.request")
    assert [c["Name"] for c in shown(metrics)["Counters"]] == ["consul.rpc.request"]
    metrics.counter("rpc.request")
    assert shown(metrics)["Counters"][0]["Count"] == 2


def test_intervals_begin_at_multiples_of_ten_seconds(metrics, reactor):
    """After that the last whole interval is shown, and only what fell into it."""
    metrics.startService()
    metrics.counter("a")
    reactor.advance(7)
    metrics.counter("b")
    found = shown(metrics)
    assert found["Timestamp"] == "2023-11-14 22:13:20 +0000 UTC"
    assert [c["Name"] for c in found["Counters"]] == ["consul.a"]
    reactor.advance(10)
    found = shown(metrics)
    assert found["Timestamp"] == "2023-11-14 22:13:30 +0000 UTC"
    assert [c["Name"] for c in found["Counters"]] == ["consul.b"]
    reactor.advance(10)
    assert shown(metrics)["Counters"] == []


def test_gauges_keep_their_last_value(metrics, reactor):
    """A gauge is shown until it is set again, as whole intervals go by."""
    metrics.startService()
    metrics.gauge("raft.last_index", 3)
    metrics.gauge("raft.last_index", 7)
    reactor.advance(30)
    assert shown(metrics)["Gauges"] == [
        {"Name": "consul.raft.last_index", "Value": 7, "Labels": {}}
    ]


def test_collectors_set_gauges_when_they_are_shown(metrics, reactor):
    """What is dear to find out is found out only when somebody looks."""
    calls = []

    def collect():
        calls.append(1)
        metrics.gauge("runtime.sys_bytes", len(calls))

    metrics.add_collector(collect)
    metrics.startService()
    assert calls == []
    assert shown(metrics)["Gauges"][0]["Value"] == 1
    reactor.advance(7)
    assert len(calls) == 2


def test_labels_make_series_of_their_own(metrics):
    """The same name with other labels is apart; their order does not matter."""
    metrics.counter("x")
    metrics.counter("x", 2, {"op": "set", "dc": "dc1"})
    metrics.counter("x", 3, {"dc": "dc1", "op": "set"})
    found = [(c["Labels"], c["Sum"]) for c in shown(metrics)["Counters"]]
    assert found == [({}, 1), ({"dc": "dc1", "op": "set"}, 5)]


def test_a_kept_series_counts_as_its_name(metrics):
    """Hot paths keep the series; it adds up with what is counted by name."""
    series = metrics.counter_series("rpc.query", {"op": "x"})
    series.add()
    metrics.counter("rpc.query", 1, {"op": "x"})
    assert shown(metrics)["Counters"][0]["Count"] == 2
    times = metrics.sample_series("raft.apply")
    times.add(1.5)
    metrics.sample("raft.apply", 2.5)
    assert shown(metrics)["Samples"][0]["Mean"] == 2


def test_the_number_of_series_is_bounded(reactor, clock):
    """Labels that take any value cannot fill the memory."""
    metrics = Metrics(reactor, clock)
    for number in range(SERIES_MAX + 10):
        metrics.counter(f"c{number}")
        metrics.gauge(f"g{number}", 1)
    found = metrics.summary()
    assert len(found.counters or []) == SERIES_MAX
    assert len(found.gauges or []) == SERIES_MAX


def test_observations_reach_the_sinks(reactor, clock, sink):
    """Counters and samples at once, gauges at the end of the interval."""
    verifyObject(ITelemetrySink, sink)
    naming = Naming("consul", "vm")
    metrics = Metrics(reactor, clock, naming=naming, sinks=[sink])
    verifyObject(ITelemetrySink, metrics)
    metrics.startService()
    metrics.counter("a", 2, {"k": "v"})
    metrics.sample("b", 1.5)
    metrics.gauge("c", 4)
    assert sink.seen == [
        ("counter", "consul.a", 2, {"k": "v"}),
        ("sample", "consul.b", 1.5, {}),
    ]
    reactor.advance(7)
    assert sink.seen[2:] == [("gauge", "consul.vm.c", 4, {})]


def test_unwanted_metrics_are_neither_sent_nor_shown(reactor, clock, sink):
    """Filtered metrics are left out everywhere; a reload changes that."""
    block = PrefixFilter((), ("consul.raft",), default=True)
    metrics = Metrics(reactor, clock, wanted=block, sinks=[sink])
    for name in ("raft.apply", "rpc.request"):
        metrics.counter(name)
        metrics.sample(name, 1)
        metrics.gauge(name, 1)
    metrics.publish_gauges()
    found = shown(metrics)
    for kind in ("Counters", "Samples", "Gauges"):
        assert [m["Name"] for m in found[kind]] == ["consul.rpc.request"]
    assert {name for _, name, _, _ in sink.seen} == {"consul.rpc.request"}
    sink.seen.clear()
    metrics.reload(PrefixFilter(("consul.raft",), (), default=False))
    metrics.counter("raft.apply")
    metrics.counter("rpc.request")
    assert [name for _, name, _, _ in sink.seen] == ["consul.raft.apply"]


def test_sinks_that_are_services_live_with_the_registry(reactor, clock):
    """What opens sockets is started and stopped with the registry."""
    service = Service()
    metrics = Metrics(reactor, clock, sinks=[service])
    metrics.startService()
    assert service.running
    metrics.stopService()
    assert not service.running
    assert reactor.getDelayedCalls() == []


def test_a_dump_shows_the_whole_intervals_of_the_last_minute(metrics, reactor):
    """The text for SIGUSR1 has a line for each metric of each whole interval."""
    metrics.startService()
    assert metrics.dump() == ""
    for _ in range(8):
        metrics.counter("a", 1, {"op": "set"})
        metrics.sample("b", 1)
        metrics.sample("b", 3)
        metrics.gauge("c", 2)
        reactor.advance(10)
    lines = metrics.dump().splitlines()
    assert len(lines) == 18
    stamp = "[2023-11-14 22:13:40 +0000 UTC]"
    words = "Count: 2 Min: 1.000 Mean: 2.000 Max: 3.000 Stddev: 1.414 Sum: 4.000"
    assert lines[:3] == [
        f"{stamp}[G] 'consul.c': 2.000",
        f"{stamp}[C] 'consul.a.set': Count: 1 Sum: 1.000",
        f"{stamp}[S] 'consul.b': {words}",
    ]


@pytest.mark.parametrize(
    ("method", "pattern", "name"),
    [
        ("GET", "/v1/kv/", "http.GET.v1.kv._"),
        ("PUT", "/v1/agent/check/pass/", "http.PUT.v1.agent.check.pass._"),
        ("GET", "/v1/status/leader", "http.GET.v1.status.leader"),
    ],
)
def test_names_of_routes(method, pattern, name):
    """A route has the name that Consul gives it."""
    assert http_metric(method, pattern) == name


@pytest.mark.parametrize(
    ("naming", "counter", "gauge"),
    [
        (Naming(), "consul.a.b", "consul.a.b"),
        (Naming("consul", "vm"), "consul.a.b", "consul.vm.a.b"),
        (Naming("", ""), "a.b", "a.b"),
        (Naming("", "vm"), "a.b", "vm.a.b"),
    ],
)
def test_names_get_the_prefix_and_gauges_the_host(naming, counter, gauge):
    """Only names of gauges bear the name of the host."""
    assert (naming.counter("a.b"), naming.gauge("a.b")) == (counter, gauge)


@pytest.mark.parametrize(
    ("name", "is_wanted"),
    [
        ("consul.raft.apply", True),
        ("consul.raft.commitTime", False),
        ("consul.memberlist.gossip", False),
        ("consul.rpc.request", True),
        # A gauge with a host name has another prefix: so it is with Consul.
        ("consul.vm.raft.last_index", True),
    ],
)
def test_the_longest_prefix_decides(name, is_wanted):
    """As tried on a stock agent with the same rules."""
    rules = PrefixFilter(
        ["consul.raft.apply"], ["consul.raft.", "consul.memberlist"], default=True
    )
    assert rules.allows(name) is is_wanted


def test_a_prefix_both_allowed_and_blocked_is_blocked():
    """Contradicting rules block."""
    assert not PrefixFilter(["a"], ["a"], default=True).allows("a.b")


def test_what_no_rule_names_has_the_default():
    """filter_default decides about the rest."""
    assert not PrefixFilter(["a"], [], default=False).allows("b")


def test_counting_before_the_start_is_kept():
    """What is counted while the agent starts is not lost."""
    reactor = TwistedClock()

    metrics = Metrics(reactor, ReactorClock(reactor, 100.0))
    metrics.counter("early")
    reactor.advance(3)
    metrics.startService()
    reactor.advance(7)
    assert metrics.summary().timestamp == "1970-01-01 00:01:40 +0000 UTC"
    assert [c.name for c in metrics.summary().counters or []] == ["consul.early"]
