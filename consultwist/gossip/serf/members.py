"""Members as Serf sees them: statuses, intents, and who is to be forgotten.

Memberlist says who answers; intents say what members want. A member that announced its
leave before it vanished has left, any other has failed. Intents carry Lamport times,
so that a late one does not undo a newer one.
"""

import enum
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import msgspec

from consultwist.errors import BadRequest, WireError
from consultwist.gossip.address import Address, ip_text
from consultwist.gossip.memberlist.members import Member, State
from consultwist.gossip.memberlist.messages import META_SIZE_MAX, NodeState
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct

#: The first byte of tags in a member's meta; without it all of the meta is the role.
_TAG_MARK: Final = b"\xff"

#: Intents about members that are not known yet; each may join within five minutes.
INTENTS_MAX: Final = 4096


class MemberStatus(enum.IntEnum):
    """A member's status; the numbers are those of the HTTP API."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4


class PoolMember(Struct):
    """One member of a pool; replaced, never changed.

    Attributes:
        status_time: the Lamport time of the newest intent.
        gone_at: when the member left or failed, in monotonic seconds.
    """

    name: str = ""
    ip: bytes = b""
    port: int = 0
    tags: dict[str, str] = msgspec.field(default_factory=dict)
    status: int = int(MemberStatus.NONE)
    vsn: bytes = b""
    status_time: int = 0
    gone_at: float = 0.0

    @property
    def host(self) -> str:
        """The address as text."""
        return ip_text(self.ip)

    @property
    def address(self) -> Address:
        """Where the member listens."""
        return ip_text(self.ip), self.port

    @property
    def versions(self) -> tuple[int, ...]:
        """Protocol min, max, current; delegate min, max, current."""
        return tuple(self.vsn.ljust(6, b"\x00")[:6])

    @property
    def is_alive(self) -> bool:
        """Whether the member is alive and has no wish to leave."""
        return self.status == MemberStatus.ALIVE


def encode_tags(tags: dict[str, str]) -> bytes:
    """Return tags as a member's meta.

    Raises:
        BadRequest: where they are longer than a member may announce.
    """
    meta = _TAG_MARK + msgpack.pack(tags)
    if len(meta) > META_SIZE_MAX:
        raise BadRequest(
            f"Encoded length of tags exceeds limit of {META_SIZE_MAX} bytes"
        )
    return meta


@lru_cache(maxsize=16384)
def decode_tags(meta: bytes) -> dict[str, str]:
    """Return the tags in a member's meta; the dict is shared, do not change it."""
    if not meta.startswith(_TAG_MARK):
        return {"role": meta.decode("utf-8", "surrogateescape")}
    try:
        raw, _ = msgpack.unpack_first(meta[1:])
        if not isinstance(raw, dict):
            return {}
        plain = msgpack.plain(raw)
    except (WireError, TypeError):
        return {}
    return {
        key: value
        for key, value in plain.items()
        if isinstance(key, str) and isinstance(value, str)
    }


_STATUS_OF_STATE = {
    State.ALIVE: MemberStatus.ALIVE,
    State.SUSPECT: MemberStatus.ALIVE,
    State.DEAD: MemberStatus.FAILED,
    State.LEFT: MemberStatus.LEFT,
}


def of_node_state(node: NodeState) -> PoolMember:
    """Return a member that another one tells about, for the rules of admission."""
    return PoolMember(
        name=node.name,
        ip=node.addr,
        port=node.port,
        tags=decode_tags(node.meta or b""),
        status=int(_STATUS_OF_STATE[State(node.state)]),
        vsn=node.vsn or b"",
    )


class Outcome(enum.Enum):
    """What became of an intent."""

    IGNORED = enum.auto()
    NEWS = enum.auto()
    NOW_LEFT = enum.auto()
    REFUTE = enum.auto()


