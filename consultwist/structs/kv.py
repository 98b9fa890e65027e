"""Keys and values."""

from typing import Annotated

from consultwist.structs.query import QueryMeta, QueryOptions, RaftIndex, WriteRequest
from consultwist.wire.struct import Field


class DirEntry(RaftIndex):
    """A key with its value."""

    lock_index: int = 0
    key: str = ""
    flags: int = 0
    value: bytes | None = None
    session: Annotated[str, Field(omit_empty=True)] = ""


class KVSRequest(WriteRequest):
    """Changes one key, or a tree of keys."""

    datacenter: str = ""
    op: str = ""
    dir_ent: DirEntry = DirEntry()


class KeyRequest(QueryOptions):
    """Reads one key, or all keys with a prefix."""

    datacenter: str = ""
    key: str = ""


class KeyListRequest(QueryOptions):
    """Lists keys with a prefix, up to a separator."""

    datacenter: str = ""
    prefix: str = ""
    seperator: str = ""


class IndexedDirEntries(QueryMeta):
    """Keys with their values."""

    entries: list[DirEntry] | None = None


class IndexedKeyList(QueryMeta):
    """Keys."""

    keys: list[str] | None = None


class TombstoneRequest(WriteRequest):
    """Removes the tombstones of deleted keys up to an index."""

    datacenter: str = ""
    op: str = ""
    reap_index: int = 0
