"""statsd and DogStatsD get Consul's lines, few datagrams, and no more than fit."""

import json
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail
from zope.interface.verify import verifyObject

from consultwist.interfaces import ITelemetrySink
from consultwist.telemetry.statsd import (
    DATAGRAM_SIZE_MAX,
    DogStatsdSink,
    StatsdSink,
)

VECTOR = Path(__file__).parents[2] / "vectors" / "telemetry" / "statsd.json"

#: What was observed, for each captured pair of lines.
OBSERVED = [
    ("counter", "consul.serf.member.join", 1, {}),
    ("sample", "consul.serf.snapshot.appendLine", 0.011998, {}),
    ("gauge", "consul.vm.runtime.num_goroutines", 66, {}),
    ("gauge", "consul.vm.runtime.alloc_bytes", 6454128, {}),
    ("sample", "consul.fsm.federation_state.dc1", 0.025188, {"op": "upsert"}),
    ("counter", "consul.client.rpc", 1, {}),
]
PAIRS = json.loads(VECTOR.read_text())["pairs"]


def started_statsd(reactor, address="127.76.0.9:8125"):
    """Return a started statsd sink."""
    sink = StatsdSink(reactor, address)
    verifyObject(ITelemetrySink, sink)
    sink.startService()
    return sink


def started_dogstatsd(reactor, tags=("a:b", "c"), hostname="vm"):
    """Return a started DogStatsD sink."""
    sink = DogStatsdSink(reactor, "127.76.0.9:8126", tags, hostname)
    verifyObject(ITelemetrySink, sink)
    sink.startService()
    return sink


def lines_of(reactor):
    """Return all lines that have been sent."""
    return [
        line for data, _ in reactor.datagrams.sent for line in data.split(b"\n")[:-1]
    ]


@pytest.mark.parametrize(
    ("observed", "pair"),
    list(zip(OBSERVED, PAIRS, strict=True)),
    ids=[observed[1] for observed in OBSERVED],
)
def test_lines_are_those_of_consul(reactor, observed, pair):
    """The same observation makes the same line as Consul's, in both protocols."""
    kind, name, value, labels = observed
    for sink in (started_statsd(reactor), started_dogstatsd(reactor)):
        getattr(sink, kind)(name, value, labels)
    reactor.advance(1)
    assert [line.decode() for line in lines_of(reactor)] == pair


def test_lines_are_gathered_for_a_second(reactor):
    """Many observations make one datagram; none makes none."""
    sink = started_statsd(reactor)
    reactor.advance(10)
    assert reactor.datagrams.sent == []
    sink.counter("a", 1, {})
    reactor.advance(0.9)
    sink.counter("b", 1, {})
    assert reactor.datagrams.sent == []
    reactor.advance(0.1)
    assert reactor.datagrams.sent == [
        (b"a:1.000000|c\nb:1.000000|c\n", ("127.76.0.9", 8125))
    ]
    assert reactor.getDelayedCalls() == []


def test_datagrams_are_full_but_never_too_long(reactor):
    """A flood leaves in datagrams of the size limit, in order, without waiting."""
    sink = started_statsd(reactor)
    for number in range(500):
        sink.counter(f"metric{number}", 1, {})
    sizes = [len(data) for data, _ in reactor.datagrams.sent]
    assert max(sizes) <= DATAGRAM_SIZE_MAX
    assert min(sizes) > DATAGRAM_SIZE_MAX - 30
    reactor.advance(1)
    assert lines_of(reactor) == [b"metric%d:1.000000|c" % n for n in range(500)]


def test_nothing_is_kept_for_a_server_that_is_not_found(reactor):
    """Until the name is resolved lines are dropped, and memory does not grow."""
    reactor.answer = Deferred()
    sink = started_statsd(reactor, "stats.test:9125")
    sink.counter("a", 1, {})
    reactor.advance(1)
    reactor.answer.callback("10.0.0.1")
    sink.counter("b", 1, {})
    reactor.advance(1)
    assert reactor.datagrams.sent == [(b"b:1.000000|c\n", ("10.0.0.1", 9125))]


def test_an_unknown_server_does_no_harm(reactor):
    """A name that cannot be resolved costs the metrics, not the agent."""
    reactor.answer = fail(OSError("no such host"))
    sink = started_statsd(reactor, "stats.test:9125")
    sink.counter("a", 1, {})
    reactor.advance(1)
    assert reactor.datagrams.sent == []


def test_a_failing_send_loses_metrics_only(reactor):
    """An unreachable network is no fault of the agent's."""
    sink = started_statsd(reactor)
    reactor.datagrams.error = OSError(101, "Network is unreachable")
    sink.counter("a", 1, {})
    reactor.advance(1)
    reactor.datagrams.error = None
    sink.counter("b", 1, {})
    reactor.advance(1)
    assert lines_of(reactor) == [b"b:1.000000|c"]


def test_an_address_without_port_has_the_usual_one(reactor):
    """The port is 8125 where none is given."""
    sink = started_statsd(reactor, "127.76.0.9")
    sink.counter("a", 1, {})
    reactor.advance(1)
    assert reactor.datagrams.sent[0][1] == ("127.76.0.9", 8125)


def test_stopping_sends_what_is_left(reactor):
    """What was observed in the last second leaves before the socket is closed."""
    sink = started_statsd(reactor)
    sink.counter("a", 1, {})
    sink.stopService()
    assert lines_of(reactor) == [b"a:1.000000|c"]
    assert not reactor.datagrams.is_open
    assert reactor.getDelayedCalls() == []


def test_names_cannot_break_the_protocol(reactor):
    """Colons and spaces in names become underscores, as with Consul."""
    sink = started_statsd(reactor)
    sink.counter("serf.events.consul:new leader", 1, {"a": "x:y z"})
    reactor.advance(1)
    assert lines_of(reactor) == [b"serf.events.consul_new_leader.x_y_z:1.000000|c"]


def test_tags_without_a_value_stand_alone(reactor):
    """A label without a value is a tag of its name; no tags, no mark."""
    sink = started_dogstatsd(reactor, tags=())
    sink.counter("a", 1, {"k": ""})
    sink.counter("b", 1, {})
    reactor.advance(1)
    assert lines_of(reactor) == [b"a:1|c|#k", b"b:1|c"]
