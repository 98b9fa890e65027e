"""Regular expressions as Go has them: RE2 syntax, in time linear to the text.

Python's own engine can take exponential time, so that a request could stop the agent.
The package is imported with the first expression that needs it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from consultwist.errors import BadRequest

#: Longer expressions are refused; stock Consul only bounds the whole request.
PATTERN_MAX_CHARS: Final = 4096
#: Memory for the automaton of one expression.
_MEMORY_MAX_BYTES: Final = 1024 * 1024
#: Expressions that are kept compiled.
_COMPILED_MAX: Final = 256

#: What tells whether an expression matches somewhere in a text.
Matcher = Callable[[str], bool]

#: Text between anchors needs no engine.
_LITERAL: Final = re.compile(r"(\^?)([A-Za-z0-9_/:@ ,\-]*)(\$?)")
#: What RE2 takes and Go refuses.
_GO_REFUSES: Final = re.compile(r"\\(?P<escape>.)|(?P<perl>\(\?<)(?![=!])", re.DOTALL)

_GO_WORDS: Final = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "no argument for repetition operator": "missing argument to repetition operator",
    "invalid named capture group": "invalid named capture",
    "invalid perl operator": "invalid or unsupported Perl syntax",
}


@lru_cache(_COMPILED_MAX)
def compile_regexp(pattern: str) -> Matcher:
    """Return what searches a text for an expression.

    Raises:
        BadRequest: with the text of Go's ``regexp.Compile``.
    """
    if len(pattern) > PATTERN_MAX_CHARS:
        raise BadRequest("error parsing regexp: expression too long")
    literal = _LITERAL.fullmatch(pattern)
    if literal is not None:
        return _literal_matcher(bool(literal[1]), literal[2], bool(literal[3]))
    _refuse_as_go(pattern)
    # Late: three megabytes that most agents never need.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_MAX_BYTES
    try:
        compiled: Any = re2.compile(_encoded(pattern), options)
    except re2.error as error:
        raise BadRequest(_go_text(error.args[0])) from None
    return lambda text: compiled.search(_encoded(text)) is not None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _literal_matcher(at_start: bool, text: str, at_end: bool) -> Matcher:
    if at_start and at_end:
        return text.__eq__
    if at_start:
        return lambda subject: subject.startswith(text)
    if at_end:
        return lambda subject: subject.endswith(text)
    return lambda subject: text in subject


def _refuse_as_go(pattern: str) -> None:
    for found in _GO_REFUSES.finditer(pattern):
        if found["perl"]:
            raise BadRequest(
                "error parsing regexp: invalid or unsupported Perl syntax: `(?<`"
            )
        if found["escape"] == "C":
            raise BadRequest(r"error parsing regexp: invalid escape sequence: `\C`")


def _go_text(error: bytes) -> str:
    text = error.decode("utf-8", "replace")
    if text.startswith("trailing \\"):
        return "error parsing regexp: trailing backslash at end of expression: ``"
    words, _, where = text.partition(": ")
    return f"error parsing regexp: {_GO_WORDS.get(words, words)}: `{where}`"
