"""User events."""

from consultwist.structs.query import QueryMeta, QueryOptions


class EventFireRequest(QueryOptions):
    """Asks a server to fire a user event."""

    datacenter: str = ""
    name: str = ""
    payload: bytes | None = None


class EventFireResponse(QueryMeta):
    """Says that a user event was fired."""
