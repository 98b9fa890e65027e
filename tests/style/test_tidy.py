"""The style of the house, as a test over the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FILE_LINES_MAX = 500
TEST_FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
BRANCHES_MAX = 12
NESTING_MAX = 4

#: Words that say nothing; see the house plan's glossary.
EMPTY_WORDS = {"manager", "handler", "helper", "util", "utils", "common", "process"}

#: What must not stand in the repository: it speaks of consultwist alone.
FOREIGN_WORDS = re.compile(
    r"\b(TODO|FIXME|XXX)\b|NotImplementedError|/home/|/root/|/tmp/"
)

_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
)
_BLOCKS = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.Match)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def sources(*folders: str) -> list[Path]:
    """Return the Python files below some folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


PRODUCT = sources("consultwist", "twisted/plugins")
TESTS = sources("tests", "benchmarks")


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions of a module, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has without its docstring."""
    end = function.end_lineno or function.lineno
    lines = end - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def depth(node: ast.AST, level: int = 0) -> int:
    """Return how deep blocks are nested inside a node."""
    deepest = level
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for child in children:
            if not isinstance(child, ast.AST):
                continue
            # `elif` is an If inside orelse: no deeper than its `if`.
            chained = name == "orelse" and isinstance(child, ast.If)
            inner = level + (isinstance(child, _BLOCKS) and not chained)
            deepest = max(deepest, depth(child, inner))
    return deepest


@pytest.mark.parametrize(
    ("files", "limit"), [(PRODUCT, FILE_LINES_MAX), (TESTS, TEST_FILE_LINES_MAX)]
)
def test_files_stay_readable(files, limit):
    """No file is longer than a reader can hold in mind."""
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if (count := path.read_text(encoding="utf-8").count("\n")) > limit
    }
    assert not long


def test_functions_fit_on_a_screen():
    """No function is too long, too branched or too deeply nested."""
    found = []
    for path in PRODUCT:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in functions(tree):
            branches = sum(isinstance(node, _BRANCHES) for node in ast.walk(function))
            place = f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
            if body_lines(function) > FUNCTION_LINES_MAX:
                found.append(f"{place}: {body_lines(function)} lines")
            if branches > BRANCHES_MAX:
                found.append(f"{place}: {branches} branches")
            if depth(function) > NESTING_MAX:
                found.append(f"{place}: nested {depth(function)} deep")
    assert not found


def test_names_say_something():
    """No module, class or function is named with a word that says nothing."""
    found = []
    for path in PRODUCT:
        names = [path.stem]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                names.append(node.name)
        for name in names:
            words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().split("_")
            if EMPTY_WORDS & set(words):
                found.append(f"{path.relative_to(ROOT)}: {name}")
    assert not found


def test_nothing_is_left_unfinished():
    """No source names what is still to be done, or a path of some machine."""
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in PRODUCT
        if (match := FOREIGN_WORDS.search(path.read_text(encoding="utf-8")))
    ]
    assert not found
