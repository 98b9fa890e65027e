"""Reply types: what a method's answer looks like on the wire.

A method says it by the return annotation of its function, such as
``Parkable[IndexedNodes]``; both ends take it from there. Replies are records, or one of
a few bare values; None stands for Go's empty structure.
"""

import types
import typing
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from consultwist.errors import WireError
from consultwist.rpc.codec import EMPTY_BODY
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct, field_specs


@attrs.frozen
class Reply:
    """How replies of one type are packed, and read.

    Attributes:
        name: the type in the notation of Go's structures, for documentation and tests.
        pack: makes the bytes of a reply.
        read: makes a reply from the decoded msgpack value; raises WireError.
    """

    name: str
    pack: Callable[[Any], bytes]
    read: Callable[[Any], Any]


def reply_of(function: Callable[..., Any]) -> Reply:
    """Return the reply type of a method from its return annotation.

    Raises:
        TypeError: where there is none, or none that crosses the wire.
    """
    hint = typing.get_type_hints(function).get("return", Any)
    kinds = {_value_type(each) for each in _alternatives(hint)}
    if len(kinds) != 1:
        raise TypeError(f"{function.__qualname__} must say what it returns, not {hint}")
    return reply_type(kinds.pop())


def reply_type(kind: Any) -> Reply:
    """Return how values of a Python type cross the wire.

    Raises:
        TypeError: where they do not.
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, Struct):
        name = kind.__name__ if field_specs(kind) else "-"
        return Reply(name, lambda value: value.pack(), kind.from_raw)
    if typing.get_origin(kind) is list:
        return _list_of(typing.get_args(kind)[0])
    raise TypeError(f"{kind!r} is no type of replies")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _value_type(hint: Any) -> Any:
    """Return what a Deferred fires with, or the hint itself."""
    if typing.get_origin(hint) is Deferred:
        hint = typing.get_args(hint)[0]
    return types.NoneType if hint is None else hint


def _list_of(item: Any) -> Reply:
    if item is str:
        return Reply("[str]", msgpack.pack, _read_texts)
    if isinstance(item, type) and issubclass(item, Struct):
        return Reply(
            f"[{item.__name__}]",
            lambda rows: (
                msgpack.array_header(len(rows)) + b"".join(row.pack() for row in rows)
            ),
            lambda raw: [item.from_raw(row) for row in _read_list(raw)],
        )
    raise TypeError(f"a list of {item!r} is no type of replies")


def _read_text(raw: Any) -> str:
    if not isinstance(raw, bytes):
        raise WireError("rpc: a text was expected as the reply")
    return raw.decode("utf-8", "surrogateescape")


def _read_list(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise WireError("rpc: a list was expected as the reply")
    return raw


def _read_texts(raw: Any) -> list[str]:
    return [_read_text(item) for item in _read_list(raw)]


def _read_bool(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise WireError("rpc: true or false was expected as the reply")
    return raw


def _read_int(raw: Any) -> int:
    if not isinstance(raw, int):
        raise WireError("rpc: a number was expected as the reply")
    return raw


_PLAIN: dict[Any, Reply] = {
    types.NoneType: Reply("-", lambda _: EMPTY_BODY, lambda _: None),
    str: Reply("str", msgpack.pack, _read_text),
    bool: Reply("bool", msgpack.pack, _read_bool),
    int: Reply("int", msgpack.pack, _read_int),
    Any: Reply("any", msgpack.pack, msgpack.plain),
}
