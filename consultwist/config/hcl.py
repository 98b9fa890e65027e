"""The HCL 1 parser: text to plain values, as Consul's configuration files use it.

Every block and every object becomes a list with one map (`Objects`), and equal keys
add to one list: that is how HCL 1 presents them, and whoever reads the values knows
whether one section or several are meant. Text may nest only so deep and be only so
long; a mistake is a `ConfigError` with HCL's words and position.
"""

from typing import Any, NoReturn

from consultwist.config.hcl_scanner import Scanner, Token
from consultwist.config.json_text import decode_object
from consultwist.errors import ConfigError

#: How deep objects and lists may nest; real configurations reach about eight.
DEPTH_MAX = 100
#: The longest text in characters; a file with ten thousand services has about 5 MB.
SIZE_MAX = 32 * 1024 * 1024

_LITERALS = ("NUMBER", "FLOAT", "BOOL", "STRING", "HEREDOC")
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
_ESCAPE_DIGITS = {"x": 2, "X": 2, "u": 4, "U": 8}
_CODE_POINT_MAX = 0x10FFFF


class Objects(list[Any]):
    """A list of maps that stands for blocks: one element may mean one section."""


class _EndOfText(ConfigError):
    """The text ended where something was expected."""


def parse(text: str) -> dict[str, Any]:
    """Return the values of a configuration text.

    A text that begins with a brace is JSON, as HCL itself decides.

    Raises:
        ConfigError: where the text is wrong, with position.
    """
    if len(text) > SIZE_MAX:
        raise ConfigError(f"text is longer than {SIZE_MAX} characters")
    text = text.removeprefix("\ufeff")
    if text.lstrip(" \t\r\n").startswith("{"):
        return decode_object(text)
    return _Parser(text).parse()


