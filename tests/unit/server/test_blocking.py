"""Reads that block: nobody is woken too late, nobody waits too long."""

import random
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from consultwist.durations import SECOND
from consultwist.errors import ConsultwistError, NotReadyForConsistentReads
from consultwist.server.blocking import WOKEN_AT_ONCE_MAX, BlockingQueries
from consultwist.state import watch
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.structs.kv import IndexedKeyList, KeyRequest
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from consultwist.wire.struct import Struct

DEFAULT_S, MAX_S = 300.0, 600.0


class Row(Struct):
    """A row."""

    key: str = ""
    index: int = 0


SCHEMA = Schema(name="rows", key=lambda row: row.key, watched=True)


class Leadership:
    """What queries ask of Raft, as a test wants it."""

    def __init__(self):
        self.meta = (True, 0)
        self.ensured = None

    def read_meta(self):
        return self.meta

    def ensure_consistent(self):
        if isinstance(self.ensured, Exception):
            raise self.ensured
        return self.ensured


def _rows(world, start, seen):
    world.asked += 1
    seen.add(watch.prefix("rows", start))
    rows = world.store.table("rows").prefix(start)
    index = max((row.index for row in rows), default=0)
    return index, [row.key for row in rows]


class World:
    """A store of rows, and reads of all rows with a prefix."""

    def __init__(self, rng=None):
        self.reactor = Clock()
        self.store = Store([SCHEMA])
        self.leadership = Leadership()
        self.index = 1
        self.asked = 0
        self.queries = BlockingQueries(
            self.reactor,
            rng or random.Random(1),
            self.store,
            self.leadership,
            wait_default_s=DEFAULT_S,
            wait_max_s=MAX_S,
        )

    def write(self, key, *, wake=True):
        self.index += 1
        txn = self.store.begin(self.index)
        txn.put("rows", Row(key=key, index=self.index))
        txn.set_index("rows")
        txn.commit()
        if wake:
            self.store.wake()

    def read(self, start="", *, kept=False, **options):
        return self.queries.run(
            KeyRequest(key=start, **options),
            partial(_rows, self, start),
            lambda keys, **meta: IndexedKeyList(keys=keys, **meta),
            kept=kept,
        )

    def one_turn(self):
        """Make the calls that are due, but not those that they ask for."""
        now = self.reactor.seconds()
        for call in [c for c in self.reactor.getDelayedCalls() if c.getTime() <= now]:
            function = call.func  # type: ignore[attr-defined]
            call.cancel()
            function()

    def is_idle(self):
        return not self.reactor.getDelayedCalls() and not len(self.store.watches)


@pytest.fixture
def world():
    return World()


def test_a_read_without_an_index_is_answered_at_once(world):
    """No Deferred; the index of nothing is shown as 1."""
    reply = world.read()
    assert (reply.keys, reply.index, reply.known_leader) == ([], 1, True)
    world.write("a")
    assert world.read().index == 2


def test_a_read_below_the_present_index_is_answered_at_once(world):
    """There is news already."""
    world.write("a")
    assert world.read(min_query_index=1).keys == ["a"]


def test_the_index_of_nothing_counts_as_one(world):
    """A client that saw 1 waits for more."""
    waiting = world.read(min_query_index=1)
    no_result_of(waiting)
    world.write("a")
    assert result_of(waiting).index == 2


def test_a_parked_read_wakes_at_news(world):
    """After the batch, with its whole outcome; nothing stays behind."""
    world.write("a")
    waiting = world.read("a", min_query_index=2)
    world.write("a1", wake=False)
    no_result_of(waiting)
    world.write("a2")
    assert result_of(waiting).keys == ["a", "a1", "a2"]
    assert world.is_idle()


def test_a_parked_read_sleeps_through_what_is_none_of_its_business(world):
    """Its query is not even run."""
    world.write("a")
    waiting = world.read("a", min_query_index=2)
    asked = world.asked
    world.write("b")
    no_result_of(waiting)
    assert world.asked == asked
    world.write("a")
    assert result_of(waiting).index == 4


def test_a_parked_read_that_wakes_for_nothing_waits_on(world):
    """An index above the present one blocks until it is passed, or the time."""
    world.write("a")
    waiting = world.read("a", min_query_index=4)
    world.write("a")
    world.write("a")
    no_result_of(waiting)
    world.write("a")
    assert result_of(waiting).index == 5


@pytest.mark.parametrize(
    ("wanted_s", "least_s"),
    [(None, DEFAULT_S), (10.0, 10.0), (3600.0, MAX_S), (-5.0, DEFAULT_S)],
)
def test_waiting_ends_in_time(world, wanted_s, least_s):
    """With what there is; up to a sixteenth later, so that not all come at once."""
    options = {} if wanted_s is None else {"max_query_time": int(wanted_s * SECOND)}
    world.write("a")
    waiting = world.read(min_query_index=2, **options)
    world.reactor.advance(least_s - 0.001)
    no_result_of(waiting)
    world.reactor.advance(least_s / 16 + 0.002)
    assert result_of(waiting).keys == ["a"]
    assert world.is_idle()


def test_a_cancelled_read_leaves_nothing_behind(world):
    """The client went away."""
    waiting = world.read(min_query_index=1)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert world.is_idle()


