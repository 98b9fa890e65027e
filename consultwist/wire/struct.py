"""Struct: one declaration for a record's Go names, its msgpack and its JSON.

Attributes are snake_case; the wire name follows by rule (`go_name`), exceptions and
JSON peculiarities are written at the field::

    class ServiceAddress(Struct):
        address: str = ""
        port: int = 0

    class QuerySource(Struct):
        ip: Annotated[str, Field(name="Ip")] = ""

Every field has a default, Go's zero value, because senders leave fields out. The
coding functions are generated once per class, on first use: a map display in key
order for writing, one constructor call with checked values for reading.

A record is frozen: the state store shares records between snapshots, caches and
answers. Replace a record (`msgspec.structs.replace`); never change a list or map
inside one.
"""

import struct as binary
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Self

import attrs
import msgspec

from consultwist import durations
from consultwist.errors import WireError
from consultwist.wire import msgpack
from consultwist.wire.json_number import json_any, json_number
from consultwist.wire.time import ZERO_TIME, Time

_WORDS = """
    ACL CA CAS CSR DC DNS GRPC HTTP HTTPS ID IP JSON RPC RTT SNI SQL TCP TLS TTL UDP
    UI UID URI URL UUID WAN LAN SAN NS XDS UTF8 AES SSL
"""
_INITIALISMS = {word.lower(): word for word in _WORDS.split()}
_PLURALS = {f"{word}s": f"{text}s" for word, text in _INITIALISMS.items()}


def go_name(attribute: str) -> str:
    """Return the Go field name of an attribute: ``check_id`` becomes ``CheckID``."""
    return "".join(
        _INITIALISMS.get(part) or _PLURALS.get(part) or part.capitalize()
        for part in attribute.rstrip("_").split("_")
    )


@attrs.frozen(kw_only=True)
class Field:
    """What differs from the rule at one field.

    Attributes:
        name: the Go field name, where the rule does not give it.
        json: the JSON name; empty means the Go name, ``-`` leaves the field out.
        omit_empty: leave the field out of JSON where it has Go's zero value.
        single: a Go float32.
        text: a duration that JSON shows as text, such as ``10s``.
        duration: a Go time.Duration; JSON may give it as text or as nanoseconds.
        snake: the decoder of JSON takes the name of the attribute as well.
        aliases: further names that the decoder of JSON takes.
        filterable: whether filter expressions may name the field.
    """

    name: str = ""
    json: str = ""
    omit_empty: bool = False
    single: bool = False
    text: bool = False
    duration: bool = False
    snake: bool = False
    aliases: tuple[str, ...] = ()
    filterable: bool = True


#: A Go time.Duration: nanoseconds, so that the bytes come back unchanged.
Nanoseconds = Annotated[int, Field(duration=True)]

#: A Go float32.
Float32 = Annotated[float, Field(single=True)]


#: Given apart, because mypy would then ask every subclass to repeat the word.
_FROZEN: Any = {"frozen": True}


class Struct(msgspec.Struct, kw_only=True, gc=False, **_FROZEN):
    """A record that crosses a wire, lies on a disk or appears in JSON.

    Attributes:
        json_alone: whether Go decodes this type by a function of its own. Its type then
            has no name in error texts, and the path in them begins anew.
        json_lenient: whether even a strict decoder skips unknown fields inside.
        json_ignored: names of fields that JSON may hold and that mean nothing.
    """

    json_alone: typing.ClassVar[bool] = False
    json_lenient: typing.ClassVar[bool] = False
    json_ignored: typing.ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_raw(cls, raw: object) -> Self:
        """Build a record from a decoded msgpack map; unknown keys are skipped.

        Raises:
            WireError: where a value has the wrong type.
        """
        found: Self = (_coders.get(cls) or _coder(cls)).decode(raw)
        return found

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Self:
        """Build a record from its msgpack bytes."""
        return cls.from_raw(msgpack.unpack(data))

    def to_raw(self) -> dict[str, Any]:
        """Return the plain map that msgpack writes, keys in byte order."""
        return _coder(type(self)).encode(self)

    def pack(self) -> bytes:
        """Return the msgpack bytes, as Go's codec would write them."""
        cls = type(self)
        coder = _coders.get(cls) or _coder(cls)
        if coder.has_single:
            chunks: list[bytes] = []
            _pack_exactly(self, chunks)
            return b"".join(chunks)
        return msgpack.pack(coder.encode(self))

    def to_plain(self) -> dict[str, Any]:
        """Return the map that JSON shows: field order, options applied."""
        cls = type(self)
        plain = _coder(cls).plain
        if "to_plain" in cls.__dict__:
            # From now on the generated function is the method; see __init_subclass__.
            cls.to_plain = plain  # type: ignore[method-assign,assignment]
        return plain(self)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Each class gets its own, so that a generated one is never inherited.
        if "to_plain" not in cls.__dict__:
            cls.to_plain = Struct.to_plain  # type: ignore[method-assign]


