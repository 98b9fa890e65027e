"""Memberlist: who is in the pool, as a core without I/O.

Membership follows SWIM with Lifeguard's extensions: probes find failures, suspicion
gives the accused time to refute, broadcasts spread what was news, and full exchanges
even out what broadcasts missed. Packets, streams and time come in as arguments, actions
go out. The layer above (Serf) hands in what rides along and gets what came for it.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial

import msgspec

from consultwist.errors import WireError
from consultwist.gossip.address import Address
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.actions import (
    Action,
    Change,
    LeaveSpread,
    MemberChanged,
    UserMessage,
)
from consultwist.gossip.memberlist.awareness import Awareness
from consultwist.gossip.memberlist.broadcast import TransmitQueue
from consultwist.gossip.memberlist.claims import Claims
from consultwist.gossip.memberlist.exchange import Exchanges
from consultwist.gossip.memberlist.members import (
    MEMBERS_MAX,
    Member,
    MemberTable,
    State,
    is_alive,
)
from consultwist.gossip.memberlist.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    Ping,
    Suspect,
)
from consultwist.gossip.memberlist.outbox import Outbox, broadcast_size_max
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.parts import Parts, Upper
from consultwist.gossip.memberlist.probe import Prober, answer_address
from consultwist.gossip.memberlist.stream import StreamMessage
from consultwist.gossip.memberlist.timings import Timings
from consultwist.gossip.schedule import Alarm, Schedule


class Memberlist:
    """One member's view of the pool.

    Args:
        me: ourselves: name, address, versions and tags.
        timings: intervals and fan-outs.
        codec: keys and label of the pool.
        rng: the source of randomness.
        upper: what the layer above lends.
        schedule: shared with the layer above, which runs it.
    """

    def __init__(
        self,
        me: Member,
        timings: Timings,
        codec: PacketCodec,
        rng: random.Random,
        upper: Upper,
        schedule: Schedule,
    ) -> None:
        self.codec = codec
        self.awareness = Awareness(timings.awareness_max)
        self.table = MemberTable(
            me.name, rng, timings.dead_reclaim_s, timings.gossip_to_the_dead_s
        )
        self.queue = TransmitQueue(
            timings.retransmit_mult,
            self.table.__len__,
            # One broadcast per member: those of the same name replace each other.
            lambda: MEMBERS_MAX,
            broadcast_size_max(codec),
        )
        self._me = me
        self._parts = Parts(
            timings=timings,
            table=self.table,
            awareness=self.awareness,
            queue=self.queue,
            outbox=Outbox(codec, (self.queue, *upper.queues)),
            codec=codec,
            schedule=schedule,
            rng=rng,
            upper=upper,
        )
        self._outbox = self._parts.outbox
        self._claims = Claims(self._parts, self.wake, self._watch)
        self._prober = Prober(self._parts, self._claims.accuse, self._new_stream)
        self._exchanges = Exchanges(self._parts, self._claims, self._new_stream)
        self._stream_count = 0
        self._gossip_alarm: Alarm | None = None
        self._gossip_tick = 0
        self._phase_s = rng.random() * timings.gossip_interval_s
        self._leave: tuple[int, Alarm] | None = None
        self._takers: dict[int, Callable[[bytes, Address, float], None]] = {
            messages.PING: self._on_ping,
            messages.INDIRECT_PING: self._on_indirect_ping,
            messages.ACK: self._on_ack,
            messages.NACK: self._on_nack,
            messages.ALIVE: self._on_alive,
            messages.SUSPECT: self._on_suspect,
            messages.DEAD: self._on_dead,
            messages.USER: self._on_user,
        }

    @property
    def counters(self) -> Counter[str]:
        """What was dropped, by reason."""
        return self.codec.dropped

    # --- the core contract ------------------------------------------------------

    def receive_packet(self, data: bytes, source: Address, now: float) -> None:
        """Take a datagram; what cannot be read is counted and dropped."""
        if not self._parts.upper.allows(source[0]):
            self.counters["gossip: source not allowed"] += 1
            return
        for message in self.codec.unpack(data):
            taker = self._takers.get(message[0])
            if taker is None:
                self.counters["gossip: unexpected message type"] += 1
                continue
            try:
                taker(message, source, now)
            except WireError as error:
                self.counters[messages.drop_reason(error)] += 1

    def receive_request(
        self, stream: Hashable, request: StreamMessage, source: Address, now: float
    ) -> None:
        """Take the message of a stream that a member opened."""
        self._exchanges.receive(stream, request, source, now)

    def refuse_request(self, stream: Hashable, problem: str) -> None:
        """Answer a stream that could not be read."""
        self._exchanges.refuse(stream, problem)

    def stream_answered(self, stream: int, answer: StreamMessage, now: float) -> None:
        """Take the answer on a stream that we opened."""
        if not self._exchanges.answered(stream, answer, now):
            ack = answer if isinstance(answer, Ack) else None
            self._prober.stream_ended(stream, ack, now)

    def stream_failed(self, stream: int, problem: str, now: float) -> None:
        """Take the failure of a stream that we opened."""
        if not self._exchanges.failed(stream, problem):
            self._prober.stream_ended(stream, None, now)

    def take_actions(self) -> list[Action]:
        """Return the actions asked for since the last call, and forget them."""
        return self._outbox.take()

    # --- commands ---------------------------------------------------------------

    def start(self, now: float) -> None:
        """Become a member, of a pool of one to begin with."""
        me = msgspec.structs.replace(
            self._me, incarnation=1, state=int(State.ALIVE), changed_at=now
        )
        self.table.announce(me)
        self._claims.broadcast_me(now)
        self._outbox.add(MemberChanged(Change.JOINED, me))

    def exchange(self, address: Address, *, join: bool) -> int:
        """Begin a full exchange; `ExchangeEnded` reports the end of that stream."""
        return self._exchanges.open(address, join=join)

    def update_meta(self, meta: bytes, now: float) -> None:
        """Tell the pool something else about ourselves."""
        number = self.table.raise_incarnation(0)
        if not number:
            self.counters["gossip: no incarnation is left"] += 1
            return
        self._claims.announce(now, meta=meta, incarnation=number)
        self._outbox.add(MemberChanged(Change.UPDATED, self.table.me))

    def leave(self, now: float, timeout_s: float) -> None:
        """Tell the pool that we leave on purpose; `LeaveSpread` says when it knows."""
        if self.table.is_leaving:
            return
        self.table.is_leaving = True
        me = self.table.me
        claim = Dead(incarnation=me.incarnation, node=me.name, from_=me.name)
        self._claims.dead(claim, now)
        alarm = self._parts.schedule.at(now + timeout_s, self._leave_spread)
        self._leave = (self._claims.last_broadcast, alarm)
        if not any(is_alive(member) for member in self.table):
            self._leave_spread(now)

    def stop(self) -> None:
        """Stop probing and exchanging; only answers are still given."""
        self._prober.stop()
        self._exchanges.stop()

    def send_user(self, address: Address, message: bytes) -> None:
        """Send a message of the layer above to one member, alone in its packet."""
        self._outbox.send_bare(address, message)

    def _new_stream(self) -> int:
        self._stream_count += 1
        return self._stream_count

    # --- packets ----------------------------------------------------------------

    def _on_ping(self, message: bytes, source: Address, _now: float) -> None:
        ping = messages.decode(Ping, message[1:])
        if ping.node and ping.node != self.table.name:
            self.counters["gossip: ping for another member"] += 1
            return
        ack = Ack(seq_no=ping.seq_no, payload=self._parts.upper.ack_payload())
        self._outbox.send(
            answer_address(ping, source), messages.encode(messages.ACK, ack)
        )

    def _on_indirect_ping(self, message: bytes, source: Address, now: float) -> None:
        request = messages.decode(IndirectPing, message[1:])
        requester = answer_address(request, source)
        if not self._prober.serve(request, requester, now):
            self.counters["gossip: too many indirect pings"] += 1

    def _on_ack(self, message: bytes, _source: Address, now: float) -> None:
        self._prober.ack(messages.decode(Ack, message[1:]), now)

    def _on_nack(self, message: bytes, _source: Address, _now: float) -> None:
        self._prober.nack(messages.decode(Nack, message[1:]))

    def _on_alive(self, message: bytes, _source: Address, now: float) -> None:
        self._claims.alive(messages.decode(Alive, message[1:]), now)

    def _on_suspect(self, message: bytes, _source: Address, now: float) -> None:
        self._claims.suspect(messages.decode(Suspect, message[1:]), now)

    def _on_dead(self, message: bytes, _source: Address, now: float) -> None:
        self._claims.dead(messages.decode(Dead, message[1:]), now)

    def _on_user(self, message: bytes, _source: Address, _now: float) -> None:
        self._outbox.add(UserMessage(message[1:]))

    # --- gossip -----------------------------------------------------------------

    def wake(self, now: float) -> None:
        """Arrange for gossip if there is something to spread and someone to hear it."""
        if self._gossip_alarm is not None or not self._outbox.has_broadcasts:
            return
        if not self.table.others:
            return
        # Ticks fall on a grid of our own, as those of a ticker that never stops. They
        # are numbered, since a rounding error must not make one tick into two.
        interval_s, phase_s = self._parts.timings.gossip_interval_s, self._phase_s
        reached = int((now - phase_s) // interval_s)
        self._gossip_tick = max(self._gossip_tick, reached) + 1
        due = phase_s + self._gossip_tick * interval_s
        self._gossip_alarm = self._parts.schedule.at(due, self._gossip)

    def _gossip(self, now: float) -> None:
        self._gossip_alarm = None
        hears = partial(self.table.hears_gossip, now)
        chosen = self.table.pick(self._parts.timings.gossip_nodes, hears)
        for member in chosen:
            if not self._outbox.gossip_to(member.address):
                break
        if self._leave is not None and self._leave[0] not in self.queue:
            self._leave_spread(now)
        if chosen:
            # With nobody to hear it, what is left waits for the next news.
            self.wake(now)

    def _leave_spread(self, _now: float) -> None:
        if self._leave is not None:
            self._leave[1].cancel()
            self._leave = None
            self._outbox.add(LeaveSpread())

    def _watch(self, now: float) -> None:
        """Make sure that probes and full exchanges are running."""
        if self.table.others and not self.table.is_leaving:
            self._prober.start(now)
            self._exchanges.start(now)
