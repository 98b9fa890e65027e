"""Finished JSON of rows, put together to answers."""

import json

from consultwist.api.catalog.fragments import Fragments, HealthJSON
from consultwist.structs.catalog import (
    CheckServiceNode,
    HealthCheck,
    Node,
    NodeService,
    Weights,
)
from consultwist.structs.kv import DirEntry


def instance(name, *checks):
    return CheckServiceNode(
        node=Node(node=name, meta={"a": "<b>"}),
        service=NodeService(id=name, service="web", weights=Weights()),
        checks=[HealthCheck(node=name, check_id=check) for check in checks] or None,
    )


def test_parts_make_the_same_json_as_the_whole():
    """Lists are never null; escapes are Go's."""
    found = [instance("a", "x", "y"), instance("b")]
    shown = json.loads(HealthJSON().instances(found))
    expected = [each.to_plain() for each in found]
    for each in expected:
        each["Service"]["Tags"] = []
        each["Checks"] = each["Checks"] or []
        for check in each["Checks"]:
            check["ServiceTags"] = []
    assert shown == expected
    assert rb"\u003cb\u003e" in HealthJSON().instances(found)


def test_nothing_found_is_an_empty_list():
    """Neither instances nor checks."""
    assert HealthJSON().instances([]) == b"[]"
    assert HealthJSON().checks([]) == b"[]"


def test_a_row_is_shown_once_while_it_is_the_same_object():
    """An equal row that is another object is shown anew."""
    shown = []

    def show(row):
        shown.append(row.key)
        return row.key.encode()

    fragments = Fragments(show)
    row = DirEntry(key="a")
    assert [fragments.of(row), fragments.of(row)] == [b"a", b"a"]
    assert fragments.of(DirEntry(key="a")) == b"a"
    assert shown == ["a", "a"]


def test_the_number_of_kept_rows_is_bounded():
    """What was used lately stays, what was not goes."""
    shown = []

    def show(row):
        shown.append(row.key)
        return row.key.encode()

    fragments = Fragments(show, rows_max=8)
    favourite = DirEntry(key="f")
    rows = [DirEntry(key=str(number)) for number in range(40)]
    for row in rows:
        fragments.of(favourite)
        fragments.of(row)
        assert len(fragments) <= 8
    assert shown.count("f") == 1
    fragments.of(rows[0])
    assert shown.count("0") == 2