class FieldSpec(msgspec.Struct, frozen=True):
    """One field as the coders, the filter language and the decoder of JSON see it."""

    attribute: str
    go: str
    json: str
    omit_empty: bool
    single: bool
    text: bool
    duration: bool
    aliases: tuple[str, ...]
    filterable: bool
    type: Any


class _Coder(msgspec.Struct):
    decode: Callable[[object], Any]
    encode: Callable[[Any], dict[str, Any]]
    plain: Callable[[Any], dict[str, Any]]
    has_single: bool


_coders: dict[type, _Coder] = {}
_specs: dict[type, tuple[FieldSpec, ...]] = {}


def field_specs(cls: type[Struct]) -> tuple[FieldSpec, ...]:
    """Return the fields of a record class: its own first, then inherited ones.

    That is the order in which Go declares them, embedded parts at the end.
    """
    if cls not in _specs:
        _specs[cls] = tuple(_spec(cls, name) for name in _go_order(cls))
    return _specs[cls]


def _go_order(cls: type[Struct]) -> list[str]:
    inherited = {name for base in cls.__bases__ for name in _fields_of(base)}
    own = [name for name in cls.__struct_fields__ if name not in inherited]
    return own + [name for name in cls.__struct_fields__ if name in inherited]


def _fields_of(base: type) -> tuple[str, ...]:
    return base.__struct_fields__ if issubclass(base, Struct) else ()


def _spec(cls: type[Struct], attribute: str) -> FieldSpec:
    hint = typing.get_type_hints(cls, include_extras=True)[attribute]
    options = Field()
    duration = False
    while typing.get_origin(hint) is Annotated:
        for note in hint.__metadata__:
            if isinstance(note, Field):
                options = note
                duration = duration or note.duration
        hint = hint.__origin__
    go = options.name or go_name(attribute)
    return FieldSpec(
        attribute=attribute,
        go=go,
        json=options.json or go,
        omit_empty=options.omit_empty,
        single=options.single,
        text=options.text,
        duration=duration,
        aliases=(attribute, *options.aliases) if options.snake else options.aliases,
        filterable=options.filterable,
        type=hint,
    )


def _coder(cls: type[Struct]) -> _Coder:
    coder = _coders.get(cls)
    if coder is None:
        specs = field_specs(cls)
        coder = _Coder(
            decode=_make_decoder(cls, specs),
            encode=_make_encoder(specs),
            plain=_make_plain(cls, specs),
            has_single=_has_single(cls, set()),
        )
        _coders[cls] = coder
    return coder


def _has_single(cls: type[Struct], seen: set[type]) -> bool:
    if cls in seen:
        return False
    seen.add(cls)
    return any(
        spec.single or any(_has_single(s, seen) for s in structs_in(spec.type))
        for spec in field_specs(cls)
    )


def structs_in(hint: Any) -> list[type[Struct]]:
    """Return the record classes that a field's type mentions."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return [hint]
    return [s for argument in typing.get_args(hint) for s in structs_in(argument)]


def without_none(hint: Any) -> tuple[Any, bool]:
    """Split ``T | None`` into T and whether None was allowed."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        assert len(rest) == 1, hint
        return _bare(rest[0]), True
    return _bare(hint), False


def _bare(hint: Any) -> Any:
    while typing.get_origin(hint) is Annotated:
        hint = hint.__origin__
    return hint


# --- generated code ---------------------------------------------------------------
# Each generator returns the text of an expression over the variable that it is
# given; names it needs go into the namespace of the function.


