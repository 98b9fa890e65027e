"""RPC methods of the key/value store."""

from functools import partial
from typing import Any, Final

from consultwist.acl.authorizer import FILTERED, Authorizer
from consultwist.api.kv.table import KVS as KVS_TABLE
from consultwist.api.kv.table import TOMBSTONES
from consultwist.errors import ConsultwistError
from consultwist.server.blocking import Parkable
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.state import watch
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.kv import (
    DirEntry,
    IndexedDirEntries,
    IndexedKeyList,
    KeyListRequest,
    KeyRequest,
    KVSRequest,
)
from consultwist.structs.message_type import MessageType


def write_rule(authorizer: Authorizer, request: KVSRequest) -> bool:
    """Ask for write access to the key, or to the whole tree."""
    return authorizer.allows("key", "write", request.dir_ent.key)


def read_rule(authorizer: Authorizer, request: KeyRequest) -> bool:
    """Ask for read access to the key."""
    return authorizer.allows("key", "read", request.key)


class KVS(Endpoint):
    """RPC methods of the key/value store."""

    name = "KVS"

    @method(KVSRequest, acl=write_rule, write=True)
    def apply(self, call: Call, request: KVSRequest) -> Parkable[bool]:
        """Change one key, or a tree of keys; tells whether it was done."""
        if not request.dir_ent.key and request.op != "delete-tree":
            raise ConsultwistError("Must provide key")
        if request.op == "lock" and call.server.lock_delays.holds(request.dir_ent.key):
            return False
        return call.server.raft_apply(MessageType.KVS, request)

    @method(KeyRequest, acl=read_rule)
    def get(self, call: Call, request: KeyRequest) -> Parkable[IndexedDirEntries]:
        """Return the entry of one key, or none."""
        return call.blocking_query(
            request, partial(_get, call.server.store, request.key), _entries_reply
        )

    @method(KeyRequest, acl=FILTERED)
    def list_(self, call: Call, request: KeyRequest) -> Parkable[IndexedDirEntries]:
        """Return the entries of all keys with a prefix."""
        return call.blocking_query(
            request, partial(_list, call.server.store, request.key), _entries_reply
        )

    @method(KeyListRequest, acl=FILTERED)
    def list_keys(
        self, call: Call, request: KeyListRequest
    ) -> Parkable[IndexedKeyList]:
        """Return the keys with a prefix, each cut behind the next separator."""
        query = partial(
            _list_keys, call.server.store, request.prefix, request.seperator
        )
        return call.blocking_query(request, query, _keys_reply)


def _entries_reply(entries: list[DirEntry], **meta: Any) -> IndexedDirEntries:
    return IndexedDirEntries(entries=entries, **meta)


def _keys_reply(keys: list[str], **meta: Any) -> IndexedKeyList:
    return IndexedKeyList(keys=keys, **meta)


#: Shared by all answers that found nothing; payloads are never changed.
_NOTHING: Final[list[DirEntry]] = []


def _get(store: Store, key: str, seen: WatchSet) -> tuple[int, list[DirEntry]]:
    seen.add(watch.key(KVS_TABLE, key))
    entry = store.table(KVS_TABLE).get(key)
    if entry is not None:
        return entry.modify_index, [entry]
    return store.index(KVS_TABLE, TOMBSTONES), _NOTHING


def _list(store: Store, start: str, seen: WatchSet) -> tuple[int, list[DirEntry]]:
    entries = store.table(KVS_TABLE).prefix(start)
    highest = max((entry.modify_index for entry in entries), default=0)
    return _prefix_index(store, start, highest, seen), entries


def _list_keys(
    store: Store, start: str, separator: str, seen: WatchSet
) -> tuple[int, list[str]]:
    highest = 0
    keys: list[str] = []
    last = None
    for entry in store.table(KVS_TABLE).prefix(start):
        highest = max(highest, entry.modify_index)
        key = entry.key
        if separator:
            at = key.find(separator, len(start))
            if at >= 0:
                key = key[: at + len(separator)]
        if key != last:
            keys.append(key)
            last = key
    return _prefix_index(store, start, highest, seen), keys


def _prefix_index(store: Store, start: str, highest: int, seen: WatchSet) -> int:
    """Return the index of a listing: of its keys and of what was deleted there."""
    if not start:
        return row_index(store, seen, KVS_TABLE, TOMBSTONES)
    seen.add(watch.prefix(KVS_TABLE, start))
    seen.add(watch.prefix(TOMBSTONES, start))
    buried = store.table(TOMBSTONES).prefix(start)
    highest = max(highest, *(row.modify_index for row in buried), 0)
    return highest or store.index(KVS_TABLE, TOMBSTONES)
