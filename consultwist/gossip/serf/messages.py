"""The messages of Serf: a type byte and msgpack, inside memberlist's user type."""

from typing import Annotated, Any, Final, TypeVar

import msgspec

from consultwist.errors import WireError
from consultwist.gossip.memberlist import messages
from consultwist.wire import msgpack
from consultwist.wire.struct import Field, Nanoseconds, Struct

LEAVE: Final = 0
JOIN: Final = 1
PUSH_PULL: Final = 2
USER_EVENT: Final = 3
QUERY: Final = 4
QUERY_RESPONSE: Final = 5
CONFLICT_RESPONSE: Final = 6
KEY_REQUEST: Final = 7
KEY_RESPONSE: Final = 8
RELAY: Final = 9

#: In a query: an ack is wanted, do not pass the query on. In a response: is an ack.
FLAG_ACK: Final = 1
FLAG_NO_BROADCAST: Final = 2

FILTER_NODE: Final = 0
FILTER_TAG: Final = 1

_U64_MAX = 2**64 - 1


class LeaveIntent(Struct):
    """A member is about to leave, or is to be taken as left."""

    l_time: int = 0
    node: str = ""
    prune: bool = False


class JoinIntent(Struct):
    """A member has joined."""

    l_time: int = 0
    node: str = ""


class UserEvent(Struct):
    """Something that a user tells all members."""

    l_time: int = 0
    name: str = ""
    payload: bytes | None = None
    cc: Annotated[bool, Field(name="CC")] = False


class RecentEvent(Struct):
    """A user event in the state exchange."""

    name: str = ""
    payload: bytes | None = None


class RecentEvents(Struct):
    """The user events of one Lamport time."""

    l_time: int = 0
    events: list[RecentEvent] | None = None


class SerfState(Struct):
    """Serf's part of a full exchange."""

    l_time: int = 0
    status_l_times: dict[str, int] | None = None
    left_members: list[str] | None = None
    event_l_time: int = 0
    events: list[RecentEvents | None] | None = None
    query_l_time: int = 0


class Query(Struct):
    """A question to all members that match the filters."""

    l_time: int = 0
    id: int = 0
    addr: bytes = b""
    port: int = 0
    source_node: str = ""
    filters: list[bytes] | None = None
    flags: int = 0
    relay_factor: int = 0
    timeout: Nanoseconds = 0
    name: str = ""
    payload: bytes | None = None


class QueryResponse(Struct):
    """An ack or answer to a query."""

    l_time: int = 0
    id: int = 0
    from_: str = ""
    flags: int = 0
    payload: bytes | None = None


class TagFilter(Struct):
    """A regular expression that a tag must match."""

    tag: str = ""
    expr: str = ""


class ConflictMember(Struct):
    """What a member knows about a disputed name."""

    name: str = ""
    addr: bytes | None = None
    port: int = 0
    tags: dict[str, str] | None = None
    status: int = 0
    protocol_min: int = 0
    protocol_max: int = 0
    protocol_cur: int = 0
    delegate_min: int = 0
    delegate_max: int = 0
    delegate_cur: int = 0


class KeyRequest(Struct):
    """The key that a key query is about."""

    key: bytes | None = None


class KeyResponse(Struct):
    """A member's answer to a key query."""

    result: bool = False
    message: str = ""
    keys: list[str] | None = None
    primary_key: str = ""


class RelayAddress(Struct):
    """Go's net.UDPAddr."""

    ip: bytes = b""
    port: int = 0
    zone: str = ""


class RelayHeader(Struct):
    """Where to pass on the message behind the header."""

    dest_addr: RelayAddress = msgspec.field(default_factory=RelayAddress)
    dest_name: str = ""


_Body = TypeVar("_Body", bound=Struct)

_RANGES: dict[type[Struct], tuple[tuple[str, int], ...]] = {
    LeaveIntent: (("l_time", _U64_MAX),),
    JoinIntent: (("l_time", _U64_MAX),),
    UserEvent: (("l_time", _U64_MAX),),
    SerfState: (
        ("l_time", _U64_MAX),
        ("event_l_time", _U64_MAX),
        ("query_l_time", _U64_MAX),
    ),
    Query: (
        ("l_time", _U64_MAX),
        ("id", messages.U32_MAX),
        ("port", messages.U16_MAX),
        ("flags", messages.U32_MAX),
        ("relay_factor", 255),
        ("timeout", 2**63 - 1),
    ),
    QueryResponse: (
        ("l_time", _U64_MAX),
        ("id", messages.U32_MAX),
        ("flags", messages.U32_MAX),
    ),
    RelayAddress: (("port", messages.U16_MAX),),
}


def encode(kind: int, body: Struct) -> bytes:
    """Return a Serf message: its type byte and its body."""
    return bytes((kind,)) + body.pack()


def user(message: bytes) -> bytes:
    """Return the memberlist message that carries a Serf message."""
    return b"\x08" + message


def decode(cls: type[_Body], data: bytes) -> _Body:
    """Build a body from the bytes behind the type byte; trailing bytes are ignored.

    Raises:
        WireError: where a value has the wrong type or does not fit its field.
    """
    return _checked(cls, msgpack.unpack_first(data)[0])


def decode_relay(data: bytes) -> tuple[RelayHeader, bytes]:
    """Return a relay header and the message behind it.

    Raises:
        WireError: as `decode`.
    """
    raw, message = msgpack.unpack_first(data)
    header = _checked(RelayHeader, raw)
    _check_ranges(header.dest_addr)
    return header, message


def _checked(cls: type[_Body], raw: Any) -> _Body:
    if raw.__class__ is not dict:
        raise WireError(f"serf: a map was expected for {cls.__name__}")
    body = cls.from_raw(raw)
    _check_ranges(body)
    return body


def _check_ranges(body: Struct) -> None:
    for attribute, maximum in _RANGES.get(type(body), ()):
        if not 0 <= getattr(body, attribute) <= maximum:
            kind = type(body).__name__
            raise WireError(f"serf: {kind}.{attribute} is out of range")