def _compile(source: str, namespace: dict[str, Any]) -> Any:
    exec(source, namespace)  # noqa: S102 - the source is made from class definitions
    return namespace["generated"]


def _make_decoder(
    cls: type[Struct], specs: tuple[FieldSpec, ...]
) -> Callable[[object], Any]:
    namespace: dict[str, Any] = {
        "cls": cls,
        "WireError": WireError,
        "text": _text,
        "data": _data,
        "integer": _integer,
        "real": _real,
        "boolean": _boolean,
        "array": _array,
        "table": _table,
        "plain": msgpack.plain,
        "Time": Time,
    }
    lines = [
        "def generated(raw):",
        "    if raw.__class__ is not dict:",
        "        if raw is None: return cls()",
        "        raise WireError('msgpack: a map was expected for ' + cls.__name__)",
        "    get = raw.get",
        "    return cls(",
    ]
    zero = cls()
    for number, spec in enumerate(specs):
        namespace[f"default{number}"] = getattr(zero, spec.attribute)
        expression = _decode_expression(spec.type, "v", namespace)
        lines.append(
            f"        {spec.attribute}=default{number} "
            f"if (v := get({spec.go.encode()!r})) is None else {expression},"
        )
    lines.append("    )")
    return typing.cast(Callable[[object], Any], _compile("\n".join(lines), namespace))


_LEAF_DECODERS = {
    str: "({v}.decode() if {v}.__class__ is bytes and {v}.isascii() else text({v}))",
    bytes: "({v} if {v}.__class__ is bytes else data({v}))",
    int: "({v} if {v}.__class__ is int else integer({v}))",
    float: "({v} if {v}.__class__ is float else real({v}))",
    bool: "({v} if {v}.__class__ is bool else boolean({v}))",
    Time: "Time.from_raw({v})",
    Any: "plain({v})",
}


def _decode_expression(hint: Any, var: str, names: dict[str, Any]) -> str:
    hint, optional = without_none(hint)
    if hint in _LEAF_DECODERS:
        text = _LEAF_DECODERS[hint].format(v=var)
    elif isinstance(hint, type) and issubclass(hint, Struct):
        names[hint.__name__] = hint
        text = f"{hint.__name__}.from_raw({var})"
    elif typing.get_origin(hint) is list:
        inner = _decode_expression(typing.get_args(hint)[0], f"{var}i", names)
        text = f"[{inner} for {var}i in array({var})]"
    elif typing.get_origin(hint) is dict:
        value = _decode_expression(typing.get_args(hint)[1], f"{var}i", names)
        text = f"{{text({var}k): {value} for {var}k, {var}i in table({var}).items()}}"
    else:
        raise TypeError(f"no wire form for {hint!r}")
    # A nil inside a list or map means the zero value, or None where that is allowed.
    if var == "v":
        return text
    zero = "None" if optional else _zero_text(hint, names)
    return f"({zero} if {var} is None else {text})"


def _zero_text(hint: Any, names: dict[str, Any]) -> str:
    if isinstance(hint, type) and issubclass(hint, Struct):
        names[hint.__name__] = hint
        return f"{hint.__name__}()"
    if hint is Time:
        names["ZERO_TIME"] = ZERO_TIME
        return "ZERO_TIME"
    if hint in (str, bytes, int, float, bool):
        return repr(hint())
    return "None"


def _make_encoder(specs: tuple[FieldSpec, ...]) -> Callable[[Any], dict[str, Any]]:
    parts = [
        f"{spec.go!r}: {_encode_expression(spec.type, f'o.{spec.attribute}')}"
        for spec in sorted(specs, key=lambda spec: spec.go.encode())
    ]
    source = f"def generated(o):\n    return {{{', '.join(parts)}}}"
    return typing.cast(Callable[[Any], dict[str, Any]], _compile(source, {}))


