"""JSON to records, by the rules and in the words of Go's decoder.

Field names match without regard to case; ``null`` leaves Go's zero value; durations
are texts such as ``1h30m`` or nanoseconds; bytes are base64. What follows the first
value is ignored. Errors are `WireError` with Go's text, so that a client sees what it
knows::

    json: unknown field "Bogus"
    json: cannot unmarshal string into Go struct field .Port of type int
"""

import base64
import binascii
import json as stdlib_json
import math
import typing
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from consultwist import durations
from consultwist.errors import WireError
from consultwist.wire.json_scan import DEPTH_MAX, first_value
from consultwist.wire.struct import FieldSpec, Struct, field_specs, without_none
from consultwist.wire.time import ZERO_TIME, Time

Record = TypeVar("Record", bound=Struct)

#: Turns a plain value into what a field holds; the flag says whether unknown fields are
#: refused.
Reader = Callable[[Any, bool], Any]


def decode(
    cls: type[Record], data: bytes, *, strict: bool = True, name: str | None = None
) -> Record:
    """Return the record that a JSON text stands for; ``null`` gives an empty one.

    Args:
        cls: the class of the record.
        data: the text; what follows its first value is ignored.
        strict: whether unknown fields are refused.
        name: Go's name of the type in error texts, where it is not the class's.

    Raises:
        WireError: with Go's text.
    """
    plain = decode_plain(data)
    if plain is None:
        return cls()
    try:
        return typing.cast(Record, read_struct(cls)(plain, strict))
    except _Mismatch as mismatch:
        raise WireError(mismatch.text(name)) from None


def decode_list(
    cls: type[Record], data: bytes, *, strict: bool = True, go_type: str = ""
) -> list[Record]:
    """Return the records that a JSON array stands for; see `decode`."""
    plain = decode_plain(data)
    try:
        if plain is None:
            return []
        if plain.__class__ is not list:
            raise _Mismatch(plain, go_type or f"[]structs.{cls.__name__}")
        read = read_struct(cls)
        return [cls() if item is None else read(item, strict) for item in plain]
    except _Mismatch as mismatch:
        raise WireError(mismatch.text(None)) from None


def decode_plain(data: bytes) -> Any:
    """Return a JSON text as lists, dicts, texts and numbers.

    Raises:
        WireError: with Go's text.
    """
    if data.count(b"{") + data.count(b"[") <= DEPTH_MAX:
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    text = first_value(data).decode("utf-8", "replace")
    try:
        # Takes what Go takes and msgspec does not: huge numbers, lone surrogates.
        return _without_surrogates(stdlib_json.loads(text, strict=False))
    except ValueError as error:
        raise WireError(f"invalid JSON: {error}") from error


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {
            _without_surrogates(key): _without_surrogates(item)
            for key, item in value.items()
        }
    return value


class _Mismatch(Exception):
    """A value of the wrong type, and the path to it as far as it is known."""

    def __init__(self, value: object, go_type: str) -> None:
        super().__init__(go_type)
        self.value = value
        self.go_type = go_type
        self.path: list[str] = []
        self.struct: str | None = None

    def inside(self, cls: type[Struct], field: str) -> None:
        """Note the field in which this came up, from the innermost outwards."""
        if self.struct is None:
            self.struct = "" if cls.json_alone else cls.__name__
        self.path.insert(0, field)

    def leave_alone(self) -> None:
        """Forget the path: the outer type sees one value that did not decode."""
        self.path.clear()
        self.struct = None

    def text(self, name: str | None) -> str:
        """Return Go's sentence."""
        kind = f"json: cannot unmarshal {_kind(self.value, self.go_type)} into Go "
        if not self.path:
            return f"{kind}value of type {self.go_type}"
        struct = self.struct if name is None or len(self.path) > 1 else name
        path = ".".join(self.path)
        return f"{kind}struct field {struct}.{path} of type {self.go_type}"


def _kind(value: object, go_type: str) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        # Go shows the number where its type, but not its size or form, was right.
        return f"number {value}" if go_type in _NUMERIC else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


