"""Asking and answering: queries of our own and of others, acks, relays.

Queries whose names begin with ``_serf_`` are answered here and never shown to the
application.
"""

from typing import Final

import attrs

from consultwist.errors import BadRequest, WireError
from consultwist.gossip.address import Address, ip_bytes, ip_text
from consultwist.gossip.serf import keys, messages
from consultwist.gossip.serf.actions import (
    KeysChanged,
    QueryAnswered,
    QueryFinished,
    QueryReceived,
)
from consultwist.gossip.serf.events import QueryBuffer
from consultwist.gossip.serf.messages import (
    ConflictMember,
    Query,
    QueryResponse,
    RelayAddress,
    RelayHeader,
)
from consultwist.gossip.serf.parts import SerfParts
from consultwist.gossip.serf.query import (
    RESPONSE_SIZE_MAX,
    OpenQueries,
    OpenQuery,
    ReceivedQuery,
    default_timeout_s,
    matches,
    node_filter,
    tag_filter,
)

_INTERNAL: Final = "_serf_"
_CONFLICT: Final = "_serf_conflict"

#: The first memberlist protocol whose members pass on relayed answers.
_RELAY_PROTOCOL: Final = 5

#: A query's number is 31 bits long, so that signed readers take it, too.
_ID_BITS: Final = 31

#: The relay factor's field.
_RELAY_FACTOR_MAX: Final = 255


@attrs.frozen(kw_only=True)
class QueryOptions:
    """How a query is to be asked.

    Attributes:
        nodes: only these members; empty for all.
        tags: only members whose tags match these expressions.
        wants_ack: whether members shall say that they got the query.
        relay_factor: through how many others each answer comes a second time.
        timeout_s: how long to wait; 0 for a time that fits the pool.
    """

    nodes: tuple[str, ...] = ()
    tags: dict[str, str] = attrs.Factory(dict)
    wants_ack: bool = False
    relay_factor: int = 0
    timeout_s: float = 0.0

    def filters(self) -> list[bytes]:
        """Return the filters on the wire; never an empty one, it kills old members."""
        found = [node_filter(list(self.nodes))] if self.nodes else []
        return found + [tag_filter(tag, text) for tag, text in self.tags.items()]


