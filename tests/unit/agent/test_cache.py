"""The agent answers reads from what it asked the servers before."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from consultwist import durations
from consultwist.agent.cache import (
    ENTRIES_MAX,
    REFRESH_WAIT_S,
    TTL_S,
    AgentCache,
    Cached,
)
from consultwist.config.runtime import CacheConfig
from consultwist.errors import NoLeader, RPCError
from consultwist.host import Host
from consultwist.structs.catalog import ServiceSpecificRequest
from consultwist.structs.query import (
    DCSpecificRequest,
    QueryMeta,
    QuerySource,
)
from consultwist.testing.agent import RecordedMetrics
from consultwist.testing.clock import ReactorClock, SimClock
from consultwist.testing.deferred import failure_of, no_result_of, result_of

SERVICES = "Catalog.ListServices"
DATACENTERS = "Catalog.ListDatacenters"


class Middle:
    """Randomness that always draws the middle."""

    def random(self) -> float:
        return 0.5


class World:
    """A cache, and servers whose answers the test gives."""

    def __init__(self, rate: float = math.inf, burst: int = 2) -> None:
        self.reactor = SimClock()
        self.asked: list[Any] = []
        self.open: list[Deferred[Any]] = []
        self.down = False
        self.metrics = RecordedMetrics()
        metrics: Any = self.metrics
        rng: Any = Middle()
        host = Host(self.reactor, ReactorClock(self.reactor), rng)
        limits = CacheConfig(entry_fetch_max_burst=burst, entry_fetch_rate=rate)
        self.cache = AgentCache(host, limits, self.rpc, metrics)
        self.cache.startService()

    def rpc(self, method: str, request: Any) -> Any:
        """Ask the servers: the answer is given later, or they are down."""
        self.asked.append((method, request))
        if self.down:
            raise NoLeader
        answer: Deferred[Any] = Deferred()
        self.open.append(answer)
        return answer

    def answer(self, index: int) -> QueryMeta:
        """Answer the oldest open question."""
        reply = QueryMeta(index=index)
        self.open.pop(0).callback(reply)
        self.reactor.advance(0)
        return reply

    def get(self, method: str = SERVICES, **options: Any) -> Any:
        """Read."""
        return self.cache.get(method, DCSpecificRequest(datacenter="dc1", **options))


def test_the_first_read_asks_and_later_ones_do_not_wait():
    """A miss, then a hit of no age with the same reply."""
    world = World()
    first = world.get()
    assert world.asked[0][1].allow_stale
    reply = world.answer(7)
    assert result_of(first) == Cached(reply)
    assert world.get() == Cached(reply, hit=True, age_s=0.0)


def test_an_entry_is_kept_fresh_by_blocking_queries():
    """After each answer the servers are asked for the next change."""
    world = World()
    world.get()
    world.answer(7)
    method, refresh = world.asked[1]
    assert method == SERVICES
    assert refresh.min_query_index == 7
    assert refresh.max_query_time == REFRESH_WAIT_S * durations.SECOND
    newer = world.answer(9)
    assert world.get() == Cached(newer, hit=True)
    assert world.asked[2][1].min_query_index == 9


def test_readers_that_come_together_share_one_question():
    """The servers are asked once, and all readers get the answer."""
    world = World()
    reads = [world.get() for _ in range(3)]
    assert len(world.asked) == 1
    reply = world.answer(7)
    assert [result_of(read).reply for read in reads] == [reply] * 3


def test_how_fresh_an_answer_must_be_makes_no_entry_of_its_own():
    """But the token, the datacenter and the filter do."""
    world = World()
    world.get()
    world.get(max_age=5, allow_stale=True, max_query_time=10, use_cache=True)
    assert len(world.cache) == 1
    world.get(token="other")
    world.get(filter="x")
    world.cache.get(SERVICES, DCSpecificRequest(datacenter="dc2"))
    assert len(world.cache) == 4


def test_who_asks_matters_only_for_distances():
    """Clients share an entry unless each wants what is near to it."""
    world = World()
    for address in ("192.0.2.1", "192.0.2.2"):
        for node in ("", "n1", "_ip"):
            source = QuerySource(node=node, ip=address)
            request = ServiceSpecificRequest(service_name="web", source=source)
            world.cache.get("Health.ServiceNodes", request)
    assert len(world.cache) == 4


def test_max_age_and_revalidation_mean_nothing_where_entries_are_refreshed():
    """As on the stock agent, such an entry is as fresh as it gets."""
    world = World()
    world.get()
    world.answer(7)
    world.reactor.advance(60)
    assert world.get(max_age=1, must_revalidate=True).hit


def test_a_simple_entry_is_asked_for_again_only_where_it_is_too_old():
    """``max-age`` decides, and ``must-revalidate`` always asks."""
    world = World()
    world.get(DATACENTERS)
    world.answer(0)
    assert len(world.asked) == 1
    world.reactor.advance(5)
    found = world.get(DATACENTERS, max_age=10 * durations.SECOND)
    assert found.hit
    assert found.age_s == 5
    older = world.get(DATACENTERS, max_age=4 * durations.SECOND)
    no_result_of(older)
    world.answer(0)
    assert not result_of(older).hit
    again = world.get(DATACENTERS, must_revalidate=True)
    no_result_of(again)
    assert world.get(DATACENTERS).hit


def test_the_reply_of_a_simple_read_may_be_a_plain_list():
    """What has no index is answered all the same."""
    world = World()
    read = world.get(DATACENTERS)
    world.open.pop(0).callback(["dc1"])
    assert result_of(read) == Cached(["dc1"])


def test_a_blocking_read_waits_for_the_next_change():
    """And is woken by the refresh that brings it."""
    world = World()
    world.get()
    world.answer(7)
    blocking = world.get(min_query_index=7)
    world.answer(7)
    no_result_of(blocking)
    changed = world.answer(8)
    assert result_of(blocking) == Cached(changed)


def test_a_blocking_read_ends_after_its_wait_time_with_what_there_is():
    """Nothing changed, so the same reply is told again."""
    world = World()
    world.get()
    reply = world.answer(7)
    blocking = world.get(min_query_index=7, max_query_time=2 * durations.SECOND)
    world.reactor.advance(1.9)
    no_result_of(blocking)
    world.reactor.advance(0.2)
    assert result_of(blocking).reply is reply


def test_a_first_reply_that_never_comes_is_not_waited_for_without_end():
    """The read fails; the question stays open for those who come later."""
    world = World()
    read = world.get(max_query_time=durations.SECOND)
    world.reactor.advance(1.1)
    failure_of(read, RPCError)
    assert len(world.open) == 1


def test_an_error_of_the_first_question_is_told_and_not_kept():
    """The next read asks again."""
    world = World()
    world.down = True
    with pytest.raises(NoLeader):
        world.get()
    assert len(world.cache) == 0
    world.down = False
    read = world.get()
    world.answer(7)
    assert not result_of(read).hit


def test_while_servers_are_lost_the_last_reply_grows_older():
    """Readers get it with its age, and are answered freshly once they are back."""
    world = World()
    world.get()
    reply = world.answer(7)
    world.down = True
    world.open.pop().errback(NoLeader())
    world.reactor.advance(30)
    assert world.get() == Cached(reply, hit=True, age_s=30.0)
    world.down = False
    world.reactor.advance(120)
    world.answer(8)
    assert world.get().age_s == 0.0


def test_servers_that_do_not_answer_are_asked_more_and_more_rarely():
    """Three tries at once, then with pauses that grow to a minute and a half."""
    world = World()
    world.get()
    world.answer(7)
    world.down = True
    world.open.pop().errback(NoLeader())
    world.reactor.advance(0.1)
    assert len(world.asked) == 2 + 3
    world.reactor.advance(3.0)
    assert len(world.asked) == 2 + 4
    world.reactor.advance(3600)
    before = len(world.asked)
    world.reactor.advance(900)
    assert len(world.asked) - before == 10


def test_a_reader_that_waits_for_a_change_hears_of_an_error_at_once():
    """Its own question ends the pause after earlier failures."""
    world = World()
    world.get()
    world.answer(7)
    world.down = True
    world.open.pop().errback(NoLeader())
    world.reactor.advance(1)
    tries = len(world.asked)
    with pytest.raises(NoLeader):
        world.get(min_query_index=7)
    assert len(world.asked) == tries + 1


def test_stale_if_error_gives_the_last_reply_in_place_of_an_error():
    """Unless that is older than allowed."""
    world = World()
    world.get(DATACENTERS)
    reply = world.answer(0)
    world.down = True
    world.reactor.advance(10)
    kept = world.get(DATACENTERS, must_revalidate=True, stale_if_error=11 * 10**9)
    assert kept == Cached(reply, hit=True, age_s=10.0)
    with pytest.raises(NoLeader):
        world.get(DATACENTERS, must_revalidate=True, stale_if_error=9 * 10**9)


def test_an_entry_goes_three_days_after_its_last_use():
    """And the servers are asked no more for it."""
    world = World()
    world.get()
    world.answer(7)
    world.reactor.advance(TTL_S - 1)
    world.get()
    world.reactor.advance(TTL_S - 1)
    assert len(world.cache) == 1
    world.reactor.advance(2)
    assert len(world.cache) == 0
    assert world.open[-1].called
    assert ("cache.evict_expired", 1) in world.metrics.counters


def test_the_number_of_entries_is_bounded():
    """Those go first that were not used for longest."""
    world = World()
    for number in range(ENTRIES_MAX):
        world.get(token=str(number))
    world.open[0].callback(QueryMeta(index=1))
    assert world.get(token="0").hit
    world.open[1].callback(QueryMeta(index=1))
    world.get(token="one more")
    assert len(world.cache) == ENTRIES_MAX
    assert world.get(token="0").hit
    assert isinstance(world.get(token="1"), Deferred)


def test_one_entry_is_not_fetched_faster_than_its_limit():
    """A burst, then so many a second."""
    world = World(rate=2.0, burst=2)
    world.get()
    for index in range(1, 3):
        world.answer(index)
    assert len(world.asked) == 2
    world.reactor.advance(0.45)
    assert len(world.asked) == 2
    world.reactor.advance(0.1)
    assert len(world.asked) == 3


def test_a_reload_changes_the_limits_of_all_entries():
    """From then on the new rate counts."""
    world = World(rate=0.001, burst=1)
    world.get()
    config: Any = SimpleNamespace(
        cache=CacheConfig(entry_fetch_max_burst=5, entry_fetch_rate=math.inf)
    )
    world.cache.reconfigure(config)
    world.answer(1)
    world.answer(2)
    assert len(world.asked) == 3


def test_a_reader_that_goes_away_is_forgotten():
    """The question goes on for the others."""
    world = World()
    gone, stays = world.get(), world.get()
    gone.addErrback(lambda _: None)
    gone.cancel()
    world.answer(7)
    assert not result_of(stays).hit


def test_a_stop_ends_all_questions_and_fails_who_waits():
    """No timer stays behind."""
    world = World()
    read = world.get()
    world.cache.stopService()
    failure_of(read, RPCError)
    assert world.open[0].called
    assert world.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("index", [0, 1])
def test_an_index_of_zero_is_not_asked_for_in_a_loop(index):
    """A server without any entry answers 0, at which nothing would block."""
    world = World()
    world.get()
    world.answer(index)
    assert world.asked[1][1].min_query_index == 1
