"""Serf: a pool with tags, events, queries and coordinates, as a core without I/O.

It contains a Memberlist and has its contract: packets, streams and time go in, actions
come out. Serf messages travel as memberlist's user messages and are passed on byte for
byte; three Lamport clocks order intents, user events and queries.
"""

import random
from collections.abc import Callable, Hashable, Sequence

from consultwist.errors import WireError
from consultwist.gossip.address import Address, ip_bytes, source_filter
from consultwist.gossip.config import PoolConfig
from consultwist.gossip.memberlist import actions as ml
from consultwist.gossip.memberlist.broadcast import TransmitQueue
from consultwist.gossip.memberlist.core import Memberlist
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.members import Member
from consultwist.gossip.memberlist.messages import NodeState, drop_reason
from consultwist.gossip.memberlist.outbox import Actions, broadcast_size_max
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.parts import Upper
from consultwist.gossip.memberlist.stream import StreamMessage
from consultwist.gossip.schedule import Alarm, Schedule
from consultwist.gossip.serf import coordinate, messages
from consultwist.gossip.serf.actions import Remember, SerfAction
from consultwist.gossip.serf.coordinate import Coordinate, CoordinateClient
from consultwist.gossip.serf.lamport import LamportClock
from consultwist.gossip.serf.members import (
    MemberStatus,
    SerfMembers,
    encode_tags,
    of_node_state,
)
from consultwist.gossip.serf.membership import Membership
from consultwist.gossip.serf.messages import (
    JoinIntent,
    LeaveIntent,
    SerfState,
    UserEvent,
)
from consultwist.gossip.serf.parts import SerfParts
from consultwist.gossip.serf.queries import Queries, QueryOptions
from consultwist.gossip.serf.query import OpenQuery, ReceivedQuery
from consultwist.gossip.serf.snapshot import Remembered
from consultwist.gossip.serf.user_events import UserEvents

#: memberlist speaks 1 to 5 and uses 2; Serf speaks 2 to 5.
_MEMBERLIST_VERSIONS = (1, 5, 2)
_SERF_VERSIONS = (2, 5)

#: Serf writes its clocks to the snapshot this often, if they have moved.
_CLOCK_INTERVAL_S = 0.5

#: Members told about in one state exchange; memberlist's table has the same bound.
_NAMES_MAX = 100_000


