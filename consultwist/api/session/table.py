"""The table of sessions, their links to checks, and what their end causes.

A session ends by its own wish, by its TTL, with its node, or with a check that it
names. The keys that it holds are then released or deleted, as its behavior says, and
the prepared queries bound to it go with it.

The catalog is only looked at, by the names of its tables: ``nodes`` by the node's
lower-case name, ``checks`` by the pair of lower-case node name and check id. Prepared
queries, where there is a table of them, are found by its index ``session``.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec.structs
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.kv.table import delete_key, held_by, release_key
from consultwist.errors import ConsultwistError
from consultwist.interfaces import IStateTable
from consultwist.state.lock_delay import LockReleased
from consultwist.state.store import Store
from consultwist.state.table import Schema
from consultwist.state.transaction import Transaction
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import Session, SessionRequest, session_key
from consultwist.wire.struct import Struct

SESSIONS: Final = "sessions"
SESSION_CHECKS: Final = "session_checks"
_PREPARED_QUERIES: Final = "prepared-queries"

RELEASE: Final = "release"
DELETE: Final = "delete"


class SessionCheck(Struct):
    """A link: a session that ends when a check of its node becomes critical."""

    node: str = ""
    check_id: str = ""
    session: str = ""


def check_ids(session: Session) -> list[str]:
    """Return the ids of all checks that a session depends on."""
    return [
        *(session.checks or ()),
        *(session.node_checks or ()),
        *(check.id for check in session.service_checks or ()),
    ]


def create_session(txn: Transaction, session: Session) -> Session:
    """Store a new session.

    Returns:
        The session as stored.

    Raises:
        ConsultwistError: where its node or a check is missing or a check is critical.
    """
    if not session.id:
        raise ConsultwistError("Missing session ID")
    behavior = session.behavior or RELEASE
    if behavior not in (RELEASE, DELETE):
        raise ConsultwistError(f"Invalid session behavior: {behavior}")
    if txn.table("nodes").get(session.node.lower()) is None:
        raise ConsultwistError("Missing node registration")
    for check_id in check_ids(session):
        _refuse_unhealthy(txn, session.node, check_id)
    stored = msgspec.structs.replace(
        session, behavior=behavior, create_index=txn.index, modify_index=txn.index
    )
    _put_session(txn, stored)
    txn.set_index(SESSIONS)
    return stored


def destroy_session(txn: Transaction, session_id: str) -> None:
    """End a session with all that hangs on it; a missing one changes nothing."""
    session: Session | None = txn.table(SESSIONS).get(session_key(session_id))
    if session is None:
        return
    drop_session(txn, session_id)
    for entry in held_by(txn, session.id):
        if session.behavior == DELETE:
            delete_key(txn, entry.key)
        else:
            release_key(txn, entry)
        txn.note(LockReleased(entry.key, session.lock_delay))
    for link in txn.table(SESSION_CHECKS).by("session", session_key(session.id)):
        txn.delete(SESSION_CHECKS, _link_key(link))
    _delete_prepared_queries(txn, session_key(session.id))


def drop_session(txn: Transaction, session_id: str) -> None:
    """Remove a session alone; its locks, links and queries stay.

    That is what a transaction's session operation does in Consul 1.8.7.
    """
    key = session_key(session_id)
    if txn.table(SESSIONS).get(key) is not None:
        txn.delete(SESSIONS, key)
        txn.set_index(SESSIONS)


def invalidate_check_sessions(txn: Transaction, node: str, check_id: str) -> None:
    """End the sessions that depend on a check, which became critical or went."""
    place = (node.lower(), check_id.lower())
    for link in txn.table(SESSION_CHECKS).by("check", place):
        destroy_session(txn, link.session)


def destroy_node_sessions(txn: Transaction, node: str) -> None:
    """End the sessions of a node, which went."""
    for session in txn.table(SESSIONS).by("node", node.lower()):
        destroy_session(txn, session.id)


def _refuse_unhealthy(txn: Transaction, node: str, check_id: str) -> None:
    check = txn.table("checks").get((node.lower(), check_id.lower()))
    if check is None:
        raise ConsultwistError(f"Missing check '{check_id}' registration")
    if check.status == "critical":
        raise ConsultwistError(f"Check '{check_id}' is in critical state")


def _put_session(txn: Transaction, session: Session) -> None:
    txn.put(SESSIONS, session)
    for check_id in check_ids(session):
        link = SessionCheck(node=session.node, check_id=check_id, session=session.id)
        txn.put(SESSION_CHECKS, link)


def _link_key(link: SessionCheck) -> tuple[str, str, str]:
    return link.node.lower(), link.check_id.lower(), session_key(link.session)


def _delete_prepared_queries(txn: Transaction, key: str) -> None:
    if _PREPARED_QUERIES not in txn.store.tables:
        return
    table = txn.table(_PREPARED_QUERIES)
    for query in table.by("session", key):
        txn.delete(_PREPARED_QUERIES, table.schema.key(query))
        txn.set_index(_PREPARED_QUERIES)


# --- commands ----------------------------------------------------------------------


def apply_session(txn: Transaction, data: bytes) -> str | None:
    """Apply a Session command; the result of a create is the session's id."""
    request = SessionRequest.unpack(data)
    if request.op == "create":
        return create_session(txn, request.session).id
    if request.op == "destroy":
        destroy_session(txn, request.session.id)
        return None
    raise ConsultwistError(f"Invalid Session operation '{request.op}'")


def _restore(txn: Transaction, raw: Any) -> None:
    session = Session.from_raw(raw)
    _put_session(txn, session)
    txn.max_index(SESSIONS, session.modify_index)


@implementer(IPlugin, IStateTable)
class SessionTable:
    """The state of sessions."""

    name = "session"
    schemas = (
        Schema(
            name=SESSIONS,
            key=lambda session: session_key(session.id),
            indexes={"node": lambda session: session.node.lower()},
        ),
        Schema(
            name=SESSION_CHECKS,
            key=_link_key,
            indexes={
                "check": lambda link: (link.node.lower(), link.check_id.lower()),
                "session": lambda link: session_key(link.session),
            },
        ),
    )

    def commands(self) -> Mapping[int, Callable[[Transaction, bytes], Any]]:
        """Return the command of sessions."""
        return {MessageType.SESSION: apply_session}

    def persist(self, store: Store) -> Iterator[tuple[int, Iterator[Struct]]]:
        """Yield the sessions; links are made again from them."""
        yield MessageType.SESSION, iter(list(store.table(SESSIONS).rows()))

    def restorers(self) -> Mapping[int, Callable[[Transaction, Any], None]]:
        """Return what puts sessions back."""
        return {MessageType.SESSION: _restore}
