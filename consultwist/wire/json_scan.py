"""Where a JSON value ends, or in Go's words why it is none.

Only for input that the fast decoder refused: it walks byte by byte. Go's decoder reads
the first value of a body and ignores what follows; so does `first_value`.
"""

from typing import Final

from consultwist.errors import WireError

#: Deeper nesting is refused. Go stops at 10,000; no body of the API needs 30, and the
#: functions that read values call themselves.
DEPTH_MAX: Final = 200

_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789"
_HEXADECIMAL: Final = b"0123456789abcdefABCDEF"
_ESCAPES: Final = b'bfnrt\\/"'
_LITERALS: Final = {0x74: b"true", 0x66: b"false", 0x6E: b"null"}
_BEGINNING: Final = "looking for beginning of value"
_KEY: Final = "looking for beginning of object key string"


def first_value(data: bytes) -> bytes:
    """Return the first JSON value of a text.

    Raises:
        WireError: with the text of Go's decoder.
    """
    scan = _Scan(data)
    scan.skip_space()
    start = scan.at
    if start == len(data):
        raise WireError("EOF")
    scan.value()
    return data[start : scan.at]


def only_value(data: bytes) -> bytes:
    """Return the one JSON value that a text consists of, as Go's Unmarshal wants it.

    Raises:
        WireError: with Go's text.
    """
    try:
        # Go looks at one more space to see whether the text may end there.
        value = first_value(data + b" ")
    except WireError as error:
        if str(error) in ("EOF", "unexpected EOF"):
            raise WireError("unexpected end of JSON input") from None
        raise
    rest = data.lstrip(_SPACE)[len(value) :].lstrip(_SPACE)
    if rest:
        raise WireError(f"invalid character {_quoted(rest[0])} after top-level value")
    return value


class _Scan:
    """A position in a text, and the containers around it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def peek(self) -> int:
        if self.at >= len(self.data):
            raise WireError("unexpected EOF")
        return self.data[self.at]

    def refuse(self, context: str) -> WireError:
        return WireError(f"invalid character {_quoted(self.peek())} {context}")

    def skip_space(self) -> None:
        while self.at < len(self.data) and self.data[self.at] in _SPACE:
            self.at += 1

    def take(self, byte: int, context: str) -> None:
        if self.peek() != byte:
            raise self.refuse(context)
        self.at += 1

    def value(self) -> None:
        """Walk over one value; the stack holds the closing byte of each container."""
        stack: list[int] = []
        self._begin(stack)
        while stack:
            self.skip_space()
            closing = stack[-1]
            byte = self.peek()
            if byte == closing:
                self.at += 1
                stack.pop()
                continue
            if byte != 0x2C:  # comma
                what = "object key:value pair" if closing == 0x7D else "array element"
                raise self.refuse(f"after {what}")
            self.at += 1
            if closing == 0x7D:
                self._key()
            self._begin(stack)

    def _begin(self, stack: list[int]) -> None:
        """Walk into values until one is complete, or a container is empty."""
        while True:
            self.skip_space()
            byte = self.peek()
            if byte not in b"{[":
                self._scalar(byte)
                return
            if len(stack) == DEPTH_MAX:
                raise WireError("exceeded max depth")
            self.at += 1
            self.skip_space()
            closing = byte + 2
            stack.append(closing)
            if self.peek() == closing:
                return
            if closing == 0x7D:
                self._key()

    def _key(self) -> None:
        self.skip_space()
        if self.peek() != 0x22:
            raise self.refuse(_KEY)
        self._string()
        self.skip_space()
        self.take(0x3A, "after object key")

    def _scalar(self, byte: int) -> None:
        if byte == 0x22:
            self._string()
        elif byte in _LITERALS:
            self._literal(_LITERALS[byte])
        elif byte == 0x2D or byte in _DIGITS:
            self._number()
        else:
            raise self.refuse(_BEGINNING)

    def _literal(self, word: bytes) -> None:
        for byte in word:
            context = f"in literal {word.decode()} (expecting {_quoted(byte)})"
            self.take(byte, context)

    def _string(self) -> None:
        self.at += 1
        while (byte := self.peek()) != 0x22:
            if byte < 0x20:
                raise self.refuse("in string literal")
            self.at += 1
            if byte == 0x5C:
                self._escape()
        self.at += 1

    def _escape(self) -> None:
        byte = self.peek()
        if byte != 0x75 and byte not in _ESCAPES:
            raise self.refuse("in string escape code")
        self.at += 1
        if byte == 0x75:
            for _ in range(4):
                if self.peek() not in _HEXADECIMAL:
                    raise self.refuse("in \\u hexadecimal character escape")
                self.at += 1

    def _number(self) -> None:
        if self.peek() == 0x2D:
            self.at += 1
            if self.peek() not in _DIGITS:
                raise self.refuse("in numeric literal")
        if self.peek() == 0x30:
            self.at += 1
        else:
            self._digits("in numeric literal")
        if self._here(b"."):
            self.at += 1
            self._digits("after decimal point in numeric literal")
        if self._here(b"eE"):
            self.at += 1
            if self._here(b"+-"):
                self.at += 1
            self._digits("in exponent of numeric literal")

    def _here(self, candidates: bytes) -> bool:
        return self.at < len(self.data) and self.data[self.at] in candidates

    def _digits(self, context: str) -> None:
        if self.peek() not in _DIGITS:
            raise self.refuse(context)
        while self._here(_DIGITS):
            self.at += 1


def _quoted(byte: int) -> str:
    """Return a byte as Go's decoder names it: in single quotes, escaped."""
    if byte == 0x27:
        return r"'\''"
    if byte == 0x22:
        return "'\"'"
    return f"'{_ESCAPED.get(byte) or _escaped(byte)}'"


_ESCAPED: Final = {
    0x07: r"\a",
    0x08: r"\b",
    0x09: r"\t",
    0x0A: r"\n",
    0x0B: r"\v",
    0x0C: r"\f",
    0x0D: r"\r",
    0x5C: r"\\",
}


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character.isprintable():
        return character
    return f"\\x{byte:02x}" if byte < 0x80 else f"\\u{byte:04x}"
