"""A table behaves as a plain dictionary that is sorted when asked."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from consultwist.state import table as table_module
from consultwist.state.store import Store
from consultwist.state.table import Schema, Table
from consultwist.wire.struct import Struct

KEYS = st.text(alphabet="ab/\u00fc\U0010ffff", max_size=4)
GROUPS = st.sampled_from(["", "x", "y"])


class Row(Struct):
    """A row with a group that it may be found by."""

    key: str = ""
    group: str = ""
    value: int = 0


SCHEMA = Schema(
    name="rows",
    key=lambda row: row.key,
    indexes={"group": lambda row: row.group or None},
    watched=True,
)


class TableAgainstDict(RuleBasedStateMachine):
    """Random changes through transactions, some undone, against a dictionary."""

    def __init__(self):
        super().__init__()
        self.store = Store([SCHEMA])
        self.model = {}
        self.rows = {}
        self.index = 0

    @property
    def table(self) -> Table:
        return self.store.table("rows")

    @rule(
        changes=st.lists(
            st.tuples(KEYS, GROUPS, st.integers(0, 3), st.booleans()), max_size=6
        ),
        commit=st.booleans(),
    )
    def transact(self, changes, commit):
        """Some rows are put, some deleted, and all of it kept or undone."""
        self.index += 1
        txn = self.store.begin(self.index)
        before = (dict(self.model), dict(self.rows))
        for key, group, value, deleted in changes:
            if deleted:
                self.model.pop(key, None)
                txn.delete("rows", key)
            else:
                self.model[key] = Row(key=key, group=group, value=value)
                txn.put("rows", self.model[key])
            name = f"row.{key}".lower()
            self.rows[name] = self.index
            txn.set_index(f"row.{key}")
        if commit:
            txn.commit()
        else:
            txn.abort()
            self.model, self.rows = before

    @rule(start=KEYS)
    def list_prefix(self, start):
        """A listing has the keys that begin with a text, in order."""
        wanted = sorted(key for key in self.model if key.startswith(start))
        assert list(self.table.prefix_keys(start)) == wanted
        assert self.table.prefix(start) == [self.model[key] for key in wanted]

    @rule(key=KEYS)
    def look_up(self, key):
        """A row is found by its key."""
        assert self.table.get(key) == self.model.get(key)

    @rule(group=GROUPS)
    def look_up_by_group(self, group):
        """Rows are found by an index, in the order of their keys."""
        wanted = [row for _, row in sorted(self.model.items()) if row.group == group]
        if group:
            assert self.table.by("group", group) == wanted
            assert self.table.has("group", group) is bool(wanted)

    @invariant()
    def agrees(self):
        """Size, order and index rows agree at all times."""
        assert len(self.table) == len(self.model)
        assert list(self.table.keys()) == sorted(self.model)
        assert {
            name: value for name, (_, value) in self.store.index_rows.items()
        } == self.rows
        assert set(self.table.values("group")) == {
            row.group for row in self.model.values() if row.group
        }


TestTableAgainstDict = TableAgainstDict.TestCase
TestTableAgainstDict.settings = settings(max_examples=60, stateful_step_count=20)


def test_many_new_keys_are_ordered_at_the_first_listing():
    """A bulk load is sorted once; later single keys join the order."""
    table = Table(SCHEMA)
    for number in reversed(range(1000)):
        table.put(Row(key=f"{number:04}"))
    assert list(table.keys()) == [f"{number:04}" for number in range(1000)]
    table.put(Row(key="0500a"))
    table.delete("0000")
    assert next(table.keys()) == "0001"
    assert list(table.prefix_keys("0500")) == ["0500", "0500a"]


def test_a_row_that_leaves_an_index_is_not_found_there():
    """An index value of None means: not in that index."""
    table = Table(SCHEMA)
    table.put(Row(key="a", group="x"))
    table.put(Row(key="a", group=""))
    assert table.by("group", "x") == []
    assert list(table.values("group")) == []


def test_rows_with_tuples_as_keys_are_found_by_the_first_part():
    """What belongs to one node stands together."""
    schema = Schema(name="pairs", key=lambda row: (row.group, row.key))
    table = Table(schema)
    for group, key in (("a", "2"), ("a", "1"), ("ab", "1"), ("a\0", "1"), ("", "1")):
        table.put(Row(group=group, key=key))
    assert [row.key for row in table.beginning("a")] == ["1", "2"]
    assert [row.group for row in table.beginning("")] == [""]
    assert table.beginning("b") == []


@pytest.mark.parametrize("most", [1, 2])
def test_a_copy_of_all_rows_is_in_order_unless_they_are_many(monkeypatch, most):
    """The list is what there was, whatever happens to the table afterwards."""
    monkeypatch.setattr(table_module, "_FROZEN_ORDERED_MAX", most)
    table = Table(Schema(name="rows", key=lambda row: row))
    for row in ("b", "a"):
        table.put(row)
    rows = table.frozen()
    table.delete("b")
    assert rows == (["a", "b"] if most == 2 else ["b", "a"])
