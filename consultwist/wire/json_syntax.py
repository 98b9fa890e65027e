"""What Go's JSON decoder says about a text that is not JSON.

Decoding is done by fast libraries; only a text that they refuse comes here, to learn
which words Consul has for the mistake. The walk needs no recursion and no more memory
than one character per level of nesting.
"""

import re

#: Go's decoder looks at one more space to see whether the text may end there.
_END = " "
_SPACES = " \t\r\n"
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_ESCAPES = 'bfnrt\\/"'
_HEXADECIMAL = "0123456789abcdefABCDEF"
_DIGITS = "0123456789"
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')

#: What the reader awaits next, in Go's words.
_VALUE = "looking for beginning of value"
_KEY = "looking for beginning of object key string"
_COLON = "after object key"
_AFTER_PAIR = "after object key:value pair"
_AFTER_ELEMENT = "after array element"
_AFTER_ALL = "after top-level value"

UNEXPECTED_END = "unexpected end of JSON input"


class _Wrong(Exception):
    """The walk met a character that does not belong there."""

    def __init__(self, character: str, where: str) -> None:
        super().__init__(f"invalid character {_quoted(character)} {where}")


class _TextEnded(Exception):
    """The text ended inside a value."""


def explain(text: str) -> str:
    """Return Go's error text for `text`, or the empty text where it is valid JSON."""
    try:
        _Walk(text).check()
    except _Wrong as wrong:
        return str(wrong)
    except _TextEnded:
        return UNEXPECTED_END
    return ""


def _quoted(character: str) -> str:
    """Return a character as Go quotes it: of one outside ASCII its first byte."""
    first = chr(character.encode("utf-8", "surrogateescape")[0])
    if first == "'":
        return r"'\''"
    if first == '"':
        return "'\"'"
    if first == "\\":
        return r"'\\'"
    if first.isprintable():
        return f"'{first}'"
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\a": r"\a", "\b": r"\b"}
    short |= {"\f": r"\f", "\v": r"\v"}
    code = ord(first)
    shown = short.get(first, f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")
    return f"'{shown}'"


class _Walk:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        #: One brace or bracket per open object or list.
        self._open: list[str] = []

    def check(self) -> None:
        self._value()
        while self._open:
            self._after_value()
        character = self._skip_spaces()
        if self._offset < len(self._text):
            raise _Wrong(character, _AFTER_ALL)

    def _value(self) -> None:
        """Read one value; of an object or list only what opens it."""
        character = self._skip_spaces()
        self._demand()
        self._offset += 1
        if character == "{":
            self._open.append(character)
            if self._skip_spaces() != "}":
                self._key()
        elif character == "[":
            self._open.append(character)
            if self._skip_spaces() != "]":
                self._value()
        elif character == '"':
            self._string()
        elif character in _LITERALS:
            self._literal(_LITERALS[character])
        elif character == "-" or character in _DIGITS:
            self._number(character)
        else:
            raise _Wrong(character, _VALUE)

    def _after_value(self) -> None:
        """Go on behind a value inside an object or list."""
        character = self._skip_spaces()
        self._demand()
        self._offset += 1
        in_object = self._open[-1] == "{"
        if character == ("}" if in_object else "]"):
            self._open.pop()
        elif character != ",":
            raise _Wrong(character, _AFTER_PAIR if in_object else _AFTER_ELEMENT)
        elif in_object:
            self._key()
        else:
            self._value()

    def _key(self) -> None:
        character = self._skip_spaces()
        self._demand()
        self._offset += 1
        if character != '"':
            raise _Wrong(character, _KEY)
        self._string()
        character = self._skip_spaces()
        self._demand()
        self._offset += 1
        if character != ":":
            raise _Wrong(character, _COLON)
        self._value()

    def _string(self) -> None:
        while True:
            plain = _PLAIN.match(self._text, self._offset)
            assert plain is not None
            self._offset = plain.end()
            self._demand()
            character = self._take()
            if character == '"':
                return
            if character != "\\":
                raise _Wrong(character, "in string literal")
            character = self._take()
            if character == "u":
                for _ in range(4):
                    self._expect(_HEXADECIMAL, r"in \u hexadecimal character escape")
            elif character not in _ESCAPES:
                raise _Wrong(character, "in string escape code")

    def _literal(self, word: str) -> None:
        for letter in word[1:]:
            self._expect(letter, f"in literal {word} (expecting '{letter}')")

    def _number(self, character: str) -> None:
        if character == "-":
            character = self._expect(_DIGITS, "in numeric literal")
        if character != "0":
            self._skip_digits()
        if self._peek() == ".":
            self._offset += 1
            self._expect(_DIGITS, "after decimal point in numeric literal")
            self._skip_digits()
        if self._peek() in ("e", "E"):
            self._offset += 1
            if self._peek() in ("+", "-"):
                self._offset += 1
            self._expect(_DIGITS, "in exponent of numeric literal")
            self._skip_digits()

    def _expect(self, allowed: str, where: str) -> str:
        character = self._take()
        if character not in allowed:
            raise _Wrong(character, where)
        return character

    def _skip_digits(self) -> None:
        while self._peek() in _DIGITS:
            self._offset += 1

    def _skip_spaces(self) -> str:
        """Go to the next character that is no white space, and return it."""
        while self._offset < len(self._text) and self._peek() in _SPACES:
            self._offset += 1
        return self._peek()

    def _peek(self) -> str:
        return self._text[self._offset : self._offset + 1] or _END

    def _take(self) -> str:
        character = self._peek()
        self._offset += 1
        return character

    def _demand(self) -> None:
        if self._offset >= len(self._text):
            raise _TextEnded
