"""Whoever waits for something wakes when it changes: never later, never twice."""

from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from consultwist.state import watch
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.wire.struct import Struct


class Row(Struct):
    """A row."""

    key: str = ""
    value: int = 0


SCHEMA = Schema(name="rows", key=lambda row: row.key, watched=True)
TEXT = st.text(alphabet="ab", max_size=3)
TOPIC = st.one_of(
    st.builds(watch.key, st.just("rows"), TEXT),
    st.builds(watch.prefix, st.just("rows"), TEXT),
    st.builds(watch.row, TEXT.map("i.{}".format)),
)
CHANGE = st.tuples(st.sampled_from(["put", "delete", "row"]), TEXT)


def _concerns(topic, change):
    """Tell from first principles whether a change is one of a topic."""
    kind, text = change
    if topic[0] == "row":
        return kind == "row" and topic[1] == f"i.{text}"
    if kind == "row":
        return False
    return text == topic[2] if topic[0] == "key" else text.startswith(topic[2])


def _make(store, txn, changes):
    """Make changes; return those that changed something."""
    done = []
    for kind, text in changes:
        if kind == "put":
            txn.put("rows", Row(key=text, value=txn.index))
        elif kind == "row":
            txn.set_index(f"I.{text}")
        elif store.table("rows").get(text) is None:
            continue
        else:
            txn.delete("rows", text)
        done.append((kind, text))
    return done


@given(
    st.lists(st.lists(TOPIC, max_size=3), max_size=5),
    st.lists(st.lists(CHANGE, max_size=4), max_size=4),
)
def test_exactly_those_wake_whose_topics_changed(waits, batches):
    """A waiter wakes at the first batch that concerns it, once, and no other time."""
    store = Store([SCHEMA])
    for text in ("a", "ab", "b"):
        store.begin(1).put("rows", Row(key=text))
    store.watches.forget_touched()
    woken: list[list[int]] = [[] for _ in waits]
    expected: list[list[int]] = [[] for _ in waits]
    batch_number = -1

    def waker(number: int) -> Callable[[], None]:
        return lambda: woken[number].append(batch_number)

    for number, topics in enumerate(waits):
        store.watches.add(topics, waker(number))
    for batch_number, changes in enumerate(batches):
        txn = store.begin(batch_number + 2)
        done = _make(store, txn, changes)
        txn.commit()
        store.wake()
        for topics, times in zip(waits, expected, strict=True):
            concerned = any(_concerns(t, c) for t in topics for c in done)
            if concerned and not times:
                times.append(batch_number)
    assert woken == expected


@given(st.lists(st.lists(TOPIC, min_size=1, max_size=3), max_size=8))
def test_nothing_is_left_of_cancelled_waiters(waits):
    """Topics, and what is counted for prefixes, go with the last waiter."""
    watches = Store([SCHEMA]).watches
    waiters = [watches.add(topics, lambda: None) for topics in waits]
    for waiter in waiters:
        watches.cancel(waiter)
        watches.cancel(waiter)
    assert len(watches) == 0
    assert watches._lengths == {}


def test_a_waiter_that_waits_again_while_it_is_woken_is_not_lost():
    """A new registration counts for the next change, not for this one."""
    store = Store([SCHEMA])
    woken = []

    def wake():
        woken.append(store.index("i"))
        store.watches.add([watch.row("i")], wake)

    store.watches.add([watch.row("i")], wake)
    for index in (1, 2, 3):
        store.begin(index).set_index("i")
        store.wake()
    assert woken == [1, 2, 3]


def test_one_wake_for_a_whole_batch():
    """Changes of a batch are told once, after all of them."""
    store = Store([SCHEMA])
    seen = []
    topics = [watch.prefix("rows", ""), watch.row("i")]
    store.watches.add(topics, lambda: seen.append(len(store.table("rows"))))
    for index in (1, 2, 3):
        txn = store.begin(index)
        txn.put("rows", Row(key=str(index)))
        txn.set_index("i")
        txn.commit()
    assert seen == []
    store.wake()
    assert seen == [3]
    assert len(store.watches) == 0


def test_those_marked_first_are_called_first():
    """What is kept of the old state is dropped before anybody reads again."""
    store = Store([SCHEMA])
    order = []
    store.watches.add([watch.row("i")], lambda: order.append("reader"))
    store.watches.add([watch.row("i")], lambda: order.append("keeper"), first=True)
    store.begin(1).set_index("i")
    store.wake()
    assert order == ["keeper", "reader"]


def test_a_replaced_state_wakes_everybody():
    """After a restore nothing is as it was."""
    store = Store([SCHEMA])
    woken = []
    store.watches.add([watch.row("never")], lambda: woken.append("row"))
    store.watches.add([watch.key("rows", "x")], lambda: woken.append("key"))
    generation = store.watches.generation
    store.adopt(Store([SCHEMA]))
    assert woken == ["row", "key"]
    assert store.watches.generation == generation + 1


def test_a_deleted_tree_wakes_those_above_and_below():
    """Watchers of keys and prefixes inside, of the root, and of what holds it."""
    store = Store([SCHEMA])
    woken: list[str] = []
    for name, topic in {
        "inside": watch.key("rows", "a/b"),
        "inside prefix": watch.prefix("rows", "a/b/"),
        "above": watch.prefix("rows", "a"),
        "beside": watch.key("rows", "b"),
        "row": watch.row("a/x"),
    }.items():
        store.watches.add([topic], partial(woken.append, name))
    store.watches.touch_prefix("rows", "a/")
    store.wake()
    assert sorted(woken) == ["above", "inside", "inside prefix"]
