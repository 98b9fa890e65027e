"""The records of Raft as they stand on the wire.

Requests and responses are flat maps. Newer Raft libraries add ``ID`` and ``Addr`` of
the sender to each; they are read where present, and written only where they were
given, so that a message looks as Consul 1.8.7 writes it.
"""

import enum
from typing import Any, ClassVar, Final, Self

from consultwist.errors import WireError
from consultwist.raft.settings import PROTOCOL_VERSION
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct


class LogType(enum.IntEnum):
    """What an entry of the log is; the numbers of the wire."""

    COMMAND = 0
    NOOP = 1
    ADD_PEER = 2
    REMOVE_PEER = 3
    BARRIER = 4
    CONFIGURATION = 5


class Entry(Struct):
    """One entry of the log, with its wire form, which is made only once.

    The same bytes go into the log on disk and to the followers.
    """

    index: int = 0
    term: int = 0
    type: int = 0
    data: bytes | None = None
    extensions: bytes | None = None
    encoded: bytes = b""

    @classmethod
    def make(
        cls,
        index: int,
        term: int,
        kind: int,
        data: bytes | None = None,
        extensions: bytes | None = None,
    ) -> Self:
        """Return a new entry, encoded."""
        encoded = msgpack.pack(
            {
                "Data": data,
                "Extensions": extensions,
                "Index": index,
                "Term": term,
                "Type": kind,
            }
        )
        return cls(
            index=index,
            term=term,
            type=kind,
            data=data,
            extensions=extensions,
            encoded=encoded,
        )

    @classmethod
    def from_raw(cls, raw: object) -> Self:
        """Build an entry from its decoded map; its bytes are packed again."""
        return cls.from_encoded(raw, msgpack.pack(raw))

    @classmethod
    def from_encoded(cls, raw: object, encoded: bytes) -> Self:
        """Build an entry from its decoded map and the bytes it came from."""
        if not isinstance(raw, dict):
            raise WireError("raft: an entry is no map")
        entry = cls(
            index=raw.get(b"Index", 0),
            term=raw.get(b"Term", 0),
            type=raw.get(b"Type", 0),
            data=raw.get(b"Data"),
            extensions=raw.get(b"Extensions"),
            encoded=encoded,
        )
        if not _is_sound(entry):
            raise WireError("raft: an entry has a field of the wrong type")
        return entry

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Self:
        """Build an entry from its bytes, which are kept."""
        return cls.from_encoded(msgpack.unpack(data), bytes(data))

    @classmethod
    def unpack_own(cls, data: bytes) -> Self:
        """Build an entry from bytes that were checked when they were stored."""
        raw = msgpack.unpack(data)
        return cls(
            index=raw[b"Index"],
            term=raw[b"Term"],
            type=raw.get(b"Type", 0),
            data=raw.get(b"Data"),
            extensions=raw.get(b"Extensions"),
            encoded=data,
        )

    def to_raw(self) -> dict[str, Any]:
        """Return the plain map."""
        return {
            "Data": self.data,
            "Extensions": self.extensions,
            "Index": self.index,
            "Term": self.term,
            "Type": self.type,
        }

    def pack(self) -> bytes:
        """Return the wire form."""
        return self.encoded

    def describe(self) -> str:
        """Return ``index/term kind`` for traces."""
        text = f"{self.index}/{self.term}"
        if self.type == LogType.COMMAND:
            return f"{text} {(self.data or b'').decode('latin-1')!r}"
        return f"{text} {LogType(self.type).name.lower()}"


_KINDS: Final = frozenset(LogType)


def _is_sound(entry: Entry) -> bool:
    return (
        entry.index.__class__ is int
        and entry.index > 0
        and entry.term.__class__ is int
        and entry.term > 0
        and entry.type in _KINDS
        and (entry.data is None or entry.data.__class__ is bytes)
        and (entry.extensions is None or entry.extensions.__class__ is bytes)
    )


