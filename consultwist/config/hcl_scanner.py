"""The scanner of HCL 1: characters to tokens, with the positions HCL reports.

HCL counts columns in its own way, and its error texts show them: a token that ends
with the text has already looked one character past the end, which counts as a
column. The scanner keeps that habit, so that messages point where they always did.
"""

import re

import attrs

from consultwist.errors import ConfigError

#: What ends a file while scanning.
_END = ""

_IDENTIFIER = re.compile(r"[^\W\d][\w.\-]*")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]*")
_DECIMAL = re.compile(r"\d+(\.\d*)?([eE][+-]?\d*)?")
_FRACTION = re.compile(r"\.\d+([eE][+-]?\d*)?")
_ANCHOR = re.compile(r"\w+")

_PUNCTUATION = {
    "[": "LBRACK",
    "]": "RBRACK",
    "{": "LBRACE",
    "}": "RBRACE",
    ",": "COMMA",
    "=": "ASSIGN",
    "+": "ADD",
    "-": "SUB",
    ".": "PERIOD",
}
_SIMPLE_ESCAPES = 'abfnrtv\\"'
#: After a backslash: how many digits of which base.
_NUMERIC_ESCAPES = {"x": (2, 16), "X": (2, 16), "u": (4, 16), "U": (8, 16)}
_DIGITS = {8: "01234567", 16: "0123456789abcdefABCDEF"}


@attrs.frozen
class Position:
    """A place in a text, counted from one."""

    line: int
    column: int

    def __str__(self) -> str:
        """Return ``line:column``."""
        return f"{self.line}:{self.column}"


@attrs.frozen
class Token:
    """One word of the language: its kind by HCL's name, its text, its place."""

    kind: str
    text: str
    position: Position

    def __str__(self) -> str:
        """Return the form that HCL shows of an unexpected token."""
        return f"{self.position} {self.kind} {self.text}"


class Scanner:
    """Reads the tokens of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = 1
        self._column = 0
        self._last_line_length = 0
        #: The last mistake found; HCL reports that one.
        self.error: ConfigError | None = None

    def scan(self) -> Token:
        """Return the next token that is no comment; at the end, ``EOF``."""
        while True:
            character = self._next()
            while character and character in " \t\n\r":
                character = self._next()
            start, position = self._offset - len(character), self._position()
            kind = self._kind(character)
            if kind != "COMMENT":
                return Token(kind, self._text[start : self._offset], position)

    def _kind(self, character: str) -> str:
        if character == _END:
            return "EOF"
        if character.isalpha() or character == "_":
            return self._identifier()
        if character.isdecimal():
            return self._number()
        if character == '"':
            return self._string()
        if character in "#/":
            return self._comment(character)
        if character == "<":
            return self._heredoc()
        following = self._peek()
        if character == "." and following.isdecimal():
            self._take(_FRACTION)
            return "FLOAT"
        if character == "-" and following.isdecimal():
            self._next()
            return self._number()
        if character in _PUNCTUATION:
            return _PUNCTUATION[character]
        self._fail("illegal char")
        return "ILLEGAL"

    def _identifier(self) -> str:
        word = self._take(_IDENTIFIER)
        return "BOOL" if word in ("true", "false") else "IDENT"

    def _number(self) -> str:
        if self._text[self._offset - 1] == "0" and self._peek() in ("x", "X"):
            if len(self._take(_HEXADECIMAL)) == 2:
                self._fail("illegal hexadecimal number")
            return "NUMBER"
        return "FLOAT" if "." in self._take(_DECIMAL) else "NUMBER"

    def _string(self) -> str:
        depth = 0
        while True:
            character = self._next()
            if character == _END or (character == "\n" and depth == 0):
                self._fail("literal not terminated")
                return "STRING"
            if character == '"' and depth == 0:
                return "STRING"
            if depth == 0 and character == "$" and self._peek() == "{":
                # Quotes do not count inside an interpolation.
                self._next()
                depth = 1
            elif depth and character == "{":
                depth += 1
            elif depth and character == "}":
                depth -= 1
            elif character == "\\":
                self._escape()

    def _escape(self) -> None:
        character = self._next()
        if character and character in _SIMPLE_ESCAPES:
            return
        if character and character in _DIGITS[8]:
            self._digits(2, 8)
        elif character in _NUMERIC_ESCAPES:
            self._digits(*_NUMERIC_ESCAPES[character])
        else:
            self._fail("illegal char escape")

    def _digits(self, count: int, base: int) -> None:
        for _ in range(count):
            following = self._peek()
            if not following or following not in _DIGITS[base]:
                self._next()
                self._fail("illegal char escape")
                return
            self._next()

    def _comment(self, character: str) -> str:
        if character == "/" and self._peek() == "*":
            self._next()
            return self._block_comment()
        if character == "/" and self._peek() != "/":
            self._fail("expected '/' for comment")
            return "COMMENT"
        while (character := self._next()) not in ("\n", _END):
            pass
        return "COMMENT"

    def _block_comment(self) -> str:
        before = ""
        while (character := self._next()) != _END:
            if before == "*" and character == "/":
                return "COMMENT"
            before = character
        self._fail("comment not terminated")
        return "COMMENT"

    def _heredoc(self) -> str:
        if self._next() != "<":
            self._fail("heredoc expected second '<', didn't see it")
            return "HEREDOC"
        if self._peek() == "-":
            self._next()
        match = _ANCHOR.match(self._text, self._offset)
        anchor = match.group() if match else ""
        for _ in anchor:
            self._next()
        if self._peek() == "\r":
            self._next()
        if self._next() != "\n":
            self._fail("invalid characters in heredoc anchor")
            return "HEREDOC"
        if not anchor:
            self._fail("zero-length heredoc anchor")
            return "HEREDOC"
        self._heredoc_lines(anchor)
        return "HEREDOC"

    def _heredoc_lines(self, anchor: str) -> None:
        """Read up to and including the anchor that ends the text."""
        line: list[str] = []
        while (character := self._next()) != _END:
            if character != "\n":
                line.append(character)
            elif "".join(line).strip() == anchor:
                return
            else:
                line.clear()
        if "".join(line).strip() != anchor:
            self._fail("heredoc not terminated")

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Go to the end of what `pattern` matches from the last character on."""
        match = pattern.match(self._text, self._offset - 1)
        assert match is not None
        length = len(match.group()) - 1
        self._offset += length
        self._column += length
        if self._offset == len(self._text):
            self._column += 1
        return match.group()

    def _peek(self) -> str:
        return self._text[self._offset : self._offset + 1]

    def _next(self) -> str:
        character = self._peek()
        self._offset += len(character)
        self._column += 1
        if character == "\n":
            self._line += 1
            self._last_line_length = self._column
            self._column = 0
        elif character == "\0":
            self._fail("unexpected null character (0x00)")
        return character

    def _position(self) -> Position:
        if self._column > 0:
            return Position(self._line, self._column)
        return Position(self._line - 1, self._last_line_length)

    def _fail(self, reason: str) -> None:
        self.error = ConfigError(f"At {self._position()}: {reason}")