_NUMERIC: Final = frozenset(("int", "uint64", "float64", "float32"))


# --- readers, made once for each class ---------------------------------------------


class _FieldReader(msgspec.Struct, frozen=True):
    attribute: str
    shown: str
    read: Reader


_readers: dict[type, Reader] = {}


def read_struct(cls: type[Struct]) -> Reader:
    """Return what reads a record from a plain value."""
    reader = _readers.get(cls)
    if reader is None:
        # Entered before the fields are looked at: records may hold their own kind.
        fields: dict[str, _FieldReader] = {}
        reader = _readers[cls] = _make_struct_reader(cls, fields)
        for spec in field_specs(cls):
            if spec.json != "-":
                for shown in (spec.json, *spec.aliases):
                    read = _field_reader(spec)
                    fields[shown.lower()] = _FieldReader(spec.attribute, shown, read)
    return reader


def _make_struct_reader(cls: type[Struct], fields: dict[str, _FieldReader]) -> Reader:
    def read(value: Any, strict: bool) -> Any:
        if value.__class__ is not dict:
            raise _Mismatch(value, f"structs.{cls.__name__}")
        inner_strict = strict and not cls.json_lenient
        found: dict[str, Any] = {}
        for key, item in value.items():
            field = fields.get(key.lower())
            if field is None:
                if inner_strict and key.lower() not in cls.json_ignored:
                    raise WireError(f"json: unknown field {_quote(key)}")
            elif item is not None:
                try:
                    found[field.attribute] = field.read(item, inner_strict)
                except _Mismatch as mismatch:
                    mismatch.inside(cls, field.shown)
                    raise
        return cls(**found)

    return read


def _alone(read: Reader) -> Reader:
    def read_alone(value: Any, strict: bool) -> Any:
        try:
            return read(value, strict)
        except _Mismatch as mismatch:
            mismatch.leave_alone()
            raise

    return read_alone


def _quote(key: str) -> str:
    return stdlib_json.dumps(key, ensure_ascii=False)


def _field_reader(spec: FieldSpec) -> Reader:
    return _read_duration if spec.duration else _reader(spec.type)


def _reader(hint: Any) -> Reader:
    hint, _ = without_none(hint)
    leaf = _LEAVES.get(hint)
    if leaf is not None:
        return leaf
    if isinstance(hint, type) and issubclass(hint, Struct):
        read = read_struct(hint)
        return _alone(read) if hint.json_alone else read
    if typing.get_origin(hint) is list:
        return _list_reader(hint)
    if typing.get_origin(hint) is dict:
        return _dict_reader(hint)
    raise TypeError(f"no JSON form for {hint!r}")


def _list_reader(hint: Any) -> Reader:
    item_hint = typing.get_args(hint)[0]
    read_item = _reader(item_hint)
    zero = _zero(item_hint)
    go_type = _go_type(hint)

    def read(value: Any, strict: bool) -> Any:
        if value.__class__ is not list:
            raise _Mismatch(value, go_type)
        return [zero() if v is None else read_item(v, strict) for v in value]

    return read


def _dict_reader(hint: Any) -> Reader:
    item_hint = typing.get_args(hint)[1]
    read_item = _reader(item_hint)
    zero = _zero(item_hint)
    go_type = _go_type(hint)

    def read(value: Any, strict: bool) -> Any:
        if value.__class__ is not dict:
            raise _Mismatch(value, go_type)
        return {
            k: zero() if v is None else read_item(v, strict) for k, v in value.items()
        }

    return read


def _zero(hint: Any) -> Callable[[], Any]:
    """Return what makes the value that ``null`` stands for inside a list or map."""
    bare, optional = without_none(hint)
    if bare is Time:
        return lambda: ZERO_TIME
    if optional or not isinstance(bare, type) or bare is bytes:
        return lambda: None
    return bare


