"""The cache of finished answers: when it answers, and how much it holds."""

import operator
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from consultwist.dns import cache as module
from consultwist.dns.answers import Source
from consultwist.dns.cache import AnswerCache, Entry
from consultwist.dns.reads import STALE_NS
from consultwist.errors import NoLeader
from consultwist.structs.query import QueryOptions
from consultwist.testing.clock import ReactorClock


class World:
    """A cache and the servers that it asks."""

    def __init__(self):
        self.payload = ["a payload"]
        self.last_contact = 0
        self.answer = None
        self.reactor = MemoryReactorClock()
        self.version = -1
        self.asked = 0
        self.cache = AnswerCache(
            self.ask, ReactorClock(self.reactor), lambda: self.version
        )
        self.made = 0
        self.observed = []

    def ask(self, method, request):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or SimpleNamespace(
            nodes=self.payload, last_contact=self.last_contact
        )

    def make(self, second):
        self.made += 1
        return b"%d at %d" % (self.made, second)

    def keep(self, question=b"q", *, varies=False, dated=False, size=1, cached=False):
        of = operator.attrgetter("nodes")
        request = QueryOptions(use_cache=cached)
        source = Source("Health.ServiceNodes", request, of, self.payload)
        entry = Entry(
            (source,), self.make, self.observed.append, varies=varies, dated=dated
        )
        entry.add(b"f" * size, 0)
        self.cache.keep(question, entry)


@pytest.fixture
def world():
    """An empty cache."""
    return World()


def test_an_answer_holds_while_the_payload_is_the_same(world):
    """The same object, not an equal one."""
    assert world.cache.recall(b"q") is None
    world.keep()
    assert world.cache.recall(b"q") == b"f"
    assert len(world.observed) == 1
    world.payload = list(world.payload)
    assert world.cache.recall(b"q") is None


def test_a_leader_is_asked_once_for_each_version_of_its_state(world):
    """While nothing changed at all, nothing that an answer rests on has."""
    world.keep()
    world.version = 7
    assert [world.cache.recall(b"q") for _ in range(3)] == [b"f"] * 3
    assert world.asked == 1
    world.version = 8
    assert world.cache.recall(b"q") == b"f"
    assert world.asked == 2
    world.version, world.payload = 9, ["another payload"]
    assert world.cache.recall(b"q") is None


def test_a_server_that_does_not_lead_is_asked_each_time(world):
    """Its answers may have become too old."""
    world.keep()
    assert [world.cache.recall(b"q") for _ in range(3)] == [b"f"] * 3
    assert world.asked == 3


def test_what_comes_out_of_the_agents_cache_is_looked_for_each_time(world):
    """The agent's cache lags behind the state, and follows it without a new version."""
    world.keep(cached=True)
    world.version = 7
    assert [world.cache.recall(b"q") for _ in range(3)] == [b"f"] * 3
    assert world.asked == 3


def test_stale_replies_are_looked_at_closely(world):
    """They may have to be counted or asked for again."""
    world.keep()
    world.last_contact = STALE_NS + 1
    assert world.cache.recall(b"q") is None


@pytest.mark.parametrize("answer", [NoLeader(), Deferred()])
def test_servers_in_trouble(world, answer):
    """An error, or a reply that must be waited for, is not for the cache to handle."""
    world.keep()
    world.answer = answer
    assert world.cache.recall(b"q") is None


def test_eight_orders_are_made_then_used_again(world):
    """One by one, so that a question asked once costs one answer."""
    world.keep(varies=True)
    answers = [world.cache.recall(b"q") for _ in range(16)]
    assert world.made == 7
    assert answers[7] == b"f"
    assert answers[:7] == answers[8:15]
    assert len(set(answers)) == 8


def test_dated_answers_are_made_once_a_second(world):
    """They hold the zone's serial number."""
    world.keep(dated=True)
    first = world.cache.recall(b"q")
    assert world.cache.recall(b"q") == first
    world.reactor.advance(1)
    assert world.cache.recall(b"q") not in {None, first}
    assert world.made == 2


def test_the_oldest_go_first(world, monkeypatch):
    """Beyond the number of entries."""
    monkeypatch.setattr(module, "ENTRIES_MAX", 3)
    for name in (b"a", b"b", b"c", b"b", b"d", b"e"):
        world.keep(name)
    assert [world.cache.recall(name) for name in (b"a", b"c")] == [None, None]
    assert len(world.cache) == 3


def test_sizes_are_counted_in_full(world, monkeypatch):
    """With all the orders that an entry may come to hold."""
    monkeypatch.setattr(module, "SIZE_MAX_BYTES", 1000)
    world.keep(b"a", size=100, varies=True)
    assert world.cache.recall(b"a") is not None
    world.keep(b"b", size=300)
    assert world.cache.recall(b"a") is None
    assert world.cache.recall(b"b") is not None
    world.keep(b"huge", size=2000)
    assert len(world.cache) == 0


def test_long_questions_are_not_kept(world):
    """Nobody fills the cache with padding."""
    world.keep(b"q" * (module.QUESTION_MAX_BYTES + 1))
    assert len(world.cache) == 0
