"""Sessions: locks bound to a node and its health."""

from consultwist.structs.query import QueryMeta, QueryOptions, RaftIndex, WriteRequest
from consultwist.wire.struct import Nanoseconds, Struct


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
    checks: list[str] | None = None


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
