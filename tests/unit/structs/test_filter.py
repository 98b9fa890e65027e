"""Filter expressions over records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consultwist.structs.catalog import CheckServiceNode, Node, ServiceNode, Weights
from consultwist.structs.filter import FilterError, compile_filter
from consultwist.structs.filter_syntax import DEPTH_MAX, EXPRESSION_MAX_CHARS
from consultwist.wire.json_decode import decode_list

_VECTORS = Path(__file__).parents[2] / "vectors/http"
_RECORDS: dict[str, tuple[type[Any], Callable[[Any], str]]] = {
    "/v1/catalog/nodes": (Node, lambda row: row.node),
    "/v1/catalog/service/web": (ServiceNode, lambda row: row.service_id),
    "/v1/catalog/service/consul": (ServiceNode, lambda row: row.service_id),
    "/v1/health/service/web": (CheckServiceNode, lambda row: row.service.id),
    "/v1/health/service/consul": (CheckServiceNode, lambda row: row.service.id),
}
_CAPTURES = json.loads((_VECTORS / "filter.json").read_text())
_ERRORS = json.loads((_VECTORS / "filter_errors.json").read_text())


@pytest.mark.parametrize("case", _CAPTURES["cases"], ids=lambda case: case["id"])
def test_filters_keep_what_consul_keeps(case):
    """On captured rows a filter keeps the rows that stock Consul kept."""
    record, name_of = _RECORDS[case["path"]]
    if "error" in case:
        with pytest.raises(FilterError) as refusal:
            compile_filter(case["filter"], record)
        assert str(refusal.value) == case["error"]
        return
    data = json.dumps(_CAPTURES["rows"][case["path"]]).encode()
    keep = compile_filter(case["filter"], record)
    kept = [name_of(row) for row in decode_list(record, data) if keep(row)]
    assert sorted(kept) == sorted(case["kept"])


@pytest.mark.parametrize("case", _ERRORS["cases"], ids=lambda case: case["filter"])
def test_mistakes_are_told_in_the_words_of_consul(case):
    """Every mistake has stock Consul's text, position and expectations included."""
    record, _ = _RECORDS[case["path"]]
    if case["error"] is None:
        compile_filter(case["filter"], record)
        return
    with pytest.raises(FilterError) as refusal:
        compile_filter(case["filter"], record)
    assert str(refusal.value) == case["error"]
    assert refusal.value.status == 500


def _keeps(expression, row):
    record: Any = type(row)
    return compile_filter(expression, record)(row)


def test_an_empty_filter_keeps_everything():
    """No expression, no filter."""
    assert _keeps("", Node(node="a"))


def test_texts_are_compared_searched_and_matched():
    """Texts know equality, substrings and regular expressions."""
    node = Node(node="web-1")
    assert _keeps("Node == `web-1`", node)
    assert _keeps('Node == "\\x77eb-\\u0031"', node)
    assert not _keeps('Node != "web-1"', node)
    assert _keeps("Node contains web", node)
    assert _keeps("db not in Node", node)
    assert _keeps('Node matches "^w.*[0-9]$"', node)
    assert _keeps("Node not matches db", node)


def test_what_a_map_lacks_equals_nothing():
    """A missing key is unequal to every value, the empty text included."""
    node = Node(meta={"a": ""})
    assert _keeps('Meta.a == ""', node)
    assert not _keeps('Meta.b == ""', node)
    assert _keeps('Meta.b != ""', node)
    assert _keeps('Meta["b"] not contains x', node)
    assert _keeps("Meta.b matches x", node), "an oddity of Consul 1.8"
    assert not _keeps("Meta.a == x", Node())
    assert _keeps("Meta is empty", Node())


def test_numbers_and_booleans_are_converted():
    """Numbers may be written in Go's ways, booleans in six."""
    row = ServiceNode(service_port=31, service_weights=Weights(passing=-2))
    assert _keeps('ServicePort == "0x1F"', row)
    assert _keeps('ServicePort == "037"', row)
    assert _keeps("ServiceWeights.Passing == -2", row)
    assert _keeps("ServiceEnableTagOverride == F", row)


def test_lists_of_records_ask_for_any():
    """A condition inside a list holds where it holds for one of its records."""
    data = json.dumps([{"Checks": [{"Status": "passing"}, {"Status": "critical"}]}])
    row = decode_list(CheckServiceNode, data.encode())[0]
    assert _keeps("Checks.Status == critical", row)
    assert _keeps("Checks.Status != critical", row)
    assert not _keeps("Checks.Status == warning", row)
    assert not _keeps("Checks.Status != x", CheckServiceNode())


def test_a_missing_record_meets_only_negations():
    """A row without a node is unequal to everything."""
    assert not _keeps("Node.Node == a", CheckServiceNode())
    assert _keeps("Node.Node != a", CheckServiceNode())


def test_and_binds_tighter_than_or():
    """Precedence is not, and, or."""
    node = Node(node="a", address="x")
    assert _keeps("Node == a or Node == b and Address == y", node)
    assert not _keeps("(Node == a or Node == b) and Address == y", node)
    assert _keeps("not Node == b and Node == a", node)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * (DEPTH_MAX + 1) + "Node == a" + ")" * (DEPTH_MAX + 1),
        "not " * (DEPTH_MAX + 1) + "Node == a",
        "Node == " + "a" * EXPRESSION_MAX_CHARS,
    ],
)
def test_monstrous_expressions_are_refused(expression):
    """Depth and length have bounds, and the refusal comes quickly."""
    with pytest.raises(FilterError):
        compile_filter(expression, Node)


def test_many_terms_are_fine():
    """An expression of many terms is read in one pass."""
    expression = " or ".join(f"Node == n{i}" for i in range(900))
    assert _keeps(expression, Node(node="n899"))


def test_escapes_stand_beside_bytes_that_are_no_utf8():
    """Such bytes come percent-encoded in a request; they are compared as they are."""
    odd = Node(node=b"\xc3(\n".decode("utf-8", "surrogateescape"))
    assert _keeps('Node == "\udcc3(\\n"', odd)
    assert _keeps('Node == "\\xc3(\\012"', odd)
    assert _keeps('Node == "\\u0041\\U0001F600\\t\\\\"', Node(node="A\U0001f600\t\\"))


@pytest.mark.parametrize("escape", ["\\ud800", "\\U0000d800", "\\U00110000", "\\777"])
def test_escapes_that_stand_for_no_character_are_refused(escape):
    """Half a surrogate pair is no character, written short or long."""
    with pytest.raises(FilterError, match="invalid syntax"):
        compile_filter(f'Node == "{escape}"', Node)
