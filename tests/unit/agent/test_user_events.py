"""User events: who gets them, how they travel, what is remembered."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from consultwist.agent.user_events import EVENTS_MAX, UserEvents
from consultwist.errors import ConsultwistError, WireError
from consultwist.host import Host
from consultwist.structs.catalog import NodeService
from consultwist.structs.event import UserEvent, decode_event, encode_event
from consultwist.testing.clock import ReactorClock
from consultwist.testing.deferred import no_result_of, result_of
from consultwist.testing.events import OwnPool
from consultwist.wire import msgpack

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc" / "methods.json"


SERVICES = {
    "web-1": NodeService(id="web-1", service="web", tags=["v1", "blue"]),
    "db": NodeService(id="db", service="db"),
}


def _host():
    reactor = Clock()
    return Host(reactor, ReactorClock(reactor), random.Random(1))


@pytest.fixture
def pool():
    return OwnPool(_host(), SimpleNamespace(node_name="node-1"), SERVICES)


@pytest.fixture
def events(pool):
    return pool.events


def _names(events, name=""):
    return [event.name for event in events.recent(name)[1]]


def test_a_fired_event_is_remembered_with_a_lamport_time(events):
    """The answer has none yet; later events have later times."""
    fired = events.fire(UserEvent(name="deploy", payload=b"1"))
    events.fire(UserEvent(name="again"))
    assert (fired.version, fired.l_time) == (1, 0)
    first, second = events.recent()[1]
    assert (first.id, first.name, first.payload) == (fired.id, "deploy", b"1")
    assert 0 < first.l_time < second.l_time


@pytest.mark.parametrize(
    ("filters", "meant"),
    [
        ({}, True),
        ({"node_filter": "node"}, True),
        ({"node_filter": "^ode"}, False),
        ({"service_filter": "^web"}, True),
        ({"service_filter": "cache"}, False),
        ({"service_filter": "web", "tag_filter": "blu"}, True),
        ({"service_filter": "db", "tag_filter": "blue"}, False),
        ({"node_filter": "node", "service_filter": "none"}, False),
    ],
)
def test_filters_are_applied_where_the_event_arrives(events, filters, meant):
    """Node name, service id, tags of that service: unanchored expressions."""
    events.fire(UserEvent(name="e", **filters))
    assert _names(events) == (["e"] if meant else [])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": ""}, "User event missing name"),
        ({"tag_filter": "x"}, "Cannot provide tag filter without service filter"),
        ({"node_filter": "("}, "Invalid node filter: error parsing regexp"),
        ({"service_filter": "*"}, "Invalid service filter: error parsing regexp"),
        (
            {"service_filter": "x", "tag_filter": "["},
            "Invalid tag filter: error parsing regexp",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_it_is_sent(events, fields, text):
    """Nobody else has to look at it."""
    with pytest.raises(ConsultwistError, match=f"^{text}"):
        events.fire(UserEvent(**{"name": "e", **fields}))
    assert _names(events) == []


def test_an_event_goes_out_and_comes_back(pool):
    """Every member gets the same payload, this agent too."""
    fired = pool.events.fire(UserEvent(name="deploy", payload=b"1"))
    ((name, payload),) = pool.sent
    assert name == "deploy"
    assert decode_event(payload, 0) == fired


def test_a_broadcast_may_take_its_time():
    """The event is given back when it is on its way; it comes back by gossip."""
    on_its_way: Deferred[None] = Deferred()
    config: Any = SimpleNamespace(node_name="n")
    services: Any = SimpleNamespace(services=dict)
    events = UserEvents(_host(), config, services, lambda *_: on_its_way)
    fired = events.fire(UserEvent(name="deploy"))
    assert isinstance(fired, Deferred)
    no_result_of(fired)
    assert _names(events) == []
    on_its_way.callback(None)
    events.receive(encode_event(result_of(fired)), 17)
    (event,) = events.recent()[1]
    assert (event.name, event.l_time) == ("deploy", 17)


def test_a_broadcast_that_fails_fails_the_event(events):
    """As it does where the event is too large for gossip."""
    with pytest.raises(ConsultwistError, match="limit of 512 bytes before encoding"):
        events.fire(UserEvent(name="e", payload=b"x" * 500))
    assert _names(events) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgpack.pack([1]),
        msgpack.pack({"ID": 5, "n": "x"}),
        msgpack.pack({"n": "x", "v": "one"}),
        msgpack.pack({"ID": "x", "n": "new", "v": 2}),
        msgpack.pack({"ID": "x", "n": "_rexec", "v": 1}),
        msgpack.pack({"ID": "x", "n": "bad", "nf": "(", "v": 1}),
    ],
)
def test_what_cannot_be_taken_is_dropped(events, payload):
    """Malformed, of a newer version, remote execution, a broken filter."""
    events.receive(payload, 5)
    assert _names(events) == []


def test_the_newest_events_are_remembered(events):
    """As many as Consul remembers, oldest first."""
    for number in range(EVENTS_MAX + 10):
        events.fire(UserEvent(name=f"e{number}"))
    names = _names(events)
    assert len(names) == EVENTS_MAX
    assert (names[0], names[-1]) == ("e10", f"e{EVENTS_MAX + 9}")
    assert _names(events, "e77") == ["e77"]


def test_the_index_is_that_of_the_last_event(events):
    """Computed as Consul does: both halves of the id, exclusively or'ed."""
    assert events.recent() == (1, [])
    captured = "f0632708-dd63-8c55-de8c-c8b5c58e0a7b"
    payload = encode_event(UserEvent(id=captured, name="e", version=1))
    events.receive(payload, 1)
    assert events.recent()[0] == 3382185440624608814
    assert events.recent("other")[0] == 1
    events.receive(encode_event(UserEvent(id="odd", name="e", version=1)), 2)
    assert events.recent()[0] == 1


def test_those_who_wait_are_told_of_the_next_event(events):
    """Once, and only if they still wait."""
    waiting, gone = events.wait(), events.wait()
    gone.addErrback(lambda _: None)
    gone.cancel()
    no_result_of(waiting)
    events.fire(UserEvent(name="e"))
    assert waiting.called
    assert not events._waiters


def test_the_payload_is_that_of_a_real_agent():
    """A captured event decodes, and encodes to the same bytes."""
    vectors = json.loads(VECTORS.read_text())
    (vector,) = [v for v in vectors if v["method"] == "Internal.EventFire"]
    payload = bytes.fromhex(vector["request"]["Payload"]["$hex"])
    event = decode_event(payload, 3)
    assert (event.name, event.payload, event.version, event.l_time) == ("x", b"p", 1, 3)
    assert encode_event(event) == payload


def test_all_fields_travel():
    """Those that are empty are left out."""
    event = UserEvent(
        id="i",
        name="n",
        payload=b"\xff",
        node_filter="a",
        service_filter="b",
        tag_filter="c",
        version=1,
        l_time=9,
    )
    assert decode_event(encode_event(event), 9) == event
    bare = UserEvent(id="i", name="n", version=1)
    assert decode_event(encode_event(bare), 0) == bare
    assert b"nf" not in encode_event(bare)
    with pytest.raises(WireError):
        decode_event(b"\x90", 0)
