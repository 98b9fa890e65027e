"""The paths of user events, where the recorded calls do not reach."""

import random

import pytest

from consultwist.api.event.http import EventRoutes
from consultwist.host import Host
from consultwist.testing.events import OwnPool
from consultwist.testing.local_api import LocalAPI


@pytest.fixture
def api():
    made = LocalAPI([], [], [EventRoutes()])
    host = Host(made.server.reactor, made.server.clock, random.Random(1))
    made.agent.events = OwnPool(host, made.agent.config).events
    return made


def _index(api, name=""):
    target = f"/v1/event/list?name={name}" if name else "/v1/event/list"
    return api.client.get(target).headers["X-Consul-Index"]


def test_a_reader_wakes_at_the_next_event(api):
    """The index is a hash, so it waits for another one, not for a higher one."""
    api.client.put("/v1/event/fire/a")
    waiting = api.another_client()
    waiting.ask("GET", f"/v1/event/list?index={_index(api)}")
    api.pass_time(10)
    assert not waiting.transport.written
    api.client.put("/v1/event/fire/b", b"payload")
    answer = waiting.answer()
    assert [event["Name"] for event in answer.json] == ["a", "b"]
    assert answer.headers["X-Consul-Index"] == _index(api)


def test_a_reader_of_one_name_sleeps_through_others(api):
    """It is woken, sees that its last event is the same, and waits on."""
    api.client.put("/v1/event/fire/a")
    waiting = api.another_client()
    waiting.ask("GET", f"/v1/event/list?name=a&wait=60s&index={_index(api, 'a')}")
    api.client.put("/v1/event/fire/b")
    api.pass_time(30)
    api.client.put("/v1/event/fire/b")
    assert not waiting.transport.written
    api.pass_time(31)
    assert [event["Name"] for event in waiting.answer().json] == ["a"]


def test_a_reader_of_nothing_waits_for_the_first_event(api):
    """No events have the index 1."""
    assert _index(api) == "1"
    waiting = api.another_client()
    waiting.ask("GET", "/v1/event/list?index=1")
    api.client.put("/v1/event/fire/a")
    assert len(waiting.answer().json) == 1


def test_nobody_waits_longer_than_ten_minutes(api):
    """However long it wants to."""
    waiting = api.another_client()
    waiting.ask("GET", "/v1/event/list?index=1&wait=10h")
    api.pass_time(599)
    assert not waiting.transport.written
    api.pass_time(2)
    assert waiting.answer().json == []


def test_a_reader_that_leaves_leaves_nothing_behind(api):
    """Neither a waiter nor a timer."""
    before = len(api.server.reactor.getDelayedCalls())
    waiting = api.another_client()
    waiting.ask("GET", "/v1/event/list?index=1")
    waiting.leave()
    assert not api.agent.events._waiters
    assert len(api.server.reactor.getDelayedCalls()) == before


def test_an_event_is_sent_where_it_is_for(api):
    """Its own datacenter, unless the parameter names another."""
    pool = OwnPool(Host(None, api.server.clock, random.Random(1)), api.agent.config)
    api.agent.events = pool.events
    assert api.client.put("/v1/event/fire/a?dc=elsewhere").status == 200
    assert api.client.put("/v1/event/fire/a").status == 200
    assert pool.datacenters == ["elsewhere", ""]
