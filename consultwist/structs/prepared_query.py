"""Prepared queries: what executing one asks for and gives."""

from consultwist.structs.catalog import CheckServiceNode
from consultwist.structs.query import QueryMeta, QueryOptions, QuerySource
from consultwist.wire.struct import Struct


class QueryDNSOptions(Struct):
    """How a prepared query is answered over DNS."""

    ttl: str = ""


class PreparedQueryExecuteRequest(QueryOptions):
    """Executes a query, given by its id or name."""

    datacenter: str = ""
    query_id_or_name: str = ""
    limit: int = 0
    source: QuerySource = QuerySource()
    agent: QuerySource = QuerySource()
    connect: bool = False


class PreparedQueryExecuteResponse(QueryMeta):
    """The instances that a query found, and where."""

    service: str = ""
    nodes: list[CheckServiceNode] | None = None
    dns: QueryDNSOptions = QueryDNSOptions()
    datacenter: str = ""
    failovers: int = 0