class SerfMembers:
    """Every member by name, with the intents that wait for theirs.

    Args:
        name: our own name.
        intent_timeout_s: how long an intent waits for its member.
    """

    def __init__(self, name: str, intent_timeout_s: float) -> None:
        self._name = name
        self._intent_timeout_s = intent_timeout_s
        self._members: dict[str, PoolMember] = {}
        # Name -> Lamport time, whether it is a leave, when it came.
        self._intents: dict[str, tuple[int, bool, float]] = {}
        # Those that failed or left, for reaping and reconnecting.
        self.failed: dict[str, None] = {}
        self.left: dict[str, None] = {}

    def __iter__(self) -> Iterator[PoolMember]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def get(self, name: str) -> PoolMember | None:
        """Return a member, or None."""
        return self._members.get(name)

    def count_alive(self) -> int:
        """Return how many members are alive."""
        return sum(member.is_alive for member in self._members.values())

    # --- from memberlist --------------------------------------------------------

    def joined(self, node: Member) -> PoolMember:
        """Take a member that memberlist found alive."""
        old = self._members.get(node.name)
        status = MemberStatus.ALIVE
        status_time = old.status_time if old else 0
        intent = self._intents.pop(node.name, None)
        if old is None and intent is not None:
            status_time = intent[0]
            if intent[1]:
                status = MemberStatus.LEAVING
        self.failed.pop(node.name, None)
        self.left.pop(node.name, None)
        member = PoolMember(
            name=node.name,
            ip=node.ip,
            port=node.port,
            tags=decode_tags(node.meta),
            status=int(status),
            vsn=node.vsn,
            status_time=status_time,
        )
        self._members[node.name] = member
        return member

    def updated(self, node: Member) -> PoolMember | None:
        """Take the new address and tags of a member."""
        old = self._members.get(node.name)
        if old is None:
            return None
        return self._replace(
            old, ip=node.ip, port=node.port, tags=decode_tags(node.meta), vsn=node.vsn
        )

    def gone(self, name: str, now: float) -> PoolMember | None:
        """Take a member that memberlist found gone: it has left, or else failed."""
        old = self._members.get(name)
        if old is None:
            return None
        if old.status == MemberStatus.LEAVING:
            self.left[name] = None
            return self._replace(old, status=int(MemberStatus.LEFT), gone_at=now)
        if old.status == MemberStatus.ALIVE:
            self.failed[name] = None
            return self._replace(old, status=int(MemberStatus.FAILED), gone_at=now)
        return None

    # --- intents ----------------------------------------------------------------

    def leave_intent(
        self, name: str, l_time: int, now: float, *, are_we_leaving: bool
    ) -> Outcome:
        """Weigh the claim that a member wants to leave, or shall have left."""
        member = self._members.get(name)
        if member is None:
            return self._buffer(name, l_time, now, is_leave=True)
        if l_time <= member.status_time:
            return Outcome.IGNORED
        if name == self._name and not are_we_leaving:
            return Outcome.REFUTE
        if member.status == MemberStatus.ALIVE:
            status = int(MemberStatus.LEAVING)
            self._replace(member, status=status, status_time=l_time)
        elif member.status == MemberStatus.FAILED:
            status = int(MemberStatus.LEFT)
            self._replace(member, status=status, status_time=l_time, gone_at=now)
            self.failed.pop(name, None)
            self.left[name] = None
            return Outcome.NOW_LEFT
        else:
            self._replace(member, status_time=l_time)
        return Outcome.NEWS

    def join_intent(self, name: str, l_time: int, now: float) -> Outcome:
        """Weigh the claim that a member wants to be here."""
        member = self._members.get(name)
        if member is None:
            return self._buffer(name, l_time, now, is_leave=False)
        if l_time <= member.status_time:
            return Outcome.IGNORED
        status = member.status
        if status == MemberStatus.LEAVING:
            status = int(MemberStatus.ALIVE)
        self._replace(member, status=status, status_time=l_time)
        return Outcome.NEWS

    def _buffer(self, name: str, l_time: int, now: float, *, is_leave: bool) -> Outcome:
        known = self._intents.get(name)
        if known is not None and l_time <= known[0]:
            return Outcome.IGNORED
        if known is None and len(self._intents) >= INTENTS_MAX:
            self.expire_intents(now)
            if len(self._intents) >= INTENTS_MAX:
                return Outcome.IGNORED
        self._intents[name] = (l_time, is_leave, now)
        return Outcome.NEWS

    def expire_intents(self, now: float) -> None:
        """Forget the intents of members that have not come in time."""
        oldest = now - self._intent_timeout_s
        self._intents = {
            name: intent for name, intent in self._intents.items() if intent[2] > oldest
        }

    @property
    def has_intents(self) -> bool:
        """Whether any intent waits for its member."""
        return bool(self._intents)

    # --- forgetting -------------------------------------------------------------

    def erase(self, name: str) -> PoolMember | None:
        """Forget a member; return it."""
        self.failed.pop(name, None)
        self.left.pop(name, None)
        return self._members.pop(name, None)

    def expired(self, now: float, failed_s: float, left_s: float) -> list[PoolMember]:
        """Return the members that have been gone for too long."""
        found = []
        for names, keep_s in ((self.failed, failed_s), (self.left, left_s)):
            for name in names:
                member = self._members[name]
                if now - member.gone_at > keep_s:
                    found.append(member)
        return found

    def _replace(self, member: PoolMember, **changes: object) -> PoolMember:
        member = msgspec.structs.replace(member, **changes)
        self._members[member.name] = member
        return member
