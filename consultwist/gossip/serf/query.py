"""Queries: a question to many, acks and answers straight back.

A query spreads like a user event. Members that match its filters answer to the address
in it, on request also through others, for the case that the straight way is blocked.
"""

import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from consultwist.errors import BadRequest, WireError
from consultwist.gossip.address import Address
from consultwist.gossip.serf import messages
from consultwist.gossip.serf.messages import Query, QueryResponse, TagFilter
from consultwist.wire import msgpack
from consultwist.wire.regexp import compile_regexp

#: Queries of our own that may be open at one time.
QUERIES_MAX: Final = 1024

#: Serf's QueryResponseSizeLimit.
RESPONSE_SIZE_MAX: Final = 1024

#: Answers counted for one query, at least; more in larger pools.
RESPONDERS_MIN: Final = 256

#: Names in a node filter and filters in a query: a query has 1024 bytes.
FILTERS_MAX: Final = 64


@attrs.frozen
class QueryResult:
    """What a query has brought so far.

    Attributes:
        acks: who has received it.
        responses: who answered what.
    """

    acks: list[str]
    responses: dict[str, bytes]


@attrs.define(eq=False)
class OpenQuery:
    """A query of our own."""

    query: Query
    ends_at: float
    acks: dict[str, None] = attrs.Factory(dict)
    responses: dict[str, bytes] = attrs.Factory(dict)

    def result(self) -> QueryResult:
        """Return what has come so far."""
        return QueryResult(list(self.acks), dict(self.responses))


@attrs.define(eq=False)
class ReceivedQuery:
    """A query of another member, or of our own, that the application may answer."""

    name: str
    payload: bytes
    l_time: int
    id: int
    source: str
    answer_to: Address
    relay_factor: int
    ends_at: float
    is_answered: bool = False


class OpenQueries:
    """The queries of our own, by Lamport time and number."""

    def __init__(self, members: Callable[[], int]) -> None:
        self._members = members
        self._open: dict[tuple[int, int], OpenQuery] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, query: Query, ends_at: float) -> OpenQuery | None:
        """Wait for answers; None where too many queries are open."""
        if len(self._open) >= QUERIES_MAX:
            return None
        opened = OpenQuery(query, ends_at)
        self._open[query.l_time, query.id] = opened
        return opened

    def close(self, opened: OpenQuery) -> None:
        """Wait no more."""
        self._open.pop((opened.query.l_time, opened.query.id), None)

    def take(self, response: QueryResponse, now: float) -> OpenQuery | None:
        """Count an answer; return its query where the answer is news."""
        opened = self._open.get((response.l_time, response.id))
        if opened is None or now > opened.ends_at:
            return None
        limit = max(RESPONDERS_MIN, 2 * self._members())
        if response.flags & messages.FLAG_ACK:
            if response.from_ in opened.acks or len(opened.acks) >= limit:
                return None
            opened.acks[response.from_] = None
        else:
            known = opened.responses
            if response.from_ in known or len(known) >= limit:
                return None
            known[response.from_] = response.payload or b""
        return opened


def default_timeout_s(interval_s: float, mult: int, alive: int) -> float:
    """Return how long a query waits in a pool with that many members alive."""
    return interval_s * mult * math.ceil(math.log10(alive + 1))


def node_filter(names: list[str]) -> bytes:
    """Return the filter for members by name."""
    return bytes((messages.FILTER_NODE,)) + msgpack.pack(names)


def tag_filter(tag: str, expression: str) -> bytes:
    """Return the filter for members by a tag."""
    body = TagFilter(tag=tag, expr=expression)
    return messages.encode(messages.FILTER_TAG, body)


def matches(filters: Iterable[bytes], name: str, tags: dict[str, str]) -> bool:
    """Return whether a member passes all filters; one that is unreadable is none."""
    for number, each in enumerate(filters):
        try:
            if number >= FILTERS_MAX or not _passes(each, name, tags):
                return False
        except (WireError, BadRequest):
            return False
    return True


def _passes(each: bytes, name: str, tags: dict[str, str]) -> bool:
    if each[:1] == bytes((messages.FILTER_NODE,)):
        names = msgpack.plain(msgpack.unpack_first(each[1:])[0])
        return isinstance(names, list) and name in names
    if each[:1] == bytes((messages.FILTER_TAG,)):
        wanted = messages.decode(TagFilter, each[1:])
        return compile_regexp(wanted.expr)(tags.get(wanted.tag, ""))
    return False
