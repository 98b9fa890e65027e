"""The grammar of filter expressions, and what it says about mistakes.

::

    expr     := and ("or" and)*
    and      := not ("and" not)*
    not      := "not" not | "(" expr ")" | match
    match    := selector op value | selector "is" ["not"] "empty"
              | value ["not"] "in" selector
    selector := ident ("." ident | "[" string "]")*

Stock Consul's parser is generated from a parsing expression grammar: it tries
alternatives in order and reports what it would have taken at the furthest point that
any of them reached. This one works alike, so that it says the same. Each rule is tried
once at each position, hence the time is linear.
"""

import re
from collections.abc import Callable
from typing import Final, NoReturn

import attrs

from consultwist.errors import BadRequest

#: Expressions beyond these are refused; stock Consul bounds only the whole request.
EXPRESSION_MAX_CHARS: Final = 16 * 1024
DEPTH_MAX: Final = 40

_SPACE: Final = re.compile(r"[ \t\r\n]+")
_IDENTIFIER: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_WHOLE: Final = re.compile(r"0|[1-9][0-9]*")
_FRACTION: Final = re.compile(r"\.[0-9]+")

_SPACE_SHOWN: Final = r"[ \t\r\n]"

#: Operators between a selector and a value: words, then Go's name.
_Operators = tuple[tuple[tuple[str, ...], str], ...]
_VALUE_OPERATORS: Final[_Operators] = (
    (("==",), "Equal"),
    (("!=",), "Not Equal"),
    (("contains",), "In"),
    (("not", "contains"), "Not In"),
    (("matches",), "Matches"),
    (("not", "matches"), "Not Matches"),
)
_BARE_OPERATORS: Final[_Operators] = (
    (("is", "empty"), "Is Empty"),
    (("is", "not", "empty"), "Is Not Empty"),
)
_IN_OPERATORS: Final[_Operators] = ((("in",), "In"), (("not", "in"), "Not In"))


@attrs.frozen
class Match:
    """A condition on one field.

    Attributes:
        selector: the names and keys on the way to the field.
        operator: Go's name of the operator, such as ``Not Equal``.
        value: what the field is compared with, if anything.
    """

    selector: tuple[str, ...]
    operator: str
    value: str = ""


@attrs.frozen
class Not:
    """The opposite of a condition."""

    term: "Term"


@attrs.frozen
class AnyOf:
    """At least one condition holds."""

    terms: tuple["Term", ...]


@attrs.frozen
class AllOf:
    """Every condition holds."""

    terms: tuple["Term", ...]


Term = Match | Not | AnyOf | AllOf


def parse(text: str) -> Term:
    """Return the expression that a text stands for.

    Raises:
        BadRequest: with the text of stock Consul's parser.
    """
    if len(text) > EXPRESSION_MAX_CHARS:
        raise BadRequest(f"expression longer than {EXPRESSION_MAX_CHARS} characters")
    return _Parser(text).parse()