def _go_type(hint: Any) -> str:
    hint, optional = without_none(hint)
    if hint in _GO_NAMES:
        return _GO_NAMES[hint]
    if typing.get_origin(hint) is list:
        return "[]" + _go_type(typing.get_args(hint)[0])
    if typing.get_origin(hint) is dict:
        return "map[string]" + _go_type(typing.get_args(hint)[1])
    return f"{'*' if optional else ''}structs.{hint.__name__}"


_GO_NAMES: Final[dict[Any, str]] = {
    str: "string",
    int: "int",
    float: "float64",
    bool: "bool",
    bytes: "[]uint8",
    Time: "time.Time",
    Any: "interface {}",
}

#: The numbers that fit one of Go's integer types.
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1


def _read_text(value: Any, _: bool) -> str:
    if value.__class__ is not str:
        raise _Mismatch(value, "string")
    return value


def _read_integer(value: Any, _: bool) -> int:
    if value.__class__ is not int or not _INT_MIN <= value <= _INT_MAX:
        raise _Mismatch(value, "int")
    return value


def _read_real(value: Any, _: bool) -> float:
    if value.__class__ not in (int, float) or not math.isfinite(value):
        raise _Mismatch(value, "float64")
    return float(value)


def _read_boolean(value: Any, _: bool) -> bool:
    if value.__class__ is not bool:
        raise _Mismatch(value, "bool")
    return value


def _read_duration(value: Any, _: bool) -> int:
    """Read a text or nanoseconds; Consul takes anything else for zero."""
    if value.__class__ is str:
        try:
            return durations.parse(value)
        except ValueError as error:
            raise WireError(str(error)) from None
    if value.__class__ in (int, float) and abs(value) <= durations.DURATION_MAX:
        return int(value)
    return 0


def _read_bytes(value: Any, _: bool) -> bytes:
    if value.__class__ is not str:
        raise _Mismatch(value, "[]uint8")
    return decode_base64(value)


def _read_time(value: Any, _: bool) -> Time:
    if value.__class__ is not str:
        raise WireError("Time.UnmarshalJSON: input is not a JSON string")
    try:
        return Time.parse(value)
    except ValueError:
        quoted = _quote(_quote(value))
        layout = r'"\"2006-01-02T15:04:05Z07:00\""'
        raise WireError(f"parsing time {quoted} as {layout}") from None


def _read_any(value: Any, _: bool) -> Any:
    """Read what has no type: all numbers are floats, as in Go."""
    kind = value.__class__
    if kind is int:
        return float(value) if abs(value) <= _FLOAT_MAX else math.inf
    if kind is list:
        return [_read_any(item, _) for item in value]
    if kind is dict:
        return {key: _read_any(item, _) for key, item in value.items()}
    return value


_FLOAT_MAX: Final = int(1.7e308)

_LEAVES: Final[dict[Any, Reader]] = {
    str: _read_text,
    int: _read_integer,
    float: _read_real,
    bool: _read_boolean,
    bytes: _read_bytes,
    Time: _read_time,
    Any: _read_any,
}


def decode_base64(text: str) -> bytes:
    """Return the bytes that base64 with padding stands for; line breaks are skipped.

    Raises:
        WireError: with Go's text, which says where the text goes wrong.
    """
    bare = text.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(bare.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        at = _first_corrupt(text)
        raise WireError(f"illegal base64 data at input byte {at}") from None


_BASE64: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)


def _first_corrupt(text: str) -> int:
    """Return the position at which Go's decoder gives up."""
    raw = text.encode("utf-8", "surrogateescape").decode("latin-1")
    seen = 0
    for at, character in enumerate(raw):
        if character in "\r\n":
            continue
        if character == "=" and seen % 4 in (2, 3):
            return _after_padding(raw, at, seen % 4)
        if character not in _BASE64:
            return at
        seen += 1
    return len(raw) - seen % 4


def _after_padding(raw: str, at: int, digits: int) -> int:
    rest = [i for i in range(at + 1, len(raw)) if raw[i] not in "\r\n"]
    if digits == 3:
        return rest[0] if rest else at
    if not rest:
        return len(raw)
    if raw[rest[0]] != "=":
        return rest[0] - 1
    return rest[1] if len(rest) > 1 else at
