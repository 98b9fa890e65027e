"""The paths of the key/value store: ``/v1/kv/<key>``.

Reading and writing single keys is what agents do most, so entries take a shorter way
to JSON here than other records.
"""

from typing import Final
from urllib.parse import quote_plus

import msgspec
import msgspec.structs
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import BadRequest, ConsultwistError
from consultwist.http.messages import (
    Indexed,
    MaybeLater,
    Request,
    Response,
    query_pairs,
)
from consultwist.http.params import (
    query_options,
    refuse_namespace,
    write_options,
)
from consultwist.http.responses import index_headers, then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.kv import (
    DirEntry,
    IndexedDirEntries,
    IndexedKeyList,
    KeyListRequest,
    KeyRequest,
    KVSRequest,
)
from consultwist.wire import json
from consultwist.wire.strconv import parse_uint

#: What a value sent as it is goes out with: nobody's browser may run it.
_RAW_HEADERS: Final = (
    ("Content-Security-Policy", "sandbox"),
    ("X-Content-Type-Options", "nosniff"),
)


class KVEndpoints:
    """The paths of the key/value store, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/kv/")
    def get(self, request: Request) -> MaybeLater:
        """Return a key, all keys with a prefix, or their names."""
        refuse_namespace(request)
        query = request.query
        key = request.rest
        if "keys" in query:
            return self._list_keys(request, key)
        if "recurse" not in query and not key:
            raise BadRequest("Missing key name")
        wanted = KeyRequest(key=key, **query_options(request, self.agent))
        if "recurse" in query:
            return then(self.agent.rpc("KVS.List", wanted), _entries)
        show = _raw if "raw" in query else _entries
        reply = self.agent.rpc("KVS.Get", wanted)
        if isinstance(reply, Deferred):
            return reply.addCallback(show)
        return show(reply)

    @route("PUT", "/v1/kv/", body_limit="kv_max_value_size")
    def put(self, request: Request) -> MaybeLater:
        """Store a key, acquire or release its lock."""
        refuse_namespace(request)
        key = request.rest
        if not key:
            raise BadRequest("Missing key name")
        operation, entry = _put_order(request, key)
        order = KVSRequest(
            op=operation, dir_ent=entry, **write_options(request, self.agent)
        )
        done = self.agent.rpc("KVS.Apply", order)
        return then(done, _always_true) if operation == "set" else done

    @route("DELETE", "/v1/kv/")
    def delete(self, request: Request) -> MaybeLater:
        """Delete a key, or all keys with a prefix."""
        refuse_namespace(request)
        _refuse_conflict(request, "recurse", "cas")
        key = request.rest
        operation = "delete-tree" if "recurse" in request.query else "delete"
        modify_index = 0
        if operation == "delete" and not key:
            raise BadRequest("Missing key name")
        if "cas" in request.query:
            operation = "delete-cas"
            modify_index = _number(request, "cas")
        order = KVSRequest(
            op=operation,
            dir_ent=DirEntry(key=key, modify_index=modify_index),
            **write_options(request, self.agent),
        )
        done = self.agent.rpc("KVS.Apply", order)
        return done if operation == "delete-cas" else then(done, _always_true)

    def _list_keys(self, request: Request, prefix: str) -> MaybeLater:
        query = request.query
        wanted = KeyListRequest(
            prefix=prefix,
            # The misspelling is as old as the API.
            seperator=query.get("separator") or query.get("seperator", ""),
            **query_options(request, self.agent),
        )

        def show(reply: IndexedKeyList) -> MaybeLater:
            if not reply.keys and prefix:
                return _missing(reply)
            return Indexed(reply, reply.keys or (), kept=False)

        return then(self.agent.rpc("KVS.ListKeys", wanted), show)


@implementer(IPlugin, IHTTPEndpoint)
class KVRoutes:
    """The paths of the key/value store."""

    name = "kv"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(KVEndpoints(agent))


def _put_order(request: Request, key: str) -> tuple[str, DirEntry]:
    """Return the operation and the entry that a write asks for."""
    value = request.body or None
    query = request.query
    if not query:
        return "set", DirEntry(key=key, value=value)
    _refuse_conflict(request, "cas", "acquire", "release")
    flags = _number(request, "flags") if "flags" in query else 0
    operation, modify_index, session = "set", 0, ""
    if "cas" in query:
        operation, modify_index = "cas", _number(request, "cas")
    elif "acquire" in query:
        operation, session = "lock", query["acquire"]
    elif "release" in query:
        operation, session = "unlock", query["release"]
    return operation, DirEntry(
        key=key, value=value, flags=flags, modify_index=modify_index, session=session
    )


def _refuse_conflict(request: Request, *names: str) -> None:
    if sum(name in request.query for name in names) > 1:
        pairs = sorted(query_pairs(request.raw_query), key=lambda pair: pair[0])
        shown = "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in pairs)
        raise BadRequest(f"Conflicting flags: {shown}")


def _escaped(text: str) -> str:
    return quote_plus(text.encode("utf-8", "surrogateescape"))


def _number(request: Request, name: str) -> int:
    try:
        return parse_uint(request.query[name])
    except ValueError as error:
        raise ConsultwistError(str(error)) from error


def _always_true(_: object) -> bool:
    # A stock server answers false to a plain write: it did not ask a question.
    return True


# --- showing entries -----------------------------------------------------------------


def _missing(reply: IndexedDirEntries | IndexedKeyList) -> Response:
    return Response(status=404, headers=index_headers(reply))


def _raw(reply: IndexedDirEntries) -> Response:
    if not reply.entries:
        return _missing(reply)
    return Response(
        reply.entries[0].value or b"",
        content_type="text/plain",
        headers=(*index_headers(reply), *_RAW_HEADERS),
    )


def _entries(reply: IndexedDirEntries) -> MaybeLater:
    if not reply.entries:
        return _missing(reply)
    return Indexed(reply, entries_json(reply.entries), kept=False)


class _Shown(msgspec.Struct, gc=False):
    """An entry as msgspec writes it to JSON by itself, many times as fast."""

    LockIndex: int
    Key: str
    Flags: int
    Value: bytes | None
    CreateIndex: int
    ModifyIndex: int


class _ShownLocked(msgspec.Struct, gc=False):
    """The same for an entry that a session holds."""

    LockIndex: int
    Key: str
    Flags: int
    Value: bytes | None
    Session: str
    CreateIndex: int
    ModifyIndex: int


_encoder: Final = msgspec.json.Encoder()


def entries_json(entries: list[DirEntry]) -> bytes:
    """Return the JSON of entries, as `wire.json.encode` would write it."""
    try:
        return json.escape(_encoder.encode([_shown(entry) for entry in entries]))
    except UnicodeEncodeError:  # a key with bytes that are not UTF-8
        return json.encode([_with_null(entry) for entry in entries])


def _shown(entry: DirEntry) -> _Shown | _ShownLocked:
    value = entry.value or None
    if entry.session:
        return _ShownLocked(
            entry.lock_index,
            entry.key,
            entry.flags,
            value,
            entry.session,
            entry.create_index,
            entry.modify_index,
        )
    return _Shown(
        entry.lock_index,
        entry.key,
        entry.flags,
        value,
        entry.create_index,
        entry.modify_index,
    )


def _with_null(entry: DirEntry) -> DirEntry:
    return msgspec.structs.replace(entry, value=entry.value or None)
