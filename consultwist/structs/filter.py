"""The filter expression language over any record.

::

    keep = compile_filter('Service.Meta.env == "qa"', CheckServiceNode)
    found = [row for row in rows if keep(row)]

Which operators a field has depends on its type: texts ``==``, ``matches`` and
``in``/``contains`` as substring; numbers and booleans ``==``; lists of texts
``in``/``contains`` and ``is empty``; maps the same for their keys, and their values by
selector (``Meta.env``, ``Meta["my env"]``). A condition on a field of the records in a
list asks whether any of them meets it. What is missing in a map is unequal to
everything, not even to the empty text.
"""

import re
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from consultwist.errors import BadRequest
from consultwist.structs.filter_syntax import AllOf, AnyOf, Match, Not, Term, parse
from consultwist.wire.regexp import compile_regexp
from consultwist.wire.struct import FieldSpec, Struct, field_specs, without_none

#: Tells whether a record meets a filter.
Filter = Callable[[Any], bool]

#: Filters that are kept compiled.
_COMPILED_MAX: Final = 256

#: Operators that hold where there is nothing to look at. That "matches" is one of them
#: is how stock Consul 1.8 behaves.
_HOLD_FOR_NOTHING: Final = frozenset(
    ("Not Equal", "Not In", "Matches", "Not Matches", "Is Empty")
)

_TEXT_OPERATORS: Final = frozenset(
    ("Equal", "Not Equal", "In", "Not In", "Matches", "Not Matches")
)
_EQUALITY: Final = frozenset(("Equal", "Not Equal"))
_EMPTINESS: Final = frozenset(("Is Empty", "Is Not Empty"))
_CONTAINMENT: Final = frozenset(("In", "Not In"))


def compile_filter(text: str, cls: type[Struct]) -> Filter:
    """Return what tells whether a record of a class meets a filter.

    Args:
        text: the expression; an empty one keeps everything.
        cls: the class of the records, whose JSON names are the selectors.

    Raises:
        BadRequest: with stock Consul's text for a mistake.
    """
    return _compiled(text, cls) if text else lambda _: True


@lru_cache(_COMPILED_MAX)
def _compiled(text: str, cls: type[Struct]) -> Filter:
    try:
        return _compile(parse(text), cls)
    except BadRequest as error:
        raise FilterError(
            f"Failed to create boolean expression evaluator: {error}"
        ) from None


class FilterError(BadRequest):
    """A filter expression with a mistake; stock Consul 1.8 answers 500 for it."""

    status = 500


def _compile(term: Term, cls: type[Struct]) -> Filter:
    if isinstance(term, Match):
        return _field(cls, term, 0)
    if isinstance(term, Not):
        inner = _compile(term.term, cls)
        return lambda record: not inner(record)
    filters = [_compile(one, cls) for one in term.terms]
    if isinstance(term, AnyOf):
        return lambda record: any(keep(record) for keep in filters)
    assert isinstance(term, AllOf)
    return lambda record: all(keep(record) for keep in filters)


# --- from the selector to the field ------------------------------------------------


def _field(cls: type[Struct], match: Match, at: int) -> Filter:
    """Return the condition on a record: its field, and what stands behind."""
    spec = _selectable(cls).get(match.selector[at])
    if spec is None:
        raise _no_selector(match, at)
    inner = _value(spec.type, match, at + 1)
    attribute = spec.attribute
    return lambda record: inner(getattr(record, attribute))


def _no_selector(match: Match, at: int) -> BadRequest:
    shown = ".".join(match.selector[: at + 1])
    return BadRequest(f'Selector "{shown}" is not valid')


@lru_cache(None)
def _selectable(cls: type[Struct]) -> dict[str, FieldSpec]:
    """Return the fields that filters may name, by their JSON name."""
    return {
        spec.json: spec
        for spec in field_specs(cls)
        if spec.json != "-" and spec.filterable and _has_operators(spec.type)
    }


def _has_operators(hint: Any) -> bool:
    """Tell whether there is anything to ask about values of a type."""
    hint, _ = without_none(hint)
    if typing.get_origin(hint) in (list, dict):
        return _has_operators(typing.get_args(hint)[-1])
    if isinstance(hint, type) and issubclass(hint, Struct):
        return True
    return hint in _LEAVES


def _value(hint: Any, match: Match, at: int) -> Filter:
    """Return the condition on a value of a type, at a part of the selector."""
    hint, _ = without_none(hint)
    ends = at == len(match.selector)
    origin = typing.get_origin(hint)
    if origin is dict:
        return _map(match) if ends else _entry(hint, match, at)
    if origin is list:
        return _list(hint, match) if ends else _any_item(hint, match, at)
    if isinstance(hint, type) and issubclass(hint, Struct):
        if ends:
            raise _no_operator(match)
        return _or_nothing(_field(hint, match, at), match)
    if not ends:
        raise _no_selector(match, at)
    return _LEAVES[hint](match)