class _Parser:
    """One pass over an expression.

    Every reading method leaves the position behind what it read, or where it was and
    returns None.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._furthest = 0
        self._expected: set[str] = set()
        self._known: dict[tuple[str, int], tuple[Term | None, int]] = {}

    def parse(self) -> Term:
        """Read the whole text."""
        self._space()
        term = self._either()
        if term is not None:
            self._space()
            if self._at == len(self._text):
                return term
            self._expect("EOF")
        raise self._unmatched()

    # --- mistakes --------------------------------------------------------------------

    def _expect(self, what: str) -> None:
        if self._at > self._furthest:
            self._furthest = self._at
            self._expected.clear()
        if self._at == self._furthest:
            self._expected.add(what)

    def _refuse(self, rule: str, message: str, at: int) -> NoReturn:
        raise BadRequest(f'{self._where(at)}: rule "{rule}": {message}')

    def _unmatched(self) -> BadRequest:
        wanted = sorted(self._expected - {"EOF"})
        wanted += ["EOF"] if "EOF" in self._expected else []
        shown = ", ".join(wanted[:-1])
        shown = f"{shown} or {wanted[-1]}" if shown else wanted[-1]
        where = self._where(self._furthest)
        return BadRequest(f"{where}: no match found, expected: {shown}")

    def _where(self, at: int) -> str:
        before = self._text[:at]
        line = before.count("\n") + 1
        column = at - (before.rfind("\n") + 1) + 1
        offset = len(before.encode("utf-8", "surrogateescape"))
        return f"{line}:{column} ({offset})"

    # --- words -----------------------------------------------------------------------

    def _literal(self, word: str) -> bool:
        if self._text.startswith(word, self._at):
            self._at += len(word)
            return True
        self._expect(f'"{word}"' if word != '"' else r'"\""')
        return False

    def _space(self) -> bool:
        found = _SPACE.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        self._expect(_SPACE_SHOWN)
        return found is not None

    def _operator(self, words: tuple[str, ...], *, closing: bool) -> bool:
        """Read words with space before each; `closing` wants space behind them."""
        start = self._at
        for word in words:
            if not self._space() or not self._literal(word):
                self._at = start
                return False
        if closing and not self._space():
            self._at = start
            return False
        return True

    def _symbol(self, symbol: str) -> bool:
        start = self._at
        self._space()
        if not self._literal(symbol):
            self._at = start
            return False
        self._space()
        return True

    # --- conditions ------------------------------------------------------------------

    def _once(self, rule: str, read: Callable[[], Term | None]) -> Term | None:
        start = self._at
        known = self._known.get((rule, start))
        if known is None:
            term = read()
            known = self._known[rule, start] = (term, self._at if term else start)
        self._at = known[1]
        return known[0]

    def _either(self) -> Term | None:
        return self._once("or", lambda: self._chain("or", self._all, AnyOf))

    def _all(self) -> Term | None:
        return self._once("and", lambda: self._chain("and", self._one, AllOf))

    def _chain(
        self,
        word: str,
        read: Callable[[], Term | None],
        joined: Callable[[tuple[Term, ...]], Term],
    ) -> Term | None:
        first = read()
        if first is None:
            return None
        terms = [first]
        while True:
            end = self._at
            more = self._operator((word,), closing=True) and read()
            if not more:
                self._at = end
                return terms[0] if len(terms) == 1 else joined(tuple(terms))
            terms.append(more)

    def _one(self) -> Term | None:
        return self._once("not", self._negation)

    def _negation(self) -> Term | None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise BadRequest(f"expression nested more than {DEPTH_MAX} times")
        try:
            start = self._at
            if self._literal("not") and self._space():
                term = self._one()
                if term is not None:
                    return Not(term)
            self._at = start
            return self._grouping() or self._match()
        finally:
            self._depth -= 1

    def _grouping(self) -> Term | None:
        start = self._at
        if not self._literal("("):
            return None
        self._space()
        term = self._either()
        if term is not None:
            self._space()
            if self._literal(")"):
                return term
            self._refuse("grouping", "Unmatched parentheses", self._at)
        self._at = start
        return None

    def _match(self) -> Term | None:
        start = self._at
        selector = self._selector()
        if selector is not None:
            found = self._selected(selector)
            if found is not None:
                return found
        self._at = start
        value = self._value()
        if value is not None:
            for words, operator in _IN_OPERATORS:
                if self._operator(words, closing=True):
                    selector = self._selector()
                    if selector is None:
                        self._refuse("match", "Invalid selector", self._at)
                    return Match(selector, operator, value)
        self._at = start
        return None

    def _selected(self, selector: tuple[str, ...]) -> Term | None:
        """Read what stands behind a selector."""
        start = self._at
        for words, operator in _VALUE_OPERATORS:
            symbolic = operator.endswith("Equal")
            if symbolic:
                found = self._symbol(words[0])
            else:
                found = self._operator(words, closing=True)
            if found:
                value = self._value()
                if value is not None:
                    return Match(selector, operator, value)
            self._at = start
        for words, operator in _BARE_OPERATORS:
            if self._operator(words, closing=False):
                return Match(selector, operator)
        return None

    # --- selectors and values --------------------------------------------------------

    def _identifier(self) -> str | None:
        found = _IDENTIFIER.match(self._text, self._at)
        if found is None:
            self._expect("[a-zA-Z]")
            return None
        self._at = found.end()
        self._expect("[a-zA-Z0-9_]")
        return found.group()

    def _selector(self) -> tuple[str, ...] | None:
        first = self._identifier()
        if first is None:
            return None
        parts = [first]
        while True:
            end = self._at
            part = self._identifier() if self._literal(".") else None
            if part is None:
                self._at = end
                part = self._index()
            if part is None:
                self._at = end
                return tuple(parts)
            parts.append(part)

    def _index(self) -> str | None:
        if not self._literal("["):
            return None
        self._space()
        key = self._string()
        if key is None:
            self._refuse("index", "Invalid index", self._at)
        self._space()
        if not self._literal("]"):
            self._refuse("index", "Unclosed index expression", self._at)
        return key

    def _value(self) -> str | None:
        selector = self._selector()
        if selector is not None:
            return ".".join(selector)
        number = self._number()
        return number if number is not None else self._string()

    def _number(self) -> str | None:
        start = self._at
        self._literal("-")
        whole = _WHOLE.match(self._text, self._at)
        if whole is None:
            self._expect('"0"')
            self._expect("[1-9]")
            self._at = start
            return None
        self._at = whole.end()
        if whole.group() != "0":
            self._expect("[0-9]")
        fraction = _FRACTION.match(self._text, self._at)
        if fraction is not None:
            self._at = fraction.end()
            self._expect("[0-9]")
        else:
            self._expect('"."')
        text = self._text
        if self._at < len(text) and text[self._at] not in " \t\r\n)":
            self._refuse("number", "Invalid number literal", self._at)
        return text[start : self._at]

    def _string(self) -> str | None:
        start = self._at
        for quote in ("`", '"'):
            if self._literal(quote):
                end = self._text.find(quote, self._at)
                if end < 0:
                    end = len(self._text)
                    self._refuse("string", "Unterminated string literal", end)
                self._at = end + 1
                if quote == "`":
                    return self._text[start + 1 : end].replace("\r", "")
                return self._unquoted(start, self._text[start + 1 : end])
        return None

    def _unquoted(self, start: int, text: str) -> str:
        if "\n" in text or not _GO_ESCAPES.fullmatch(text):
            self._refuse("string", "invalid syntax", start)
        return _unescape(text) if "\\" in text else text


#: The inside of a string in double quotes, as Go's strconv.Unquote takes it.
_GO_ESCAPES: Final = re.compile(
    r"(?:[^\\]|\\(?:[abfnrtv\\\"]|[0-3][0-7]{2}|x[0-9a-fA-F]{2}"
    r"|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|U000(?!0[dD][89a-fA-F])[0-9a-fA-F]{5}"
    r"|U0010[0-9a-fA-F]{4}))*"
)

#: One escape; those that stand for bytes of UTF-8 are taken together.
_ESCAPE: Final = re.compile(
    r"(?:\\(?:x[0-9a-fA-F]{2}|[0-3][0-7]{2}))+|\\u.{4}|\\U.{8}|\\."
)
_ESCAPED: Final = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


def _unescape(text: str) -> str:
    """Resolve the escapes of a text that matches `_GO_ESCAPES`."""
    return _ESCAPE.sub(_resolve, text)


def _resolve(found: re.Match[str]) -> str:
    escape = found.group()
    if escape[1] in "uU":
        return chr(int(escape.lstrip("\\uU"), 16))
    character = _ESCAPED.get(escape[1])
    if character is not None:
        return character
    octets = escape.split("\\")[1:]
    raw = bytes(int(o[1:], 16) if o[0] == "x" else int(o, 8) for o in octets)
    return raw.decode("utf-8", "surrogateescape")