class Message(Struct):
    """What every request and response carries.

    ``id`` and ``addr`` are the sender's, from newer libraries only.
    """

    protocol_version: int = 0
    id: bytes | None = None
    addr: bytes | None = None

    def to_raw(self) -> dict[str, Any]:
        """Return the plain map without the sender where it was not given."""
        raw = super().to_raw()
        if self.id is None:
            del raw["ID"]
        if self.addr is None:
            del raw["Addr"]
        return raw

    def pack(self) -> bytes:
        """Return the msgpack bytes."""
        return msgpack.pack(self.to_raw())

    def describe(self) -> str:
        """Return the name and the fields that are not zero, for traces."""
        shown = []
        for name in sorted(type(self).__struct_fields__):
            value = getattr(self, name)
            if name in ("protocol_version", "configuration", "peers") or not value:
                continue
            shown.append(f"{name}={_shown(value)}")
        return " ".join([type(self).__name__, *shown])


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        return "[" + ", ".join(item.describe() for item in value) + "]"
    return str(value)


class Response(Message):
    """What every response carries besides; TimeoutNow's has no term."""

    term: int = 0


class AppendEntriesResponse(Response):
    """The answer to AppendEntries.

    ``last_log`` is the follower's last index as it was before the entries were
    appended: it says nothing about them.
    """

    last_log: int = 0
    success: bool = False
    no_retry_backoff: bool = False


class RequestVoteResponse(Response):
    """The answer to RequestVote; ``peers`` is for protocol versions before 2."""

    granted: bool = False
    peers: bytes | None = None


class RequestPreVoteResponse(Response):
    """The answer to RequestPreVote."""

    granted: bool = False


class InstallSnapshotResponse(Response):
    """The answer to InstallSnapshot, given when the state machine holds the state."""

    success: bool = False


class TimeoutNowResponse(Message):
    """The answer to TimeoutNow: it arrived."""

    @property
    def term(self) -> int:
        """No term is told."""
        return 0


class Request(Message):
    """What every request carries, and how it is told apart on the wire."""

    kind: ClassVar[int]
    response: ClassVar[type[Message]]


class AppendEntries(Request):
    """Entries, or a commit index, or a heartbeat (``entries`` nil)."""

    kind = 0
    response = AppendEntriesResponse

    term: int = 0
    leader: bytes = b""
    prev_log_entry: int = 0
    prev_log_term: int = 0
    entries: list[Entry] | None = None
    leader_commit_index: int = 0

    @property
    def is_heartbeat(self) -> bool:
        """Tell whether this only says that the leader lives."""
        return not (self.entries or self.prev_log_entry or self.leader_commit_index)


class RequestVote(Request):
    """A candidate asks for a vote."""

    kind = 1
    response = RequestVoteResponse

    term: int = 0
    candidate: bytes = b""
    last_log_index: int = 0
    last_log_term: int = 0
    leadership_transfer: bool = False


class InstallSnapshot(Request):
    """A snapshot, followed on the stream by ``size`` raw bytes."""

    kind = 2
    response = InstallSnapshotResponse

    snapshot_version: int = 0
    term: int = 0
    leader: bytes = b""
    last_log_index: int = 0
    last_log_term: int = 0
    peers: bytes = b""
    configuration: bytes = b""
    configuration_index: int = 0
    size: int = 0


class TimeoutNow(Request):
    """The leader tells its successor to stand for election at once."""

    kind = 3
    response = TimeoutNowResponse


class RequestPreVote(Request):
    """Would you vote for me? Newer than Consul 1.8.7."""

    kind = 4
    response = RequestPreVoteResponse

    term: int = 0
    last_log_index: int = 0
    last_log_term: int = 0


REQUESTS: Final[dict[int, type[Request]]] = {
    request.kind: request
    for request in (
        AppendEntries,
        RequestVote,
        InstallSnapshot,
        TimeoutNow,
        RequestPreVote,
    )
}

#: Every message of ours says so.
VERSION: Final = PROTOCOL_VERSION
