"""The messages of memberlist: a type byte, then one msgpack map.

Section numbers in the package refer to the order of memberlist's own message types;
the byte is the same over UDP and TCP.
"""

from typing import Any, Final, TypeVar

from consultwist.errors import WireError
from consultwist.gossip.address import canonical
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct

PING: Final = 0
INDIRECT_PING: Final = 1
ACK: Final = 2
SUSPECT: Final = 3
ALIVE: Final = 4
DEAD: Final = 5
PUSH_PULL: Final = 6
COMPOUND: Final = 7
USER: Final = 8
COMPRESS: Final = 9
ENCRYPT: Final = 10
NACK: Final = 11
HAS_CRC: Final = 12
ERROR: Final = 13
HAS_LABEL: Final = 244

U16_MAX: Final = 0xFFFF
U32_MAX: Final = 0xFFFFFFFF

#: A node's name; Serf later than 0.9.4 refuses more than 128 characters, older ones
#: none at all.
NAME_SIZE_MAX: Final = 512

#: memberlist's MetaMaxSize: senders never go over it.
META_SIZE_MAX: Final = 512


class Ping(Struct):
    """Asks for a sign of life.

    An empty `node` is answered by anyone; the source fields say where to.
    """

    seq_no: int = 0
    node: str = ""
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


class IndirectPing(Struct):
    """Asks a member to ping another one for the sender."""

    seq_no: int = 0
    target: bytes = b""
    port: int = 0
    node: str = ""
    nack: bool = False
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


class Ack(Struct):
    """Answers a ping."""

    seq_no: int = 0
    payload: bytes | None = None


class Nack(Struct):
    """Says that the target of an indirect ping has not answered in time."""

    seq_no: int = 0


class Suspect(Struct):
    """Says that a member did not answer `from_`."""

    incarnation: int = 0
    node: str = ""
    from_: str = ""


class Dead(Struct):
    """Says that a suspect has not refuted; from itself: that it has left."""

    incarnation: int = 0
    node: str = ""
    from_: str = ""


class Alive(Struct):
    """Says that a member is alive, where it is, and what it tells about itself."""

    incarnation: int = 0
    node: str = ""
    addr: bytes = b""
    port: int = 0
    meta: bytes | None = None
    vsn: bytes | None = None


class Compress(Struct):
    """A compressed message; algorithm 0 is LZW and there is no other."""

    algo: int = 0
    buf: bytes | None = None


class ErrorAnswer(Struct):
    """Says on a stream why a request was refused."""

    error: str = ""


class PushPullHeader(Struct):
    """What follows in a full state exchange."""

    nodes: int = 0
    user_state_len: int = 0
    join: bool = False


class NodeState(Struct):
    """One member in a full state exchange."""

    name: str = ""
    addr: bytes = b""
    port: int = 0
    meta: bytes | None = None
    incarnation: int = 0
    state: int = 0
    vsn: bytes | None = None


class UserHeader(Struct):
    """How many bytes of user message follow on a stream."""

    user_msg_len: int = 0


_Body = TypeVar("_Body", bound=Struct)

#: Go's decoder refuses integers that do not fit the field.
_RANGES: dict[type[Struct], tuple[tuple[str, int], ...]] = {
    Ping: (("seq_no", U32_MAX), ("source_port", U16_MAX)),
    IndirectPing: (("seq_no", U32_MAX), ("port", U16_MAX), ("source_port", U16_MAX)),
    Ack: (("seq_no", U32_MAX),),
    Nack: (("seq_no", U32_MAX),),
    Suspect: (("incarnation", U32_MAX),),
    Dead: (("incarnation", U32_MAX),),
    Alive: (("incarnation", U32_MAX), ("port", U16_MAX)),
    NodeState: (("incarnation", U32_MAX), ("port", U16_MAX), ("state", 3)),
}


def encode(kind: int, body: Struct) -> bytes:
    """Return a message: its type byte and its body."""
    return bytes((kind,)) + body.pack()


def decode(cls: type[_Body], data: bytes) -> _Body:
    """Build a body from the bytes behind the type byte; trailing bytes are ignored.

    Raises:
        WireError: where a value has the wrong type or does not fit its field.
    """
    return from_raw(cls, msgpack.unpack_first(data)[0])


def from_raw(cls: type[_Body], raw: Any) -> _Body:
    """Build a body from its decoded map, checking the ranges of integers.

    Raises:
        WireError: as `decode`.
    """
    if raw.__class__ is not dict:
        raise WireError(f"gossip: a map was expected for {cls.__name__}")
    if raw.get(b"Vsn").__class__ is list:
        # Go reads a byte slice from an array of integers, too.
        raw = raw | {b"Vsn": _octets(raw[b"Vsn"])}
    body = cls.from_raw(raw)
    for attribute, maximum in _RANGES.get(cls, ()):
        if not 0 <= getattr(body, attribute) <= maximum:
            raise WireError(f"gossip: {cls.__name__}.{attribute} is out of range")
    return body


def _octets(values: list[Any]) -> bytes:
    try:
        return bytes(values)
    except (TypeError, ValueError) as error:
        raise WireError("gossip: an array of octets was expected") from error


def acceptable(name: str, addr: bytes, meta: bytes | None) -> bool:
    """Return whether a member may be stored: its parts have sane sizes."""
    return (
        0 < len(name) <= NAME_SIZE_MAX
        and len(canonical(addr)) in (4, 16)
        and (meta is None or len(meta) <= META_SIZE_MAX)
    )


def drop_reason(error: WireError) -> str:
    """Return what is counted: few different texts, whatever the sender wrote."""
    text = str(error)
    return "gossip: undecodable message" if text.startswith("msgpack") else text


def alive_of(node: NodeState) -> Alive:
    """Return the claim that a member of a full exchange is alive."""
    return Alive(
        incarnation=node.incarnation,
        node=node.name,
        addr=node.addr,
        port=node.port,
        meta=node.meta,
        vsn=node.vsn,
    )


def node_state_of(alive: Alive) -> NodeState:
    """Return an alive message in the form of a full exchange."""
    return NodeState(
        name=alive.node,
        addr=alive.addr,
        port=alive.port,
        meta=alive.meta,
        incarnation=alive.incarnation,
        vsn=alive.vsn,
    )
