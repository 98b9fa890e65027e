"""What every request and reply carries: consistency, blocking, indexes."""

from typing import Annotated

from consultwist.wire.struct import Field, Nanoseconds, Struct


class RaftIndex(Struct):
    """The log indexes at which an object came to be and last changed."""

    create_index: Annotated[int, Field(filterable=False)] = 0
    modify_index: Annotated[int, Field(filterable=False)] = 0


class QueryOptions(Struct):
    """How a read is to be answered; part of every read request."""

    token: str = ""
    min_query_index: int = 0
    max_query_time: Nanoseconds = 0
    allow_stale: bool = False
    require_consistent: bool = False
    filter: str = ""
    max_age: Nanoseconds = 0
    max_stale_duration: Nanoseconds = 0
    must_revalidate: bool = False
    stale_if_error: Nanoseconds = 0
    use_cache: bool = False


class QueryMeta(Struct):
    """How a read was answered; part of every read reply."""

    index: int = 0
    last_contact: Nanoseconds = 0
    known_leader: bool = False
    consistency_level: str = ""


class WriteRequest(Struct):
    """What every write request carries."""

    token: str = ""


class QuerySource(Struct):
    """Who asks: the node that answers are sorted by distance to."""

    datacenter: str = ""
    segment: str = ""
    node: str = ""
    ip: Annotated[str, Field(name="Ip")] = ""


class DCSpecificRequest(QueryOptions):
    """A read that names nothing but a datacenter."""

    datacenter: str = ""
    node_meta_filters: dict[str, str] | None = None
    source: QuerySource = QuerySource()


class DatacentersRequest(QueryOptions):
    """Asks for the known datacenters."""
