"""What a Serf asks its driver to do, beyond what its Memberlist asks for."""

import enum

import attrs

from consultwist.gossip.memberlist.actions import (
    AnswerStream,
    CloseStream,
    ExchangeEnded,
    Note,
    OpenStream,
    SendPacket,
)
from consultwist.gossip.serf.members import PoolMember
from consultwist.gossip.serf.messages import UserEvent
from consultwist.gossip.serf.query import OpenQuery, ReceivedQuery


class MemberEventKind(enum.Enum):
    """What happened to members, in Serf's words."""

    JOIN = "member-join"
    LEAVE = "member-leave"
    FAILED = "member-failed"
    UPDATE = "member-update"
    REAP = "member-reap"


@attrs.frozen
class MemberEvent:
    """Something happened to members."""

    kind: MemberEventKind
    members: tuple[PoolMember, ...]


@attrs.frozen
class UserEventReceived:
    """A user event is to be delivered."""

    event: UserEvent


@attrs.frozen
class QueryReceived:
    """A query is to be answered by the application, if it wants to."""

    query: ReceivedQuery


@attrs.frozen
class QueryAnswered:
    """A query of our own was acked (`payload` is None) or answered."""

    query: OpenQuery
    source: str
    payload: bytes | None = attrs.field(repr=False)


@attrs.frozen
class QueryFinished:
    """The time of a query of our own is over."""

    query: OpenQuery


@attrs.frozen
class Remember:
    """Append a record to the snapshot."""

    line: str


@attrs.frozen
class KeysChanged:
    """The keyring has changed; write its file."""


@attrs.frozen
class LeaveEnded:
    """The pool knows that we leave; nothing is to be waited for."""


SerfAction = (
    SendPacket
    | OpenStream
    | AnswerStream
    | CloseStream
    | ExchangeEnded
    | Note
    | MemberEvent
    | UserEventReceived
    | QueryReceived
    | QueryAnswered
    | QueryFinished
    | Remember
    | KeysChanged
    | LeaveEnded
)