def _encode_expression(hint: Any, var: str, call: str = "to_raw") -> str:
    hint, optional = without_none(hint)
    if call == "to_plain" and hint in (float, Any):
        return f"{'json_any' if hint is Any else 'json_number'}({var})"
    if hint in (str, bytes, int, float, bool, Any):
        return var
    if hint is Time:
        text = f"{var}.{'to_raw' if call == 'to_raw' else 'json'}()"
    elif isinstance(hint, type):
        text = f"{var}.{call}()"
    else:
        item = "i" if var[0] != "i" else var.split(".", maxsplit=1)[0] + "i"
        inner = typing.get_args(hint)[-1]
        value = _encode_expression(inner, item, call)
        if value == item:
            return var
        if typing.get_origin(hint) is list:
            text = f"[{value} for {item} in {var}]"
        else:
            text = f"{{k: {value} for k, {item} in {var}.items()}}"
    return f"(None if {var} is None else {text})" if optional else text


def _make_plain(
    cls: type[Struct], specs: tuple[FieldSpec, ...]
) -> Callable[[Any], dict[str, Any]]:
    shown = [spec for spec in specs if spec.json != "-"]
    # The fields before the first that may be left out come in one display.
    first = next((i for i, s in enumerate(shown) if s.omit_empty), len(shown))
    parts = [f"{s.json!r}: {_plain_expression(s)}" for s in shown[:first]]
    lines = ["def generated(o):", f"    m = {{{', '.join(parts)}}}"]
    for spec in shown[first:]:
        # As Go's omitempty: a struct that is no pointer is never empty.
        test = f"if o.{spec.attribute}: " if spec.omit_empty else ""
        lines.append(f"    {test}m[{spec.json!r}] = {_plain_expression(spec)}")
    lines.append("    return m")
    namespace: dict[str, Any] = {
        "render": durations.render,
        "json_any": json_any,
        "json_number": json_number,
    }
    plain: Any = _compile("\n".join(lines), namespace)
    if sum(spec.omit_empty for spec in shown) < _MOSTLY_EMPTY:
        return typing.cast(Callable[[Any], dict[str, Any]], plain)
    zero = cls()

    def plain_unless_zero(o: Any) -> dict[str, Any]:
        return dict(zero_plain) if o == zero else plain(o)

    zero_plain = plain(zero)
    return plain_unless_zero


#: Records with so many fields that may be left out are compared with the empty one
#: first, which most of them are: definitions of checks, proxies.
_MOSTLY_EMPTY = 5


def _plain_expression(spec: FieldSpec) -> str:
    if spec.text:
        return f"render(o.{spec.attribute})"
    return _encode_expression(spec.type, f"o.{spec.attribute}", "to_plain")


# --- checks on what was read --------------------------------------------------------


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise WireError(f"msgpack: a string was expected, not {type(value).__name__}")


def _data(value: object) -> bytes:
    raise WireError(f"msgpack: bytes were expected, not {type(value).__name__}")


def _integer(value: object) -> int:
    # Beyond 64 bits it could not be written again.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**63:
        return int(value)
    raise WireError(f"msgpack: an integer was expected, not {type(value).__name__}")


def _real(value: object) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise WireError(f"msgpack: a number was expected, not {type(value).__name__}")


def _boolean(value: object) -> bool:
    raise WireError(f"msgpack: a boolean was expected, not {type(value).__name__}")


def _array(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    raise WireError(f"msgpack: an array was expected, not {type(value).__name__}")


def _table(value: object) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise WireError(f"msgpack: a map was expected, not {type(value).__name__}")


# --- exact packing, for records that hold a float32 ----------------------------------


def _pack_exactly(value: Any, out: list[bytes], *, single: bool = False) -> None:
    """Pack recursively; msgpack's packer knows one float width for all."""
    if isinstance(value, Struct):
        specs = sorted(field_specs(type(value)), key=lambda spec: spec.go.encode())
        out.append(msgpack.map_header(len(specs)))
        for spec in specs:
            out.append(msgpack.pack(spec.go))
            _pack_exactly(getattr(value, spec.attribute), out, single=spec.single)
    elif single and isinstance(value, float):
        out.append(b"\xca" + binary.pack(">f", value))
    elif isinstance(value, Time):
        out.append(msgpack.pack(value.to_raw()))
    elif isinstance(value, list):
        out.append(msgpack.array_header(len(value)))
        for item in value:
            _pack_exactly(item, out)
    elif isinstance(value, dict):
        out.append(msgpack.map_header(len(value)))
        for key, item in value.items():
            out.append(msgpack.pack(key))
            _pack_exactly(item, out)
    else:
        out.append(msgpack.pack(value))
