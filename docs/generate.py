"""Writes the tables of the reference from the code, so that they cannot be out of date.

Sphinx's ``conf.py`` calls `write_all` before a build; the pages include the files.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import consultwist
from consultwist.acl.authorizer import Openness
from consultwist.agent.plugins import Plugins, discover
from consultwist.config.agent_flags import FLAGS_BY_KEY
from consultwist.config.merge import AGENT_AND_DEFINITION_KEYS
from consultwist.config.schema import reference_rows
from consultwist.testing.surface import all_routes

PACKAGE = Path(consultwist.__file__).parent

#: Calls that name a metric, also under the names that modules give them, by kind.
_METRIC_CALLS = {
    "counter": "counter",
    "counter_series": "counter",
    "gauge": "gauge",
    "sample": "sample",
    "sample_series": "sample",
    "sampled": "sample",
    "_count": "counter",
}


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n"
        for line in lines
    )


def code(text: object) -> str:
    """Return a text as code, nothing for nothing."""
    return f"`{text}`" if text else ""


def summary(thing: object) -> str:
    """Return the first line of a docstring, as Markdown."""
    lines = (inspect.getdoc(thing) or "").splitlines() or [""]
    return lines[0].replace("``", "`")


def rule(acl: object) -> str:
    """Return the ACL rule of a route or method in words."""
    if isinstance(acl, Openness):
        return acl.value
    return summary(acl).removesuffix(".")


# --- the tables -----------------------------------------------------------------------


def configuration(_plugins: Plugins) -> str:
    """Return all keys of the configuration."""
    rows = reference_rows(AGENT_AND_DEFINITION_KEYS, FLAGS_BY_KEY)
    return table(
        ("key", "type", "default", "reload", "flags", "remarks"),
        (
            (
                code(row.key),
                row.type,
                code(row.default),
                "yes" if row.reloadable else "",
                code(row.flag),
                row.remark,
            )
            for row in rows
        ),
    )


def http(plugins: Plugins) -> str:
    """Return all HTTP endpoints."""
    return table(
        ("endpoint", "what it does", "ACL rule"),
        (
            (
                code(f"{' '.join(route.methods)} {_shown_path(route.path)}".strip()),
                summary(route.function),
                "that of its RPC method"
                if route.acl is Openness.PUBLIC
                else rule(route.acl),
            )
            for route in all_routes(plugins)
        ),
    )


def _route_rule(acl: object) -> str:
    # Routes that pass a request on leave the decision to the server's method.
    return "that of the RPC method" if acl is Openness.PUBLIC else rule(acl)


def _shown_path(path: str) -> str:
    return f"{path}…" if path.endswith("/") else path


def rpc(plugins: Plugins) -> str:
    """Return all RPC methods that servers answer."""
    methods = [m for endpoint in plugins.rpc_endpoints for m in endpoint.methods()]
    return table(
        ("method", "what it does", "request", "runs at", "ACL rule"),
        (
            (
                code(method.name),
                summary(method.run),
                code(method.request.__name__),
                _place(method),
                rule(method.acl),
            )
            for method in sorted(methods, key=lambda method: method.name)
        ),
    )


def _place(method: Any) -> str:
    if method.write:
        return "the leader"
    return "the server asked" if method.local else "the leader, unless stale"


def checks(plugins: Plugins) -> str:
    """Return all check types."""
    return table(
        ("type", "what it does", "module"),
        (
            (code(kind.kind), summary(inspect.getmodule(type(kind))), _module(kind))
            for kind in plugins.check_types
        ),
    )


def dns(plugins: Plugins) -> str:
    """Return all forms of names."""
    return table(
        ("form", "names", "label"),
        (
            (
                code(form.name),
                summary(inspect.getmodule(type(form))),
                " ".join(code(label) for label in form.labels),
            )
            for form in plugins.dns_forms
        ),
    )


def _module(plugin: object) -> str:
    return code(type(plugin).__module__)


def metrics(_plugins: Plugins) -> str:
    """Return all metrics that the code names, in its own words without the prefix."""
    found = sorted(set(_metric_names()))
    return table(
        ("metric", "kind", "module"),
        ((code(name), kind, code(module)) for name, kind, module in found),
    )


def _metric_names() -> Iterator[tuple[str, str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if "testing" in path.parts:
            continue
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            kind, name = _METRIC_CALLS.get(called), _text(node.args[0])
            # Every metric belongs to a part of the agent: its name has a dot.
            if kind and "." in name:
                yield name, kind, module


def _text(node: ast.expr) -> str:
    """Return a literal text; what is filled in shows as its expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part) if isinstance(part, ast.Constant) else f"<{_filled(part)}>"
            for part in node.values
        )
    return ""


def _filled(part: ast.expr) -> str:
    assert isinstance(part, ast.FormattedValue)
    return ast.unparse(part.value)


def modules(package: Path) -> str:
    """Return the modules of a package, each with what it says of itself."""
    rows = []
    for path in sorted(package.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.name != "__init__.py":
            name = path.relative_to(package).with_suffix("").as_posix()
            rows.append((code(name), text.partition("\n")[0].replace("``", "`")))
    return table(("module", "what it is"), rows)


TABLES: dict[str, Callable[[Plugins], str]] = {
    "configuration": configuration,
    "http": http,
    "rpc": rpc,
    "checks": checks,
    "dns": dns,
    "metrics": metrics,
}


def write_all(folder: Path) -> None:
    """Write all tables into a folder."""
    (folder / "modules").mkdir(parents=True, exist_ok=True)
    plugins = discover()
    for name, make in TABLES.items():
        _write(folder / f"{name}.md", make(plugins))
    for package in sorted(PACKAGE.iterdir()):
        if (package / "__init__.py").exists():
            _write(folder / "modules" / f"{package.name}.md", modules(package))


def _write(path: Path, text: str) -> None:
    # Sphinx builds a page anew only where its sources changed.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