def _no_operator(match: Match) -> BadRequest:
    selector = ".".join(match.selector)
    return BadRequest(
        f'Invalid match operator "{match.operator}" for selector "{selector}"'
    )


def _require(match: Match, operators: frozenset[str]) -> None:
    if match.operator not in operators:
        raise _no_operator(match)


def _or_nothing(inner: Filter, match: Match) -> Filter:
    holds = match.operator in _HOLD_FOR_NOTHING
    return lambda value: holds if value is None else inner(value)


def _entry(hint: Any, match: Match, at: int) -> Filter:
    """Return the condition on one value of a map."""
    key = match.selector[at]
    inner = _or_nothing(_value(typing.get_args(hint)[1], match, at + 1), match)
    return lambda value: inner(value.get(key) if value else None)


def _any_item(hint: Any, match: Match, at: int) -> Filter:
    """Return the condition that some record of a list meets the rest."""
    item, _ = without_none(typing.get_args(hint)[0])
    if not (isinstance(item, type) and issubclass(item, Struct)):
        raise _no_selector(match, at)
    inner = _field(item, match, at)
    return lambda value: any(inner(one) for one in value or ())


# --- operators by type -------------------------------------------------------------


def _map(match: Match) -> Filter:
    _require(match, _CONTAINMENT | _EMPTINESS)
    return _emptiness(match) or _containment(match)


def _list(hint: Any, match: Match) -> Filter:
    of_texts = without_none(typing.get_args(hint)[0])[0] is str
    _require(match, _CONTAINMENT | _EMPTINESS if of_texts else _EMPTINESS)
    return _emptiness(match) or _containment(match)


def _emptiness(match: Match) -> Filter | None:
    if match.operator == "Is Empty":
        return lambda value: not value
    if match.operator == "Is Not Empty":
        return bool
    return None


def _containment(match: Match) -> Filter:
    wanted = match.value
    if match.operator == "In":
        return lambda value: bool(value) and wanted in value
    return lambda value: not value or wanted not in value


def _text(match: Match) -> Filter:
    _require(match, _TEXT_OPERATORS)
    wanted = match.value
    if match.operator in _EQUALITY:
        return _equality(match, wanted)
    if match.operator in _CONTAINMENT:
        # As a substring, so that the empty text is in every text.
        if match.operator == "In":
            return lambda value: wanted in value
        return lambda value: wanted not in value
    try:
        search = compile_regexp(wanted)
    except BadRequest as error:
        raise BadRequest(
            f"Failed to compile regular expression {_quoted(wanted)}: {error}"
        ) from None
    if match.operator == "Matches":
        return search
    return lambda value: not search(value)


def _equality(match: Match, wanted: Any) -> Filter:
    if match.operator == "Equal":
        return lambda value: bool(value == wanted)
    return lambda value: bool(value != wanted)


def _coerced(match: Match, convert: Callable[[str], Any]) -> Filter:
    _require(match, _EQUALITY)
    try:
        wanted = convert(match.value)
    except ValueError as error:
        selector = ".".join(match.selector)
        raise BadRequest(
            f"Failed to coerce value {_quoted(match.value)}"
            f' for selector "{selector}": {error}'
        ) from None
    return _equality(match, wanted)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_INTEGER: Final = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0"
    r"|[1-9](?:_?[0-9])*)"
)
_INT64_MAX: Final = 2**63 - 1
#: Digits of the longest 64-bit number, written in base 2 with underscores.
_INTEGER_MAX_CHARS: Final = 140


def _integer(text: str) -> int:
    """Read an integer as Go's ``strconv.ParseInt`` with base 0."""
    if len(text) > _INTEGER_MAX_CHARS or not _INTEGER.fullmatch(text):
        raise ValueError(f"strconv.ParseInt: parsing {_quoted(text)}: invalid syntax")
    bare = text.lstrip("+-")
    octal = len(bare) > 1 and bare[0] == "0" and bare[1] in "01234567_"
    value = int(bare[1:].lstrip("_"), 8) if octal else int(bare, 0)
    value = -value if text[0] == "-" else value
    if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        raise ValueError(
            f"strconv.ParseInt: parsing {_quoted(text)}: value out of range"
        )
    return value


#: What Go's strconv.ParseBool takes.
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        raise ValueError(f"strconv.ParseBool: parsing {_quoted(text)}: invalid syntax")
    return value


_REAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _real(text: str) -> float:
    if not _REAL.fullmatch(text):
        raise ValueError(f"strconv.ParseFloat: parsing {_quoted(text)}: invalid syntax")
    return float(text)


_LEAVES: Final[dict[Any, Callable[[Match], Filter]]] = {
    str: _text,
    int: lambda match: _coerced(match, _integer),
    bool: lambda match: _coerced(match, _boolean),
    float: lambda match: _coerced(match, _real),
}