def test_a_query_that_fails_while_parked_fails_the_read(world):
    """The error reaches the client, timer and watch go."""
    calls = []

    def query(seen):
        calls.append(1)
        seen.add(watch.row("rows"))
        if len(calls) > 1:
            raise ConsultwistError("gone wrong")
        return 1, []

    options = KeyRequest(min_query_index=1)
    waiting = world.queries.run(options, query, lambda *_, **__: None, kept=False)
    world.write("a")
    failure_of(waiting, ConsultwistError)
    assert world.is_idle()


def test_thousands_are_woken_turn_by_turn(world):
    """One write does not keep everybody else waiting until all have their answer."""
    world.write("a")
    count = 2 * WOKEN_AT_ONCE_MAX + 3
    reads = [world.read("a", min_query_index=2) for _ in range(count)]
    world.write("a")
    for answered in (WOKEN_AT_ONCE_MAX, 2 * WOKEN_AT_ONCE_MAX):
        assert sum(read.called for read in reads) == answered
        world.one_turn()
    assert [result_of(read).keys for read in reads] == [["a"]] * count
    assert world.is_idle()


def test_a_reader_that_leaves_before_its_turn_is_not_answered(world):
    """It may have gone while those before it were answered."""
    world.write("a")
    count = WOKEN_AT_ONCE_MAX + 2
    reads = [world.read("a", min_query_index=2) for _ in range(count)]
    world.write("a")
    reads[-1].addErrback(lambda _: "gone")
    reads[-1].cancel()
    world.reactor.advance(0)
    assert result_of(reads[-2]).keys == ["a"]
    assert result_of(reads[-1]) == "gone"
    assert world.is_idle()


def test_a_replaced_state_answers_everybody(world):
    """Also where the index went back: clients must begin anew."""
    world.write("a")
    waiting = world.read(min_query_index=2)
    fresh = Store([SCHEMA])
    txn = fresh.begin(1)
    txn.put("rows", Row(key="restored", index=1))
    world.store.adopt(fresh)
    reply = result_of(waiting)
    assert (reply.keys, reply.index) == (["restored"], 1)
    assert world.is_idle()


def test_the_reply_tells_of_the_leader_at_the_time_of_the_answer(world):
    """Not of the question."""
    waiting = world.read(min_query_index=1)
    world.leadership.meta = (False, 5)
    world.write("a")
    reply = result_of(waiting)
    assert (reply.known_leader, reply.last_contact) == (False, 5)


def test_a_consistent_read_waits_until_leadership_is_sure(world):
    """And shows the state of then."""
    world.leadership.ensured = Deferred()
    waiting = world.read(require_consistent=True)
    world.write("a")
    no_result_of(waiting)
    world.leadership.ensured.callback(None)
    assert result_of(waiting).keys == ["a"]


def test_a_consistent_read_is_refused_where_that_is_not_to_be(world):
    """The error comes at once."""
    world.leadership.ensured = NotReadyForConsistentReads()
    with pytest.raises(NotReadyForConsistentReads):
        world.read(require_consistent=True)


def test_a_sure_leader_answers_consistent_reads_at_once(world):
    """Without a Deferred, where a lease says so."""
    assert world.read(require_consistent=True).keys == []


def test_kept_answers_are_shared_by_those_who_ask_the_same(world):
    """Whatever their token, their index, their consistency."""
    world.write("a")
    first = world.read(kept=True)
    again = world.read(
        kept=True, token="t", allow_stale=True, min_query_index=1, max_age=5
    )
    assert again.keys is first.keys
    assert world.asked == 1
    world.read("b", kept=True)
    world.read(kept=True, filter="x")
    assert world.asked == 3
    world.write("a")
    assert world.read(kept=True).keys == ["a"]
    assert world.asked == 4


def test_parked_readers_of_one_thing_share_the_work(world):
    """A thousand readers, one query."""
    world.write("a")
    waiting = [world.read(kept=True, min_query_index=2) for _ in range(1000)]
    asked = world.asked
    world.write("b")
    world.reactor.advance(0)
    payloads = [result_of(each).keys for each in waiting]
    assert all(keys is payloads[0] for keys in payloads)
    assert world.asked == asked + 1


@given(
    st.lists(st.sampled_from(["a", "ab", "b", "read a", "read ab", "read "])),
    st.booleans(),
)
def test_no_wake_up_is_lost(steps, kept):
    """A reader that always asks with the last index sees the last write at once."""
    world = World()
    reads: dict[str, Any] = {}
    for step in steps:
        if step.startswith("read "):
            start = step.removeprefix("read ")
            reads.setdefault(start, world.read(start, kept=kept))
            continue
        world.write(step)
        for start, reply in list(reads.items()):
            if isinstance(reply, Deferred) and reply.called:
                reads[start] = result_of(reply)
            latest = reads[start]
            if not isinstance(latest, Deferred):
                reads[start] = world.read(
                    start, kept=kept, min_query_index=latest.index
                )
                if not isinstance(reads[start], Deferred):
                    continue
            rows = world.store.table("rows").prefix(start)
            assert isinstance(reads[start], Deferred)
            assert not reads[start].called
            known = max((row.index for row in rows), default=1)
            assert known == 1 or known <= world.index
            assert not step.startswith(start) or known == world.index
