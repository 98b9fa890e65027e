"""Answers are kept as long as they hold, and exactly so long."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from consultwist.state import watch
from consultwist.state.store import ANSWERS_MAX, Store, row_index
from consultwist.state.table import Schema
from consultwist.wire.struct import Struct


class Row(Struct):
    """A row."""

    key: str = ""
    value: int = 0


SCHEMA = Schema(name="rows", key=lambda row: row.key, watched=True)
TEXT = st.text(alphabet="ab", max_size=2)


def _listing(store, start):
    def query(seen):
        seen.add(watch.prefix("rows", start))
        return store.index("rows"), [
            row.key for row in store.table("rows").prefix(start)
        ]

    return query


@given(st.lists(st.tuples(TEXT, TEXT), max_size=12))
def test_a_kept_answer_is_always_what_a_fresh_one_would_be(steps):
    """Whatever changes in between, and the same object while nothing does."""
    store = Store([SCHEMA])
    for index, (asked, changed) in enumerate(steps, start=1):
        query = _listing(store, asked)
        kept = store.answer(query, asked)
        assert store.answer(query, asked) is kept
        txn = store.begin(index)
        txn.put("rows", Row(key=changed, value=index))
        txn.set_index("rows")
        txn.commit()
        store.wake()
        again = store.answer(query, asked)
        assert again.payload == store.answer(query).payload
        assert (again is kept) is not changed.startswith(asked)


def test_an_undone_transaction_leaves_nothing_but_a_needless_wake():
    """Rows, index rows and values are as before; an answer made anew is the same."""
    store = Store([SCHEMA])
    txn = store.begin(1)
    txn.put("rows", Row(key="a", value=1))
    txn.set_index("rows")
    txn.set_value("single", "old")
    txn.commit()
    store.wake()
    before = store.answer(_listing(store, ""), "all")
    txn = store.begin(2)
    txn.put("rows", Row(key="a", value=2))
    txn.put("rows", Row(key="b", value=2))
    txn.delete("rows", "a")
    txn.set_index("rows")
    txn.max_index("other")
    txn.delete_index("rows")
    txn.set_value("single", "new")
    txn.note("forgotten")
    txn.abort()
    store.wake()
    assert [row.value for row in store.table("rows").rows()] == [1]
    assert store.index_rows == {"rows": ("rows", 1)}
    assert store.values == {"single": "old"}
    assert store.answer(_listing(store, ""), "all").payload == before.payload


def test_notes_are_told_after_the_commit_only():
    """Observers hear of what happened, not of what was tried."""
    store = Store([SCHEMA])
    heard: list[object] = []
    unsubscribe = store.subscribe(heard.append)
    undone = store.begin(1)
    undone.note("undone")
    undone.abort()
    kept = store.begin(2)
    kept.note("kept")
    assert heard == []
    kept.commit()
    assert heard == ["kept"]
    unsubscribe()
    store.observe("later")
    assert heard == ["kept"]


def test_observers_may_leave_while_they_are_told():
    """One that unsubscribes in its call does not disturb the others."""
    store = Store([SCHEMA])
    heard = []
    leaves: list[Callable[[], None]] = []

    def first(note):
        heard.append(("first", note))
        leaves.pop()()

    leaves.append(store.subscribe(first))
    store.subscribe(lambda note: heard.append(("second", note)))
    store.observe(1)
    store.observe(2)
    assert heard == [("first", 1), ("second", 1), ("second", 2)]


def test_index_rows_compare_without_case_and_are_shown_as_written():
    """Consul's table of index rows is lower-cased, its entries are not."""
    store = Store([SCHEMA])
    store.begin(7).set_index("service.Web")
    assert store.index("service.web") == 7
    assert list(store.index_rows.values()) == [("service.Web", 7)]
    seen = watch.WatchSet()
    assert row_index(store, seen, "SERVICE.WEB", "missing") == 7
    assert list(seen.topics) == [watch.row("service.web"), watch.row("missing")]


def test_a_row_is_only_ever_raised_by_max_index():
    """A lower value wakes the watchers, but does not count."""
    store = Store([SCHEMA])
    store.begin(9).set_index("i")
    woken = []
    store.watches.add([watch.row("i")], lambda: woken.append(1))
    store.begin(3).max_index("i")
    store.wake()
    assert store.index("i") == 9
    assert woken == [1]


def test_kept_answers_are_bounded():
    """The oldest go first, and their watches with them."""
    store = Store([SCHEMA])
    for number in range(ANSWERS_MAX + 2):
        store.answer(_listing(store, str(number)), number)
    assert len(store.watches) == ANSWERS_MAX
    made = store.answer(_listing(store, "1"), 1)
    assert store.answer(_listing(store, "1"), 1) is made
    assert len(store.watches) == ANSWERS_MAX
