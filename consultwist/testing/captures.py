"""HTTP calls recorded on a real Consul, made again and compared.

A recording is a JSON list; each entry holds a request, the answer, and which paths of
the answer vary from run to run (``volatile``). Entries build on each other: some save a
value under a name that later requests use as ``${name}``.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs

from consultwist.testing.http import HTTPAnswer, HTTPClient

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
#: Some error texts name an index of the log, which varies as those elsewhere do.
_INDEX: Final = re.compile(r"index \d+")
#: About one connection, not about the answer.
_HOP_BY_HOP: Final = ("Connection",)
_STEP: Final = re.compile(r"\[(\d+|\*|length)\]|\.?([^.\[\]]+)")


def load_captures(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a recording."""
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries


@attrs.define
class Replay:
    """Makes recorded calls again, in order.

    Attributes:
        client: who makes them.
        wait: called while an answer is outstanding, with the entry's id; lets virtual
            time pass until the answer is there.
        saved: the values by name that requests refer to.
    """

    client: HTTPClient
    wait: Callable[[str], None]
    saved: dict[str, str] = attrs.Factory(dict)

    def run(self, entry: dict[str, Any]) -> list[str]:
        """Make one call; return how its answer differs from the recorded one."""
        request = entry["request"]
        fill = self._fill
        target = quote(fill(request["path"]), safe="/?&=%+,;:@$!'()*~-._")
        body, headers = _body(request, fill), dict(request.get("headers", {}))
        self.client.ask(request["method"], target, body, headers)
        if not self.client.transport.written:
            self.wait(entry["id"])
        answer = self.client.answer()
        self._save(entry, answer)
        return list(differences(entry, answer))

    def _fill(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self.saved[match[1]], text)

    def _save(self, entry: dict[str, Any], answer: HTTPAnswer) -> None:
        for name, place in entry.get("save", {}).items():
            if place.startswith("@"):
                self.saved[name] = answer.headers[place[1:]]
                continue
            value = answer.json
            for step in place.split("."):
                value = value[int(step)] if isinstance(value, list) else value[step]
            self.saved[name] = str(value)


def _body(request: dict[str, Any], fill: Callable[[str], str]) -> bytes:
    if "body" in request:
        return fill(json.dumps(request["body"])).encode()
    raw = request.get("raw_body", "")
    if isinstance(raw, str):
        return raw.encode()
    if "repeat" in raw:
        return str(raw["repeat"]).encode() * int(raw["count"])
    return base64.b64decode(raw["base64"])


def differences(entry: dict[str, Any], answer: HTTPAnswer) -> Iterator[str]:
    """Yield how an answer differs from the recorded one, outside what is volatile."""
    if answer.status != entry["status"]:
        yield f"status: {answer.status} instead of {entry['status']}"
    volatile = [_steps(path) for path in entry["volatile"]]
    for name, value in entry["headers"].items():
        given = answer.headers.get(name)
        if name in _HOP_BY_HOP:
            continue
        if given is None or (given != value and ["headers", name] not in volatile):
            yield f"header {name}: {given!r} instead of {value!r}"
    kind = entry["body_kind"]
    if kind == "json":
        yield from _compare(entry["body"], answer.json, ["body"], volatile)
    elif kind == "text":
        yield from _compare(entry["body"], answer.text, ["body"], volatile)
    elif kind == "empty":
        if answer.body:
            yield f"body: {answer.body!r} instead of nothing"
    else:
        recorded = base64.b64decode(entry["body"])
        if answer.body[: len(recorded)] != recorded:
            yield f"body: {answer.body!r} instead of {recorded!r}"


def _steps(path: str) -> list[str]:
    return [index or name for index, name in _STEP.findall(path)]


def _compare(
    wanted: Any, given: Any, path: list[str], volatile: list[list[str]]
) -> Iterator[str]:
    if any(_covers(pattern, path) for pattern in volatile):
        return
    if isinstance(wanted, dict) and isinstance(given, dict):
        for name in sorted(wanted.keys() | given.keys()):
            here = [*path, name]
            if name not in given or name not in wanted:
                yield f"{'.'.join(here)}: only in one of the two"
            else:
                yield from _compare(wanted[name], given[name], here, volatile)
    elif isinstance(wanted, list) and isinstance(given, list):
        if len(wanted) != len(given) and [*path, "length"] not in volatile:
            yield f"{'.'.join(path)}: {len(given)} items instead of {len(wanted)}"
        for number, (one, other) in enumerate(zip(wanted, given, strict=False)):
            yield from _compare(one, other, [*path, str(number)], volatile)
    elif _without_index(wanted) != _without_index(given):
        yield f"{'.'.join(path)}: {given!r} instead of {wanted!r}"


def _without_index(value: Any) -> Any:
    return _INDEX.sub("index ...", value) if isinstance(value, str) else value


def _covers(pattern: list[str], path: list[str]) -> bool:
    return len(pattern) == len(path) and all(
        step in ("*", there) for step, there in zip(pattern, path, strict=True)
    )
