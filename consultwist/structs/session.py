"""Sessions: locks bound to a node and its health."""

from typing import Annotated

from consultwist.errors import ConsultwistError
from consultwist.structs.query import QueryMeta, QueryOptions, RaftIndex, WriteRequest
from consultwist.structs.uuids import uuid_key
from consultwist.wire.struct import Field, Nanoseconds, Struct


def session_key(session_id: str) -> str:
    """Return what a session is looked up by.

    Raises:
        ConsultwistError: where the id is no UUID.
    """
    try:
        return uuid_key(session_id)
    except ConsultwistError as error:
        raise ConsultwistError(f"failed session lookup: {error}") from error


class ServiceCheck(Struct):
    """A service check that a session depends on."""

    id: str = ""
    namespace: str = ""


class Session(RaftIndex):
    """A session."""

    id: str = ""
    name: str = ""
    node: str = ""
    lock_delay: Nanoseconds = 0
    behavior: str = ""
    ttl: str = ""
    node_checks: list[str] | None = None
    service_checks: list[ServiceCheck] | None = None
    checks: Annotated[list[str] | None, Field(omit_empty=True)] = None


class SessionRequest(WriteRequest):
    """Creates or destroys a session."""

    datacenter: str = ""
    op: str = ""
    session: Session = Session()


class SessionSpecificRequest(QueryOptions):
    """A read about one session, or its renewal."""

    datacenter: str = ""
    session_id: str = ""
    session: str = ""


class IndexedSessions(QueryMeta):
    """Sessions."""

    sessions: list[Session] | None = None
