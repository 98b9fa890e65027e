"""Writing JSON as Go's encoder does."""

import json as stdlib_json

import pytest

from consultwist.structs.catalog import (
    CheckServiceNode,
    HealthCheck,
    HealthCheckDefinition,
    Node,
    NodeService,
)
from consultwist.structs.coordinate import Coord
from consultwist.structs.kv import DirEntry
from consultwist.wire import json
from consultwist.wire.struct import Struct


def test_records_are_shown_by_their_options():
    """Fields stand in Go's order, own ones first; empty ones are left out or null."""
    entry = DirEntry(key="a", value=b"abc", flags=7, create_index=1, modify_index=2)
    assert json.encode([entry]) == (
        b'[{"LockIndex":0,"Key":"a","Flags":7,"Value":"YWJj",'
        b'"CreateIndex":1,"ModifyIndex":2}]'
    )
    assert b'"Value":null' in json.encode(DirEntry(key="a"))
    assert b'"Session":"s"' in json.encode(DirEntry(session="s"))


def test_nested_records_are_shown_too():
    """Records inside records and lists follow their own options."""
    check = HealthCheck(
        name="x", definition=HealthCheckDefinition(http="h", interval=10_000_000_000)
    )
    row = CheckServiceNode(
        node=Node(node="n"), service=NodeService(id="s"), checks=[check, HealthCheck()]
    )
    shown = stdlib_json.loads(json.encode(row))
    assert shown["Checks"][0]["Definition"] == {"HTTP": "h", "Interval": "10s"}
    assert shown["Checks"][1]["Definition"] == {}
    assert shown["Service"]["Proxy"] == {"MeshGateway": {}, "Expose": {}}
    assert "Kind" not in shown["Service"]


def test_html_is_escaped():
    """Characters that Go escapes for HTML's sake are escaped."""
    assert json.encode("a<b>&\u2028\u2029é") == (
        '"a\\u003cb\\u003e\\u0026\\u2028\\u2029é"'.encode()
    )


def test_bytes_that_are_not_utf_8_become_replacement_characters():
    """A text from the wire may hold any bytes; JSON may not."""
    text = b"a\xff".decode("utf-8", "surrogateescape")
    assert json.encode({text: [text]}) == '{"a�":["a�"]}'.encode()


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (3.0, "3"),
        (-0.0, "-0"),
        (0.5, "0.5"),
        (1e-5, "0.00001"),
        (1e-7, "1e-7"),
        (1.5e-10, "1.5e-10"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_floats_look_like_go_floats(number, shown):
    """Floats have no needless point, and exponents only where Go writes them."""
    assert json.encode(number).decode() == shown
    coordinate = Coord(vec=[number], error=number)
    assert f'"Vec":[{shown}],"Error":{shown}' in json.encode(coordinate).decode()


def test_pretty_json_ends_with_a_line_break():
    """Indented JSON has four spaces a level and one final line break."""
    assert json.prettify(json.encode({"a": [1]})) == (
        b'{\n    "a": [\n        1\n    ]\n}\n'
    )


def test_subclasses_have_their_own_form():
    """A record shows its own fields, even where its base was shown before."""

    class Base(Struct):
        a: int = 1

    class Derived(Base):
        b: int = 2

    assert json.encode(Base()) == b'{"A":1}'
    assert json.encode(Derived()) == b'{"B":2,"A":1}'
    assert json.encode(Derived()) == b'{"B":2,"A":1}'
    assert json.encode(Base()) == b'{"A":1}'
