"""What a Memberlist asks its driver to do, and what it tells the layer above."""

import enum
from collections.abc import Hashable

import attrs

from consultwist.gossip.address import Address
from consultwist.gossip.memberlist.members import Member
from consultwist.gossip.memberlist.messages import Alive


@attrs.frozen
class SendPacket:
    """Send a datagram from the listening socket."""

    data: bytes = attrs.field(repr=False)
    address: Address


@attrs.frozen
class OpenStream:
    """Dial a member, write `data`, and read one answer if `wants_answer`."""

    stream: int
    address: Address
    data: bytes = attrs.field(repr=False)
    timeout_s: float
    wants_answer: bool = True


@attrs.frozen
class AnswerStream:
    """Write `data` to a stream that a member opened, then close it."""

    stream: Hashable
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class CloseStream:
    """Close a stream without an answer, in either direction."""

    stream: Hashable


class Change(enum.Enum):
    """What happened to a member."""

    JOINED = "joined"
    UPDATED = "updated"
    DIED = "died"
    LEFT = "left"


@attrs.frozen
class MemberChanged:
    """The table changed in a way that the layer above must know."""

    change: Change
    member: Member


@attrs.frozen
class NameConflict:
    """Another address claims the name of a member that is not gone."""

    existing: Member
    claim: Alive


@attrs.frozen
class UserMessage:
    """A message of the layer above has come in."""

    data: bytes = attrs.field(repr=False)


@attrs.frozen
class RemoteState:
    """The layer above's state has come in with a full exchange.

    Attributes:
        data: the state.
        is_join: whether the exchange is part of a join.
        stream: our stream where we opened the exchange, else None.
    """

    data: bytes = attrs.field(repr=False)
    is_join: bool
    stream: int | None = None


@attrs.frozen
class RoundTrip:
    """A direct probe was answered."""

    member: Member
    rtt_s: float
    payload: bytes | None = attrs.field(repr=False)


@attrs.frozen
class ExchangeEnded:
    """A full exchange that we opened is over; `error` says why it failed."""

    stream: int
    error: str | None


@attrs.frozen
class LeaveSpread:
    """Our leave has been sent as often as it will be, or nobody is left to hear it."""


@attrs.frozen
class Note:
    """Something that belongs into the log.

    Attributes:
        level: debug, info, warn or error.
        text: a constant message with named fields.
        fields: the values of the fields.
    """

    level: str
    text: str
    fields: dict[str, object]


Action = (
    SendPacket
    | OpenStream
    | AnswerStream
    | CloseStream
    | MemberChanged
    | NameConflict
    | UserMessage
    | RemoteState
    | RoundTrip
    | ExchangeEnded
    | LeaveSpread
    | Note
)