class Queries:
    """Our own queries, and our answers to those of others."""

    def __init__(self, parts: SerfParts) -> None:
        self._parts = parts
        self.buffer = QueryBuffer()
        self._open = OpenQueries(parts.members.__len__)

    # --- asking -----------------------------------------------------------------

    def ask(
        self, name: str, payload: bytes, options: QueryOptions, now: float
    ) -> OpenQuery:
        """Send a query to the pool.

        Raises:
            BadRequest: where the query is too large or too many are open.
        """
        parts = self._parts
        if not 0 <= options.relay_factor <= _RELAY_FACTOR_MAX:
            raise BadRequest("relay factor must be between 0 and 255")
        timeout_s = options.timeout_s or default_timeout_s(
            parts.config.timings.gossip_interval_s,
            parts.config.serf.query_timeout_mult,
            parts.members.count_alive(),
        )
        me = parts.memberlist.table.me
        query = Query(
            l_time=parts.query_clock.time,
            id=parts.rng.getrandbits(_ID_BITS),
            addr=me.ip,
            port=me.port,
            source_node=me.name,
            filters=options.filters() or None,
            flags=messages.FLAG_ACK if options.wants_ack else 0,
            relay_factor=options.relay_factor,
            timeout=int(timeout_s * 1e9),
            name=name,
            payload=payload,
        )
        message = messages.encode(messages.QUERY, query)
        limit = parts.config.serf.query_size_max
        if len(message) > limit:
            raise BadRequest(f"query exceeds limit of {limit} bytes")
        opened = self._open.open(query, now + timeout_s)
        if opened is None:
            raise BadRequest("too many queries are open")
        parts.query_clock.increment()
        parts.schedule.at(opened.ends_at, lambda _now: self._finish(opened))
        self.receive(message, now)
        return opened

    def close(self, opened: OpenQuery) -> None:
        """Take no more answers to a query of our own."""
        self._open.close(opened)

    def _finish(self, opened: OpenQuery) -> None:
        self._open.close(opened)
        self._parts.outbox.add(QueryFinished(opened))

    def receive_response(self, message: bytes, now: float) -> None:
        """Take an ack or answer to a query of our own."""
        response = messages.decode(QueryResponse, message[1:])
        opened = self._open.take(response, now)
        if opened is None:
            self._parts.count("serf: late, repeated or unknown query response")
            return
        is_ack = response.flags & messages.FLAG_ACK
        payload = None if is_ack else response.payload or b""
        self._parts.outbox.add(QueryAnswered(opened, response.from_, payload))

    # --- answering --------------------------------------------------------------

    def receive(self, message: bytes, now: float) -> None:
        """Take a query: pass it on, and answer it if it is for us."""
        parts = self._parts
        query = messages.decode(Query, message[1:])
        parts.query_clock.witness(query.l_time)
        if not self.buffer.is_news(query.l_time, query.id, parts.query_clock.time):
            return
        if not query.flags & messages.FLAG_NO_BROADCAST:
            parts.spread(parts.query_queue, message, now)
        me = parts.members.get(parts.config.name)
        tags = me.tags if me else {}
        if not matches(query.filters or (), parts.config.name, tags):
            return
        received = ReceivedQuery(
            name=query.name,
            payload=query.payload or b"",
            l_time=query.l_time,
            id=query.id,
            source=query.source_node,
            answer_to=(ip_text(query.addr), query.port),
            relay_factor=query.relay_factor,
            ends_at=now + query.timeout / 1e9,
        )
        if query.flags & messages.FLAG_ACK:
            self._send(received, self._response(received, None), now)
        if query.name.startswith(_INTERNAL):
            self._answer_internal(received, now)
        else:
            parts.outbox.add(QueryReceived(received))

    def respond(self, received: ReceivedQuery, payload: bytes, now: float) -> None:
        """Answer a query once.

        Raises:
            BadRequest: where it was answered before, its time is over, or the answer
                is too large.
        """
        if received.is_answered:
            raise BadRequest("response already sent")
        if now > received.ends_at:
            raise BadRequest("response is past the deadline")
        message = self._response(received, payload)
        if len(message) > RESPONSE_SIZE_MAX:
            raise BadRequest(f"response exceeds limit of {RESPONSE_SIZE_MAX} bytes")
        received.is_answered = True
        self._send(received, message, now)

    def _response(self, received: ReceivedQuery, payload: bytes | None) -> bytes:
        body = QueryResponse(
            l_time=received.l_time,
            id=received.id,
            from_=self._parts.config.name,
            flags=messages.FLAG_ACK if payload is None else 0,
            payload=payload,
        )
        return messages.encode(messages.QUERY_RESPONSE, body)

    def _send(self, received: ReceivedQuery, message: bytes, now: float) -> None:
        memberlist = self._parts.memberlist
        if received.source == self._parts.config.name:
            self.receive_response(message, now)
            return
        memberlist.send_user(received.answer_to, messages.user(message))
        if received.relay_factor:
            self._relay(received.answer_to, received, message)

    def _relay(self, target: Address, received: ReceivedQuery, message: bytes) -> None:
        parts = self._parts
        if len(parts.members) < received.relay_factor + 1:
            return
        header = RelayHeader(
            dest_addr=RelayAddress(ip=ip_bytes(target[0]), port=target[1]),
            dest_name=received.source,
        )
        relayed = messages.encode(messages.RELAY, header) + message
        if len(relayed) > RESPONSE_SIZE_MAX:
            parts.count("serf: a response is too large to be relayed")
            return
        table = parts.memberlist.table
        for member in table.pick(
            received.relay_factor,
            lambda m: not m.is_gone and m.protocol_max >= _RELAY_PROTOCOL,
        ):
            parts.memberlist.send_user(member.address, messages.user(relayed))

    def pass_on(self, message: bytes) -> None:
        """Send a relayed message to where its header says."""
        header, inner = messages.decode_relay(message[1:])
        if not inner:
            self._parts.count("serf: an empty relayed message")
            return
        target = (ip_text(header.dest_addr.ip), header.dest_addr.port)
        self._parts.memberlist.send_user(target, messages.user(inner))

    # --- Serf's own queries -----------------------------------------------------

    def _answer_internal(self, received: ReceivedQuery, now: float) -> None:
        if received.name == _CONFLICT:
            self._answer_conflict(received, now)
        elif received.name in keys.OPERATIONS.values():
            self._answer_keys(received, now)
        # Only the ack of "_serf_ping" matters; others are not known to us.

    def _answer_conflict(self, received: ReceivedQuery, now: float) -> None:
        name = received.payload.decode("utf-8", "surrogateescape")
        if name == self._parts.config.name:
            return
        member = self._parts.members.get(name)
        if member is None:
            payload = bytes((messages.CONFLICT_RESPONSE, 0xC0))
        else:
            versions = member.versions
            body = ConflictMember(
                name=member.name,
                addr=member.ip,
                port=member.port,
                tags=member.tags,
                status=member.status,
                protocol_min=versions[0],
                protocol_max=versions[1],
                protocol_cur=versions[2],
                delegate_min=versions[3],
                delegate_max=versions[4],
                delegate_cur=versions[5],
            )
            payload = messages.encode(messages.CONFLICT_RESPONSE, body)
        self._respond_or_count(received, payload, now)

    def _answer_keys(self, received: ReceivedQuery, now: float) -> None:
        keyring = self._parts.memberlist.codec.keys
        before = keyring.keys
        response = keys.answer(keyring, received.name, received.payload)
        if keyring.keys != before:
            self._parts.outbox.add(KeysChanged())
        kept = total = len(response.keys or ())
        payload = messages.encode(messages.KEY_RESPONSE, response)
        while kept and len(self._response(received, payload)) > RESPONSE_SIZE_MAX:
            kept -= 1
            short = keys.shortened(response, kept)
            payload = messages.encode(messages.KEY_RESPONSE, short)
        assert kept <= total
        self._respond_or_count(received, payload, now)

    def _respond_or_count(
        self, received: ReceivedQuery, payload: bytes, now: float
    ) -> None:
        try:
            self.respond(received, payload, now)
        except (BadRequest, WireError):
            self._parts.count("serf: an internal query could not be answered")
