"""The reference that is made from the code has everything, and says what it is."""

import importlib.util
from pathlib import Path

import pytest

from consultwist.agent.plugins import BUILT_IN, discover
from consultwist.interfaces import ICheckType, IDNSForm

GENERATE = Path(__file__).parents[2] / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate():
    """The module that writes the tables."""
    spec = importlib.util.spec_from_file_location("generate", GENERATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(generate, name):
    """Return the cells of a table, row by row."""
    lines = generate.TABLES[name](discover()).splitlines()[2:]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


@pytest.mark.parametrize("name", ["http", "rpc", "checks", "dns"])
def test_every_row_says_what_it_is(generate, name):
    """Nothing that users can reach is without a sentence about it."""
    found = rows(generate, name)
    assert found
    assert [row[0] for row in found if not row[1]] == []


def test_rules_of_access_are_told(generate):
    """Each method of a server has a rule that a reader understands."""
    assert [
        row[0] for row in rows(generate, "rpc") if len(row[-1].strip("| ")) < 4
    ] == []


@pytest.mark.parametrize(("name", "kind"), [("checks", ICheckType), ("dns", IDNSForm)])
def test_every_built_in_plugin_is_listed(generate, name, kind):
    """The tables hold all that comes with consultwist."""
    listed = {row[0].strip("|` ") for row in rows(generate, name)}
    assert listed >= BUILT_IN[kind]


def test_metrics_are_found_in_the_code(generate):
    """Names with their kind and their module, also where a module renames the call."""
    listed = {row[0].strip("|` "): row[1] for row in rows(generate, "metrics")}
    assert listed["cache.entries_count"] == "gauge"
    assert listed["dns.domain_query"] == "sample"
    assert listed["dns.dropped_message"] == "counter"
    assert listed["raft.apply"] == "counter"