class _Parser:
    """Recursive descent with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        self._scanner = Scanner(text)
        self._token = self._scanner.scan()
        self._kept = True
        self._depth = 0

    def parse(self) -> dict[str, Any]:
        try:
            items = self._items(in_object=False)
        except ConfigError as error:
            raise self._scanner.error or error from None
        if self._scanner.error is not None:
            raise self._scanner.error
        return items

    def _scan(self) -> Token:
        if self._kept:
            self._kept = False
        else:
            self._token = self._scanner.scan()
        return self._token

    def _keep(self) -> None:
        """Let the next `_scan` return the last token again."""
        self._kept = True

    def _fail(self, reason: str) -> NoReturn:
        raise self._mistake(reason)

    def _mistake(self, reason: str) -> ConfigError:
        return ConfigError(f"At {self._token.position}: {reason}")

    def _items(self, *, in_object: bool) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while True:
            if in_object:
                kind = self._scan().kind
                self._keep()
                if kind == "RBRACE":
                    return items
            try:
                keys, value = self._item()
            except _EndOfText:
                return items
            _add(items, keys, value)
            if self._scan().kind != "COMMA":
                self._keep()

    def _item(self) -> tuple[list[str], Any]:
        tokens = self._keys()
        kind = self._token.kind
        keys = [str(_literal(token)) for token in tokens]
        if kind == "ASSIGN":
            return keys, self._value()
        if kind == "LBRACE":
            return keys, self._object()
        shown = " ".join(token.text for token in tokens)
        wanted = "expected start of object ('{') or assignment ('=')"
        raise self._mistake(f"key '{shown}' {wanted}")

    def _keys(self) -> list[Token]:
        """Return the keys before ``=`` or ``{``, which is then the last token."""
        keys: list[Token] = []
        while True:
            token = self._scan()
            if token.kind in ("IDENT", "STRING"):
                keys.append(token)
            elif token.kind == "EOF":
                if not keys:
                    raise _EndOfText
                return keys
            elif token.kind == "ASSIGN":
                if len(keys) > 1:
                    self._fail("nested object expected: LBRACE got: ASSIGN")
                if not keys:
                    self._fail("no object keys found!")
                return keys
            elif token.kind == "LBRACE":
                if not keys:
                    self._fail("expected: IDENT | STRING got: LBRACE")
                return keys
            elif token.kind == "RBRACE" and keys:
                return keys
            else:
                wanted = "IDENT | STRING | ASSIGN | LBRACE"
                self._fail(f"expected: {wanted} got: {token.kind}")

    def _value(self) -> Any:
        token = self._scan()
        if token.kind in _LITERALS:
            return _literal(token)
        if token.kind == "LBRACE":
            return self._object()
        if token.kind == "LBRACK":
            return self._list()
        if token.kind == "EOF":
            raise _EndOfText
        raise self._mistake(f"Unknown token: {token}")

    def _object(self) -> Objects:
        self._enter()
        items = self._items(in_object=True)
        if self._scan().kind != "RBRACE":
            self._fail(f"object expected closing RBRACE got: {self._token.kind}")
        self._depth -= 1
        return Objects([items])

    def _list(self) -> list[Any]:
        self._enter()
        values: list[Any] = []
        need_comma = False
        while True:
            kind = self._scan().kind
            if need_comma and kind not in ("COMMA", "RBRACK"):
                self._fail(
                    f"error parsing list, expected comma or list end, got: {kind}"
                )
            if kind == "RBRACK":
                self._depth -= 1
                return _as_blocks(values)
            if kind == "COMMA":
                need_comma = False
                continue
            values.append(self._element(kind))
            need_comma = True

    def _element(self, kind: str) -> Any:
        if kind in _LITERALS:
            return _literal(self._token)
        try:
            if kind == "LBRACE":
                what = "object"
                return self._object()
            if kind == "LBRACK":
                what = "list"
                return self._list()
        except ConfigError as error:
            self._fail(f"error while trying to parse {what} within list: {error}")
        raise self._mistake(f"unexpected token while parsing list: {kind}")

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._fail(f"nested deeper than {DEPTH_MAX} levels")


def _as_blocks(values: list[Any]) -> list[Any]:
    """Give a list of objects the form that repeated blocks have."""
    if values and all(isinstance(value, Objects) for value in values):
        return Objects(value[0] for value in values)
    return [v[0] if isinstance(v, Objects) and len(v) == 1 else v for v in values]


def _add(items: dict[str, Any], keys: list[str], value: Any) -> None:
    """Put a value under its keys, beside what is there already."""
    for label in reversed(keys[1:]):
        value = Objects([{label: value}])
    name = keys[0]
    known = items.get(name)
    if isinstance(known, list) and isinstance(value, list):
        items[name] = type(known)([*known, *value])
    else:
        items[name] = value


def _literal(token: Token) -> Any:
    if token.kind == "BOOL":
        return token.text == "true"
    if token.kind == "NUMBER":
        return _integer(token.text)
    if token.kind == "FLOAT":
        return _real(token.text)
    if token.kind == "STRING":
        return _unquote(token.text[1:-1])
    if token.kind == "HEREDOC":
        return _heredoc(token.text)
    return token.text


def _integer(text: str) -> int:
    """Read an integer as Go does with base 0: ``0x`` and ``0`` are prefixes."""
    digits = text.lstrip("-")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    try:
        value = int(text, 8) if octal else int(text, 0)
    except ValueError:
        raise ConfigError(
            f'strconv.ParseInt: parsing "{text}": invalid syntax'
        ) from None
    if not -(2**63) <= value < 2**63:
        raise ConfigError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            f'strconv.ParseFloat: parsing "{text}": invalid syntax'
        ) from None


def _unquote(text: str) -> str:
    """Replace the escapes of a string; inside ``${}`` the text stays as it is."""
    if "\\" not in text:
        return text
    parts: list[str] = []
    offset = depth = 0
    while offset < len(text):
        character = text[offset]
        if character == "\\" and depth == 0:
            replacement, offset = _unescape(text, offset + 1)
            parts.append(replacement)
            continue
        if text.startswith("${", offset) or (depth and character == "{"):
            depth += 1
            if character == "$":
                parts.append(character)
                offset += 1
                character = "{"
        elif depth and character == "}":
            depth -= 1
        parts.append(character)
        offset += 1
    return "".join(parts)


def _unescape(text: str, offset: int) -> tuple[str, int]:
    """Return what the escape whose letter stands at `offset` means, and its end."""
    letter = text[offset : offset + 1]
    if letter in _ESCAPES:
        return _ESCAPES[letter], offset + 1
    if letter in _ESCAPE_DIGITS:
        end = offset + 1 + _ESCAPE_DIGITS[letter]
        digits, base = text[offset + 1 : end], 16
    else:
        end = offset + 3
        digits, base = text[offset:end], 8
    try:
        code = int(digits, base)
    except ValueError:
        raise ConfigError("illegal char escape") from None
    if code > _CODE_POINT_MAX or 0xD800 <= code < 0xE000:
        raise ConfigError("illegal char escape")
    return chr(code), end


def _heredoc(text: str) -> str:
    """Return the lines between the anchors, without their common indentation."""
    first, _, rest = text.partition("\n")
    lines = rest.removesuffix("\n").split("\n")[:-1]
    if first.startswith("<<-"):
        anchor_line = rest.removesuffix("\n").split("\n")[-1]
        indent = anchor_line[: len(anchor_line) - len(anchor_line.lstrip())]
        if all(line.startswith(indent) for line in lines if line):
            lines = [line[len(indent) :] for line in lines]
    return "".join(line + "\n" for line in lines)