class Serf:
    """One member of a pool.

    Args:
        config: the settings of the pool.
        address: what others shall dial.
        keyring: the encryption keys.
        rng: the source of randomness.
        remembered: what the snapshot tells, where there is one.
    """

    def __init__(
        self,
        config: PoolConfig,
        address: Address,
        keyring: Keyring,
        rng: random.Random,
        remembered: Remembered | None = None,
    ) -> None:
        self.config = config
        self._schedule = Schedule()
        self._members = SerfMembers(config.name, config.serf.intent_timeout_s)
        self._coordinates = CoordinateClient(rng)
        self._payload = coordinate.encode_payload(self._coordinates.coordinate)
        codec = PacketCodec(
            keyring,
            label=config.label,
            verify_incoming=config.verify_incoming,
            verify_outgoing=config.verify_outgoing,
        )
        queues = [self._new_queue(codec) for _ in range(3)]
        me = Member(
            name=config.name,
            ip=ip_bytes(address[0]),
            port=address[1],
            meta=encode_tags(config.tags),
            vsn=bytes((*_MEMBERLIST_VERSIONS, *_SERF_VERSIONS, config.serf_protocol)),
        )
        self._memberlist = self._new_memberlist(me, codec, queues, rng)
        self._parts = self._new_parts(queues, rng)
        self._membership = Membership(self._parts)
        self._queries = Queries(self._parts)
        self._events = UserEvents(self._parts)
        self._ignoring: set[int] = set()
        self._clock_alarm: Alarm | None = None
        self._clocks_written = (0, 0, 0)
        self._takers: dict[int, Callable[[bytes, float], None]] = {
            messages.LEAVE: self._membership.receive_leave,
            messages.JOIN: self._membership.receive_join,
            messages.USER_EVENT: self._events.receive,
            messages.QUERY: self._queries.receive,
            messages.QUERY_RESPONSE: self._queries.receive_response,
            messages.RELAY: lambda message, _now: self._queries.pass_on(message),
        }
        self._absorbers: dict[type, Callable[[ml.Action, float], None]] = {
            ml.MemberChanged: self._on_member_changed,
            ml.NameConflict: self._on_conflict,
            ml.UserMessage: self._on_user_message,
            ml.RemoteState: self._on_remote_state,
            ml.RoundTrip: self._on_round_trip,
            ml.LeaveSpread: lambda _action, now: self._membership.leave_spread(now),
        }
        if remembered is not None:
            self._recall(remembered)

    def _new_memberlist(
        self,
        me: Member,
        codec: PacketCodec,
        queues: Sequence[TransmitQueue],
        rng: random.Random,
    ) -> Memberlist:
        upper = Upper(
            queues=queues,
            user_state=self._user_state,
            ack_payload=lambda: self._payload,
            admit=self._admit,
            allows=source_filter(self.config.allowed_networks),
        )
        timings = self.config.timings
        return Memberlist(me, timings, codec, rng, upper, self._schedule)

    def _new_parts(
        self, queues: Sequence[TransmitQueue], rng: random.Random
    ) -> SerfParts:
        intents, queries, events = queues
        return SerfParts(
            config=self.config,
            memberlist=self._memberlist,
            members=self._members,
            coordinates=self._coordinates,
            clock=LamportClock(),
            event_clock=LamportClock(),
            query_clock=LamportClock(),
            intent_queue=intents,
            query_queue=queries,
            event_queue=events,
            outbox=Actions(),
            schedule=self._schedule,
            rng=rng,
        )

    def _new_queue(self, codec: PacketCodec) -> TransmitQueue:
        return TransmitQueue(
            self.config.timings.retransmit_mult,
            self._members.__len__,
            lambda: max(self.config.serf.queue_depth_min, 2 * len(self._members)),
            broadcast_size_max(codec),
        )

    def _recall(self, remembered: Remembered) -> None:
        """Start where the last run stopped, so that old events stay old."""
        parts = self._parts
        parts.clock.witness(remembered.clock)
        parts.event_clock.witness(remembered.event_clock)
        parts.query_clock.witness(remembered.query_clock)
        self._events.buffer.minimum_time = remembered.event_clock + 1
        self._queries.buffer.minimum_time = remembered.query_clock + 1

    # --- the core contract ------------------------------------------------------

    def receive_packet(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram; what cannot be read is counted and dropped."""
        self._memberlist.receive_packet(data, source, now)
        self._absorb(now)

    def receive_request(
        self, stream: Hashable, request: StreamMessage, source: Address, now: float
    ) -> None:
        """Take the message of a stream that a member opened."""
        self._memberlist.receive_request(stream, request, source, now)
        self._absorb(now)

    def refuse_request(self, stream: Hashable, problem: str, now: float) -> None:
        """Answer a stream that could not be read."""
        self._memberlist.refuse_request(stream, problem)
        self._absorb(now)

    def stream_answered(self, stream: int, answer: StreamMessage, now: float) -> None:
        """Take the answer on a stream that we opened."""
        self._memberlist.stream_answered(stream, answer, now)
        self._absorb(now)

    def stream_failed(self, stream: int, problem: str, now: float) -> None:
        """Take the failure of a stream that we opened."""
        self._memberlist.stream_failed(stream, problem, now)
        self._absorb(now)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        self._schedule.run(now)
        self._absorb(now)

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called next."""
        return self._schedule.next_due()

    def take_actions(self) -> Sequence[SerfAction]:
        """Return the actions asked for since the last call, and forget them."""
        return self._parts.outbox.take()

    def _absorb(self, now: float) -> None:
        """Take what memberlist has found; pass on what is for the driver."""
        while actions := self._memberlist.take_actions():
            for action in actions:
                absorber = self._absorbers.get(type(action))
                if absorber is not None:
                    absorber(action, now)
                else:
                    if isinstance(action, ml.ExchangeEnded):
                        self._ignoring.discard(action.stream)
                    self._parts.outbox.add(action)  # type: ignore[arg-type]
        self._membership.check_leave(now)
        self._note_clocks(now)

    # --- commands ---------------------------------------------------------------

    def start(self, now: float) -> None:
        """Become a member, of a pool of one to begin with."""
        self._memberlist.start(now)
        self._absorb(now)

    def exchange(self, address: Address, now: float, *, ignore_old: bool) -> int:
        """Begin to join at an address; `ExchangeEnded` reports the end of the stream.

        Args:
            address: where a member may be.
            now: the time.
            ignore_old: whether to drop user events of before.
        """
        stream = self._memberlist.exchange(address, join=True)
        if ignore_old:
            self._ignoring.add(stream)
        self._absorb(now)
        return stream

    def announce_join(self, now: float) -> None:
        """Tell the pool, after an exchange has succeeded, that we want to be here."""
        self._membership.announce_join(now)
        self._absorb(now)

    def leave(self, now: float) -> None:
        """Begin a graceful leave; `LeaveEnded` tells when we may stop.

        Raises:
            BadRequest: where we are leaving already.
        """
        self._membership.leave(now)
        self._absorb(now)

    def force_leave(self, name: str, now: float, *, prune: bool) -> None:
        """Have a failed member taken as left, and forgotten if `prune`."""
        self._membership.force_leave(name, prune=prune, now=now)
        self._absorb(now)

    def update_tags(self, tags: dict[str, str], now: float) -> None:
        """Tell the pool other tags.

        Raises:
            BadRequest: where they are too long.
        """
        self._memberlist.update_meta(encode_tags(tags), now)
        self._absorb(now)

    def user_event(
        self, name: str, payload: bytes, now: float, *, coalesce: bool
    ) -> None:
        """Tell all members something.

        Raises:
            BadRequest: where it is too long.
        """
        self._events.send(name, payload, now, coalesce=coalesce)
        self._absorb(now)

    def query(
        self, name: str, payload: bytes, options: QueryOptions, now: float
    ) -> OpenQuery:
        """Ask all members something.

        Raises:
            BadRequest: where the query is too long or too many are open.
        """
        opened = self._queries.ask(name, payload, options, now)
        self._absorb(now)
        return opened

    def close_query(self, opened: OpenQuery) -> None:
        """Take no more answers to a query of our own."""
        self._queries.close(opened)

    def respond(self, received: ReceivedQuery, payload: bytes, now: float) -> None:
        """Answer a query once.

        Raises:
            BadRequest: where that is not possible any more, or the answer is too long.
        """
        self._queries.respond(received, payload, now)
        self._absorb(now)

    # --- what is known ----------------------------------------------------------

    @property
    def status(self) -> MemberStatus:
        """Whether we are alive, leaving, or have left."""
        return self._membership.status

    @property
    def members(self) -> SerfMembers:
        """Every member, in Serf's terms."""
        return self._members

    @property
    def memberlist(self) -> Memberlist:
        """The membership protocol below."""
        return self._memberlist

    def position(self, name: str) -> coordinate.Coordinate | None:
        """Return where a member was when it was last probed, or None."""
        return self._coordinates.positions.get(name)

    @property
    def coordinate(self) -> Coordinate:
        """Where we are in the network."""
        return self._coordinates.coordinate

    def stats(self) -> dict[str, str]:
        """Return the figures that `/v1/agent/self` shows, under Serf's names."""
        parts = self._parts
        figures = {
            "coordinate_resets": self._coordinates.resets,
            "event_queue": len(parts.event_queue),
            "event_time": parts.event_clock.time,
            "failed": len(self._members.failed),
            "health_score": self._memberlist.awareness.score,
            "intent_queue": len(parts.intent_queue),
            "left": len(self._members.left),
            "member_time": parts.clock.time,
            "members": len(self._members),
            "query_queue": len(parts.query_queue),
            "query_time": parts.query_clock.time,
        }
        is_encrypted = "true" if self._memberlist.codec.keys else "false"
        texts = {name: str(value) for name, value in figures.items()}
        return dict(sorted({**texts, "encrypted": is_encrypted}.items()))

    # --- from memberlist --------------------------------------------------------

    def _on_member_changed(self, action: ml.Action, now: float) -> None:
        assert isinstance(action, ml.MemberChanged)
        self._membership.changed(action, now)

    def _on_conflict(self, action: ml.Action, _now: float) -> None:
        assert isinstance(action, ml.NameConflict)
        self._membership.conflict(action)

    def _on_user_message(self, action: ml.Action, now: float) -> None:
        assert isinstance(action, ml.UserMessage)
        taker = self._takers.get(action.data[0]) if action.data else None
        if taker is None:
            self._parts.count("serf: unexpected message type")
            return
        try:
            taker(action.data, now)
        except WireError as error:
            self._parts.count(drop_reason(error))

    def _on_round_trip(self, action: ml.Action, _now: float) -> None:
        assert isinstance(action, ml.RoundTrip)
        if not action.payload:
            return
        try:
            other = coordinate.decode_payload(action.payload)
        except WireError:
            other = None
        if other is None or not self._coordinates.update(
            action.member.name, other, action.rtt_s
        ):
            self._parts.count("serf: unusable coordinate")
            return
        self._payload = coordinate.encode_payload(self._coordinates.coordinate)

    def _admit(self, nodes: Sequence[NodeState]) -> str | None:
        if self.config.admit is None:
            return None
        return self.config.admit([of_node_state(node) for node in nodes])

    # --- the state exchange -----------------------------------------------------

    def _user_state(self, _join: bool) -> bytes:
        parts = self._parts
        state = SerfState(
            l_time=parts.clock.time,
            status_l_times={m.name: m.status_time for m in self._members},
            left_members=list(self._members.left),
            event_l_time=parts.event_clock.time,
            events=list(self._events.buffer.recent()),
            query_l_time=parts.query_clock.time,
        )
        return messages.encode(messages.PUSH_PULL, state)

    def _on_remote_state(self, action: ml.Action, now: float) -> None:
        assert isinstance(action, ml.RemoteState)
        if action.data[:1] != bytes((messages.PUSH_PULL,)):
            self._parts.count("serf: unexpected state")
            return
        try:
            state = messages.decode(SerfState, action.data[1:])
            self._merge(state, action, now)
        except WireError as error:
            self._parts.count(drop_reason(error))

    def _merge(self, state: SerfState, action: ml.RemoteState, now: float) -> None:
        parts = self._parts
        parts.clock.witness(max(state.l_time - 1, 0))
        parts.event_clock.witness(max(state.event_l_time - 1, 0))
        parts.query_clock.witness(max(state.query_l_time - 1, 0))
        times = state.status_l_times or {}
        left = dict.fromkeys((state.left_members or ())[:_NAMES_MAX])
        for name in left:
            # One more, since the time itself was that of the intent before.
            intent = LeaveIntent(l_time=times.get(name, 0) + 1, node=name)
            self._membership.apply_leave(intent, now)
        for name, l_time in times.items():
            if name not in left:
                join = JoinIntent(l_time=max(l_time, 0), node=name)
                self._membership.apply_join(join, now)
        if action.stream in self._ignoring:
            minimum = max(self._events.buffer.minimum_time, state.event_l_time)
            self._events.buffer.minimum_time = minimum
        for slot in state.events or ():
            for recent in (slot.events or ()) if slot else ():
                assert slot is not None
                event = UserEvent(
                    l_time=slot.l_time, name=recent.name, payload=recent.payload
                )
                self._events.take(event, now)

    # --- the snapshot -----------------------------------------------------------

    def _note_clocks(self, now: float) -> None:
        if self._clock_alarm is None and self._clocks() != self._clocks_written:
            due = now + _CLOCK_INTERVAL_S
            self._clock_alarm = self._schedule.at(due, self._write_clocks)

    def _clocks(self) -> tuple[int, int, int]:
        parts = self._parts
        clocks = (parts.clock, parts.event_clock, parts.query_clock)
        highest = [clock.time - 1 for clock in clocks]
        return highest[0], highest[1], highest[2]

    def _write_clocks(self, _now: float) -> None:
        self._clock_alarm = None
        clocks = self._clocks()
        names = ("clock", "event-clock", "query-clock")
        for name, new, old in zip(names, clocks, self._clocks_written, strict=True):
            if new != old:
                self._parts.outbox.add(Remember(f"{name}: {new}\n"))
        self._clocks_written = clocks
