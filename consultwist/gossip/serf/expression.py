r"""Regular expressions in time proportional to the text, as RE2 matches them.

A query's tag filter is written by another member. Python's own matcher backtracks: an
expression of ten characters could stop an agent for hours. This one follows all ways
at once (Thompson, 1968), so that a match costs at most the length of the text times
that of the expression. It knows RE2's common syntax; what it does not know (named
classes by ``\p``) counts as a broken expression.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from consultwist.errors import BadRequest

#: Instructions of one program; RE2 stops at a repeat of 1000, too.
_PROGRAM_MAX: Final = 1000

_DEPTH_MAX: Final = 50

_Test = Callable[[str], bool]

_CHAR, _SPLIT, _JUMP, _ASSERT, _MATCH = range(5)

_SPACE = "\t\n\f\r "


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")


def _is_digit(char: str) -> bool:
    return "0" <= char <= "9"


def _is_space(char: str) -> bool:
    return char in _SPACE


_CLASSES: dict[str, _Test] = {"d": _is_digit, "w": _is_word, "s": _is_space}

_POSIX: dict[str, _Test] = {
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "digit": _is_digit,
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "upper": lambda c: "A" <= c <= "Z",
    "lower": lambda c: "a" <= c <= "z",
    "space": lambda c: c in "\t\n\v\f\r ",
    "punct": lambda c: c.isascii() and c.isprintable() and not c.isalnum() and c != " ",
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
    "word": _is_word,
}

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}

# (opcode, argument, argument): jumps are relative to the instruction.
_Code = tuple[int, object, int]


def _negated(test: _Test) -> _Test:
    return lambda char: not test(char)


def _ranges_test(ranges: list[tuple[str, str]], tests: list[_Test]) -> _Test:
    return lambda char: (
        any(low <= char <= high for low, high in ranges)
        or any(test(char) for test in tests)
    )


def _folded(test: _Test) -> _Test:
    return lambda char: test(char.lower()) or test(char.upper())


class _Compiler:
    """Recursive descent from the expression to a list of instructions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._folds = False
        self._dot_takes_all = False
        self._is_multiline = False

    def compile(self) -> list[_Code]:
        code = self._alternatives()
        if self._at < len(self._text):
            raise self._broken("unexpected )", 0)
        return [*code, (_MATCH, None, 0)]

    def _broken(self, what: str, start: int, end: int | None = None) -> BadRequest:
        """Return an error in RE2's words, which show the part that is wrong."""
        part = self._text[start:end]
        return BadRequest(f"error parsing regexp: {what}: `{part}`")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise self._broken("unexpected end", 0)
        self._at += 1
        return char

    def _skip(self, wanted: str) -> bool:
        if self._text.startswith(wanted, self._at):
            self._at += len(wanted)
            return True
        return False

    def _alternatives(self) -> list[_Code]:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise self._broken("expression nests too deeply", 0)
        code = self._sequence()
        while self._skip("|"):
            other = self._sequence()
            code = [
                (_SPLIT, 1, len(code) + 2),
                *code,
                (_JUMP, None, len(other) + 1),
                *other,
            ]
            self._check(code)
        self._depth -= 1
        return code

    def _check(self, code: list[_Code]) -> None:
        if len(code) > _PROGRAM_MAX:
            raise BadRequest("regexp too large")

    def _sequence(self) -> list[_Code]:
        code: list[_Code] = []
        while self._peek() not in ("", "|", ")"):
            code += self._repeated()
            self._check(code)
        return code

    def _repeated(self) -> list[_Code]:
        code = self._atom()
        start = self._at
        repeats = 0
        while (bounds := self._bounds()) is not None:
            repeats += 1
            if repeats > 1:
                wrong = "invalid nested repetition operator"
                raise self._broken(wrong, start, self._at)
            self._skip("?")
            code = self._expand(code, *bounds)
        return code

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._skip(sign):
                return bounds
        if self._peek() != "{":
            return None
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        if end < 0 or not _is_number(low) or not (high == "" or _is_number(high)):
            # As RE2: what is no repeat is text.
            return None
        least = int(low)
        most = None if comma and not high else int(high or low)
        if least > _PROGRAM_MAX or (most is not None and not least <= most <= 1000):
            raise self._broken("invalid repeat count", self._at, end + 1)
        self._at = end + 1
        return least, most

    def _expand(self, code: list[_Code], least: int, most: int | None) -> list[_Code]:
        copies = most if most is not None else least + 1
        if len(code) * copies > _PROGRAM_MAX:
            raise BadRequest("regexp too large")
        out = code * least
        size = len(code)
        if most is None:
            return [*out, (_SPLIT, 1, size + 2), *code, (_JUMP, None, -size - 1)]
        optional: list[_Code] = []
        for _ in range(most - least):
            optional = [(_SPLIT, 1, size + len(optional) + 1), *code, *optional]
        return out + optional

    def _atom(self) -> list[_Code]:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return self._single(self._class())
        if char == ".":
            takes_all = self._dot_takes_all
            return self._single(lambda c: takes_all or c != "\n")
        if char == "^":
            return [(_ASSERT, "line" if self._is_multiline else "begin", 0)]
        if char == "$":
            return [(_ASSERT, "line end" if self._is_multiline else "end", 0)]
        if char == "\\":
            return self._escape()
        if char in "*+?":
            wrong = "missing argument to repetition operator"
            raise self._broken(wrong, self._at - 1, self._at)
        return self._single(lambda c: c == char)

    def _single(self, test: _Test) -> list[_Code]:
        return [(_CHAR, _folded(test) if self._folds else test, 0)]

    def _group(self) -> list[_Code]:
        start = self._at - 1
        before = (self._folds, self._dot_takes_all, self._is_multiline)
        if self._skip("?P<"):
            self._at = self._text.find(">", self._at) + 1
            if not self._at:
                raise self._broken("invalid named capture", start)
        elif self._skip("?") and self._flags(start):
            return []
        code = self._alternatives()
        if not self._skip(")"):
            raise self._broken("missing closing )", 0)
        self._folds, self._dot_takes_all, self._is_multiline = before
        return code

    def _flags(self, start: int) -> bool:
        """Read flags; return True where they hold for the rest of the group."""
        value = True
        while (char := self._take()) not in ":)":
            if char == "-":
                value = False
            elif char == "i":
                self._folds = value
            elif char == "s":
                self._dot_takes_all = value
            elif char == "m":
                self._is_multiline = value
            else:
                wrong = "invalid or unsupported Perl syntax"
                raise self._broken(wrong, start, self._at)
        return char == ")"

    def _escape(self) -> list[_Code]:
        char = self._escaped()
        if char in "bB":
            return [(_ASSERT, "word" if char == "b" else "no word", 0)]
        if char in "Az":
            return [(_ASSERT, "begin" if char == "A" else "end", 0)]
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return self._single(_negated(test) if char.isupper() else test)
        literal = self._literal(char)
        return self._single(lambda c: c == literal)

    def _escaped(self) -> str:
        if not self._peek():
            wrong = "trailing backslash at end of expression"
            raise self._broken(wrong, self._at)
        return self._take()

    def _literal(self, char: str) -> str:
        """Return the character that an escape stands for."""
        start = self._at - 2
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "x":
            digits = self._take()
            if digits == "{":
                digits = ""
                while (char := self._take()) != "}":
                    digits += char
            else:
                digits += self._take()
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                wrong = self._broken("invalid escape sequence", start, self._at)
                raise wrong from None
        if char.isalnum() or not char.isascii():
            raise self._broken("invalid escape sequence", start, self._at)
        return char

    def _class(self) -> _Test:
        start = self._at - 1
        is_negated = self._skip("^")
        ranges: list[tuple[str, str]] = []
        tests: list[_Test] = []
        is_first = True
        while is_first or self._peek() != "]":
            is_first = False
            if not self._peek():
                raise self._broken("missing closing ]", start)
            item = self._at
            low = self._class_item(tests)
            if low is None:
                continue
            high = low
            after = self._text[self._at + 1 : self._at + 2]
            if self._peek() == "-" and after not in ("", "]"):
                self._at += 1
                upper = self._class_item(tests)
                if upper is None or upper < low:
                    wrong = "invalid character class range"
                    raise self._broken(wrong, item, self._at)
                high = upper
            ranges.append((low, high))
        self._at += 1
        test = _ranges_test(ranges, tests)
        if self._folds:
            test = _folded(test)
        return _negated(test) if is_negated else test

    def _class_item(self, tests: list[_Test]) -> str | None:
        """Read one character of a class; None where it was a class itself."""
        end = self._text.find(":]", self._at)
        if end >= 0 and self._skip("[:"):
            is_negated = self._skip("^")
            test = _POSIX.get(self._text[self._at : end])
            if test is None:
                wrong = "invalid character class range"
                raise self._broken(wrong, self._at - 2, end + 2)
            self._at = end + 2
            tests.append(_negated(test) if is_negated else test)
            return None
        char = self._take()
        if char != "\\":
            return char
        char = self._escaped()
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            tests.append(_negated(test) if char.isupper() else test)
            return None
        return self._literal(char)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


