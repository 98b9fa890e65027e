"""Prometheus gets the text that Consul prints."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from consultwist.interfaces import ITelemetrySink
from consultwist.telemetry.metrics import Metrics
from consultwist.telemetry.prometheus import (
    WINDOW_SIZE_MAX,
    PrometheusSink,
    go_float,
    render,
)

VECTOR = Path(__file__).parents[2] / "vectors" / "telemetry" / "prometheus.txt"


@pytest.fixture
def exposed(reactor, clock):
    """A registry with a Prometheus sink that forgets after a minute."""
    sink = PrometheusSink(clock, 60.0)
    verifyObject(ITelemetrySink, sink)
    return Metrics(reactor, clock, sinks=[sink])


def family(text, name):
    """Return the lines of one metric."""
    return [
        line
        for line in text.splitlines()
        if line.split("{")[0].removeprefix("# HELP ").removeprefix("# TYPE ").split()[0]
        in (name, f"{name}_sum", f"{name}_count")
    ]


def test_the_text_is_that_of_consul(exposed):
    """The same observations make the same lines."""
    captured = VECTOR.read_text()
    for _ in range(8):
        exposed.counter("client.rpc")
    exposed.sample("fsm.federation_state.dc1", 0.02518800087273121, {"op": "upsert"})
    for value in (0.18665799498558044, 0.0616, 0.0506, 0.06407500058412552, 0.0715):
        exposed.sample("fsm.register", value)
    text = render(exposed)
    for name in ("consul_client_rpc", "consul_fsm_federation_state_dc1"):
        assert family(text, name) == family(captured, name)
    ours, theirs = (family(shown, "consul_fsm_register") for shown in (text, captured))
    # All but the sum, of which not all terms were captured.
    assert ours[:5] + ours[6:] == theirs[:5] + theirs[6:]


def test_gauges_are_shown_as_they_are_at_the_moment(exposed):
    """A gauge needs no interval to be seen."""
    exposed.gauge("raft.last_index", 12345678)
    assert family(render(exposed), "consul_raft_last_index") == [
        "# HELP consul_raft_last_index consul_raft_last_index",
        "# TYPE consul_raft_last_index gauge",
        "consul_raft_last_index 1.2345678e+07",
    ]


def test_metrics_are_in_the_order_of_their_names(exposed):
    """The text is sorted, whatever the kinds."""
    exposed.gauge("b", 1)
    exposed.sample("a", 1)
    exposed.counter("c")
    lines = render(exposed).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert names == sorted(names)
    assert {"consul_a", "consul_b", "consul_c"} < set(names)


def test_the_program_itself_is_shown(exposed):
    """Memory, processor time and descriptors stand beside the agent's metrics."""
    text = render(exposed)
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert float(family(text, name)[2].split()[1]) > 0


def test_quantiles_are_of_the_last_ten_seconds(exposed, reactor):
    """Old observations leave the quantiles but not the sum."""
    exposed.sample("x", 100)
    reactor.advance(11)
    assert 'consul_x{quantile="0.5"} NaN' in render(exposed)
    exposed.sample("x", 1)
    text = render(exposed)
    assert 'consul_x{quantile="0.99"} 1' in text
    assert "consul_x_sum 101" in text
    assert "consul_x_count 2" in text


def test_a_flood_of_observations_is_bounded(exposed):
    """Of very many observations the last ones make the quantiles, all the count."""
    for number in range(WINDOW_SIZE_MAX * 3):
        exposed.sample("x", number)
    text = render(exposed)
    assert 'consul_x{quantile="0.5"} 2499' in text
    assert "consul_x_count 3000" in text


def test_what_is_not_touched_is_forgotten(exposed, reactor):
    """After the retention time a metric is gone, and begins at zero again."""
    exposed.counter("old", 5)
    exposed.sample("times", 5)
    reactor.advance(61)
    exposed.counter("new")
    text = render(exposed)
    assert family(text, "consul_old") == family(text, "consul_times") == []
    exposed.counter("old", 1)
    assert "consul_old 1" in render(exposed)


def test_labels_are_escaped(exposed):
    """Quotes, backslashes and line ends in values cannot break the text."""
    exposed.counter("x", 1, {"a-b": 'q"\\\n'})
    assert 'consul_x{a_b="q\\"\\\\\\n"} 1' in render(exposed)


def test_names_are_made_fit(exposed):
    """What Prometheus does not allow in names becomes an underscore."""
    exposed.counter("serf.events.a-b/c d=e\u00e9")
    assert "consul_serf_events_a_b_c_d_e_ 1" in render(exposed)


def test_two_kinds_under_one_name_do_not_mix(exposed):
    """Where a name is both a counter and a gauge, one type is shown."""
    exposed.counter("x")
    exposed.gauge("x", 7)
    assert family(render(exposed), "consul_x")[1:] == [
        "# TYPE consul_x counter",
        "consul_x 1",
    ]


def test_without_the_sink_there_is_nothing(metrics):
    """A registry that was not configured for Prometheus has no text."""
    metrics.counter("x")
    assert render(metrics) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (151.0, "151"),
        (405345.0, "405345"),
        (1449672.0, "1.449672e+06"),
        (57761792.0, "5.7761792e+07"),
        (1.7955178010903018e9, "1.7955178010903018e+09"),
        (1.8446744073709552e19, "1.8446744073709552e+19"),
        (0.000245326, "0.000245326"),
        (2.1913e-05, "2.1913e-05"),
        (0.6976490020751953, "0.6976490020751953"),
        (100.0, "100"),
        (1e6, "1e+06"),
        (-2.5, "-2.5"),
        (-1e-7, "-1e-07"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value, text):
    """The numbers of a captured answer, and the edges around them."""
    assert go_float(value) == text


@given(st.floats(allow_nan=False))
def test_numbers_come_back_as_they_were(value):
    """No number loses anything in the text."""
    assert float(go_float(value)) == value
