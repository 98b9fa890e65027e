"""What a check expects beyond Consul's rules: additions of ours.

`Expectations` judge the answer of an HTTP check: its status code, and what its body
must hold. `Cautions` turn a pass of any check into a warning, where it took long or
where the server's certificate is about to expire.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from consultwist import durations
from consultwist.checks.outcome import PASSING, WARNING, Outcome, OutputTail
from consultwist.errors import BadRequest
from consultwist.structs.catalog import CheckType
from consultwist.wire.regexp import Matcher, compile_regexp

#: So much of a body is looked into; what comes behind matches nothing.
BODY_MAX_BYTES: Final = 1024 * 1024
#: So many conditions one check may have.
_CONDITIONS_MAX: Final = 64

_CODES: Final = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")
_PATH: Final = re.compile(r"\$(?:\.[^.\[\]]+|\[[0-9]{1,9}\])*")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")


class BodyKeeper(OutputTail):
    """Keeps the beginning of a body as well, for those who look into it."""

    __slots__ = ("_head",)

    def __init__(self, size_max: int) -> None:
        super().__init__(size_max)
        self._head = bytearray()

    def add(self, data: bytes) -> None:
        """Take the next piece of the body."""
        super().add(data)
        self._head += data[: BODY_MAX_BYTES - len(self._head)]

    def head(self) -> str:
        """Return the beginning of the body."""
        return self._head.decode("utf-8", "surrogateescape")


@attrs.frozen
class Expectations:
    """What the answer of an HTTP check must be.

    Attributes:
        codes: ranges of status codes that pass; empty for Consul's rule.
        pattern: a regular expression that the body must match, and what finds it.
        values: by path, what must stand there in the body.
    """

    codes: tuple[range, ...] = ()
    pattern: tuple[str, Matcher] | None = None
    values: Mapping[str, str] = attrs.Factory(dict)

    @classmethod
    def of(cls, check: CheckType) -> "Expectations":
        """Return what a definition expects.

        Raises:
            BadRequest: where a range, an expression or a path cannot be understood.
        """
        codes = check.expected_status or ()
        values = check.body_json or {}
        if max(len(codes), len(values)) > _CONDITIONS_MAX:
            raise BadRequest(f"A check has at most {_CONDITIONS_MAX} conditions")
        for path in values:
            if not _PATH.fullmatch(path):
                raise BadRequest(f"BodyJSON has an invalid path {path!r}")
        pattern = check.body_match
        return cls(
            tuple(_code_range(text) for text in codes),
            (pattern, compile_regexp(pattern)) if pattern else None,
            values,
        )

    @property
    def looks_into_body(self) -> bool:
        """Whether the body matters."""
        return self.pattern is not None or bool(self.values)

    def admits(self, code: int) -> bool | None:
        """Tell whether a status code passes; None where Consul's rule decides."""
        if not self.codes:
            return None
        return any(code in codes for codes in self.codes)

    def body_fault(self, body: str) -> str:
        """Return what is wrong with a body, or nothing."""
        if self.pattern is not None and not self.pattern[1](body):
            return f"the body does not match {self.pattern[0]!r}"
        if not self.values:
            return ""
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return "the body is not JSON"
        for path, wanted in self.values.items():
            found = value_at(document, path)
            if found != wanted:
                shown = "nothing" if found is None else repr(found)
                return f"the body has {shown} at {path}, not {wanted!r}"
        return ""


def _code_range(text: str) -> range:
    found = _CODES.fullmatch(text)
    if not found:
        raise BadRequest(f"ExpectedStatus has an invalid status code {text!r}")
    first = int(found[1])
    return range(first, int(found[2] or first) + 1)


def value_at(document: Any, path: str) -> str | None:
    """Return the value at a path such as ``$.db[0].state``; None where there is none.

    Texts are as they are; anything else as JSON writes it: ``true``, ``3``, ``null``.
    """
    for name, index in _STEP.findall(path):
        if name and isinstance(document, dict) and name in document:
            document = document[name]
        elif index and isinstance(document, list) and int(index) < len(document):
            document = document[int(index)]
        else:
            return None
    return document if isinstance(document, str) else json.dumps(document)


class Cautions:
    """Warnings about checks that pass."""

    def __init__(self, check: CheckType) -> None:
        self._latency = check.latency_warning
        self._expiry = check.certificate_expiry_warning

    def apply(self, outcome: Outcome, took_s: float, now_wall: float) -> Outcome:
        """Return an outcome, or the warning that takes its place.

        Args:
            outcome: of the check.
            took_s: how long the check ran.
            now_wall: the time of the wall clock.
        """
        if outcome.status != PASSING:
            return outcome
        end = outcome.certificate_end
        left_s = math.inf if end is None else end - now_wall
        if self._expiry and left_s * durations.SECOND < self._expiry:
            left = durations.render(round(left_s) * durations.SECOND)
            text = f"the server's certificate expires in {left}"
        elif 0 < self._latency < took_s * durations.SECOND:
            took = durations.render(round(took_s * 1000) * durations.MILLISECOND)
            text = f"the check took {took}, more than {durations.render(self._latency)}"
        else:
            return outcome
        return attrs.evolve(outcome, status=WARNING, output=f"{text}: {outcome.output}")