@lru_cache(maxsize=256)
def _program(expression: str) -> list[_Code]:
    return _Compiler(expression).compile()


def search(expression: str, text: str) -> bool:
    """Return whether an expression matches anywhere in a text.

    Raises:
        BadRequest: where the expression is broken or too large.
    """
    program = _program(expression)
    threads: dict[int, None] = {}
    for at in range(len(text) + 1):
        if _follow(program, 0, text, at, threads):
            return True
        if at == len(text):
            break
        char = text[at]
        following: dict[int, None] = {}
        for counter in threads:
            opcode, test, _ = program[counter]
            is_step = opcode == _CHAR and test(char)  # type: ignore[operator]
            if is_step and _follow(program, counter + 1, text, at + 1, following):
                return True
        threads = following
    return False


def _follow(
    program: list[_Code], start: int, text: str, at: int, threads: dict[int, None]
) -> bool:
    """Add every instruction that is reached without reading; True for a match."""
    stack = [start]
    while stack:
        counter = stack.pop()
        if counter in threads:
            continue
        threads[counter] = None
        opcode, argument, jump = program[counter]
        if opcode == _MATCH:
            return True
        if opcode == _JUMP:
            stack.append(counter + jump)
        elif opcode == _SPLIT:
            stack += (counter + jump, counter + 1)
        elif opcode == _ASSERT and _holds(str(argument), text, at):
            stack.append(counter + 1)
    return False


def _holds(assertion: str, text: str, at: int) -> bool:
    if assertion == "begin":
        return at == 0
    if assertion == "end":
        return at == len(text)
    if assertion == "line":
        return at == 0 or text[at - 1] == "\n"
    if assertion == "line end":
        return at == len(text) or text[at] == "\n"
    before = at > 0 and _is_word(text[at - 1])
    after = at < len(text) and _is_word(text[at])
    return (before != after) == (assertion == "word")
