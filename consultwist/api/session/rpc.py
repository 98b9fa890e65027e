"""RPC methods of sessions."""

from functools import partial
from typing import Any, Final

import msgspec.structs
from twisted.internet.defer import Deferred

from consultwist import durations
from consultwist.acl.authorizer import FILTERED, Authorizer
from consultwist.api.session.table import DELETE, RELEASE, SESSIONS
from consultwist.errors import ConsultwistError, PermissionDenied
from consultwist.server.blocking import Parkable
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.state.store import Store, row_index
from consultwist.state.watch import WatchSet
from consultwist.structs.catalog import NodeSpecificRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import (
    IndexedSessions,
    Session,
    SessionRequest,
    SessionSpecificRequest,
    session_key,
)
from consultwist.structs.uuids import make_uuid

#: The shortest TTL of a session, where ``session_ttl_min`` is not set (Consul: 10 s).
TTL_MIN: Final = 10 * durations.SECOND
#: The longest TTL of a session (Consul: 24 h).
TTL_MAX: Final = 24 * durations.HOUR


def apply_rule(authorizer: Authorizer, request: SessionRequest) -> bool:
    """Ask for write access to the node of a new session.

    The node of an existing one is not in the request: `Sessions.apply` asks.
    """
    return request.op != "create" or authorizer.allows(
        "session", "write", request.session.node
    )


class Sessions(Endpoint):
    """RPC methods of sessions."""

    name = "Session"

    @method(SessionRequest, acl=apply_rule, write=True)
    def apply(self, call: Call, request: SessionRequest) -> Parkable[str]:
        """Create or destroy a session; returns the id of a new one."""
        if request.op == "destroy":
            return _destroy(call, request)
        if request.op != "create":
            raise ConsultwistError(f'Invalid session operation "{request.op}"')
        return _create(call, request)

    @method(SessionSpecificRequest, acl=FILTERED)
    def get(
        self, call: Call, request: SessionSpecificRequest
    ) -> Parkable[IndexedSessions]:
        """Return one session, or none."""
        query = partial(_get, call.server.store, session_key(_asked_for(request)))
        return call.blocking_query(request, query, _reply)

    @method(SessionSpecificRequest, acl=FILTERED)
    def list_(
        self, call: Call, request: SessionSpecificRequest
    ) -> Parkable[IndexedSessions]:
        """Return all sessions."""
        return call.blocking_query(
            request, partial(_list, call.server.store), _reply, kept=True
        )

    @method(NodeSpecificRequest, acl=FILTERED)
    def node_sessions(
        self, call: Call, request: NodeSpecificRequest
    ) -> Parkable[IndexedSessions]:
        """Return the sessions of a node."""
        query = partial(_node_sessions, call.server.store, request.node.lower())
        return call.blocking_query(request, query, _reply)

    @method(SessionSpecificRequest, acl=FILTERED, write=True)
    def renew(self, call: Call, request: SessionSpecificRequest) -> IndexedSessions:
        """Give a session its full TTL again; returns it, or nothing."""
        store = call.server.store
        session = store.table(SESSIONS).get(session_key(_asked_for(request)))
        if session is None:
            return IndexedSessions(index=store.index(SESSIONS))
        if not call.authorizer.allows("session", "write", session.node):
            raise PermissionDenied
        call.server.session_timers.renew(session)
        return IndexedSessions(index=store.index(SESSIONS), sessions=[session])


def _create(call: Call, request: SessionRequest) -> Deferred[str]:
    wanted = request.session
    if not wanted.node:
        raise ConsultwistError("Must provide Node")
    session = msgspec.structs.replace(
        wanted, id=_fresh_id(call), behavior=_behavior(wanted)
    )
    _refuse_ttl(session.ttl, call.server.config.session_ttl_min)
    done = call.server.raft_apply(
        MessageType.SESSION, msgspec.structs.replace(request, session=session)
    )
    return done.addCallback(_created, call, session)


def _created(session_id: str, call: Call, session: Session) -> str:
    call.server.session_timers.renew(session)
    return session_id


def _destroy(call: Call, request: SessionRequest) -> Parkable[str]:
    session_id = request.session.id
    if not session_id:
        raise ConsultwistError("Must provide ID")
    existing = call.server.store.table(SESSIONS).get(session_key(session_id))
    if existing is None:
        return ""
    if not call.authorizer.allows("session", "write", existing.node):
        raise PermissionDenied
    session = msgspec.structs.replace(
        request.session, behavior=_behavior(request.session)
    )
    done = call.server.raft_apply(
        MessageType.SESSION, msgspec.structs.replace(request, session=session)
    )
    return done.addCallback(_destroyed, call, session_id)


def _destroyed(_: Any, call: Call, session_id: str) -> str:
    call.server.session_timers.forget(session_id)
    return ""


def _fresh_id(call: Call) -> str:
    """Choose an id here: what is applied must be the same on every server."""
    table = call.server.store.table(SESSIONS)
    while True:
        session_id = make_uuid(call.server.rng)
        if table.get(session_key(session_id)) is None:
            return session_id


def _behavior(session: Session) -> str:
    behavior = session.behavior or RELEASE
    if behavior not in (RELEASE, DELETE):
        raise ConsultwistError(f"Invalid Behavior setting '{behavior}'")
    return behavior


def _refuse_ttl(text: str, ttl_min_s: float) -> None:
    if not text:
        return
    try:
        ttl = durations.parse(text)
    except ValueError as error:
        raise ConsultwistError(f"Session TTL '{text}' invalid: {error}") from error
    ttl_min = int(ttl_min_s * durations.SECOND) or TTL_MIN
    if ttl and not ttl_min <= ttl <= TTL_MAX:
        limits = f"{durations.render(ttl_min)}={durations.render(TTL_MAX)}"
        raise ConsultwistError(
            f"Invalid Session TTL '{ttl}', must be between [{limits}]"
        )


def _asked_for(request: SessionSpecificRequest) -> str:
    # Releases before 1.7 named the session in another field.
    return request.session_id or request.session


def _reply(sessions: list[Session], **meta: Any) -> IndexedSessions:
    return IndexedSessions(sessions=sessions, **meta)


def _get(store: Store, key: str, seen: WatchSet) -> tuple[int, list[Session] | None]:
    index = row_index(store, seen, SESSIONS)
    session = store.table(SESSIONS).get(key)
    return index, None if session is None else [session]


def _list(store: Store, seen: WatchSet) -> tuple[int, list[Session]]:
    return row_index(store, seen, SESSIONS), list(store.table(SESSIONS).rows())


def _node_sessions(
    store: Store, node: str, seen: WatchSet
) -> tuple[int, list[Session]]:
    return row_index(store, seen, SESSIONS), store.table(SESSIONS).by("node", node)
