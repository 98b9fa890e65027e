"""Failure detection (SWIM, section 3, with Lifeguard's nacks).

One member is probed at a time, in turn: a ping; where no ack comes in time, pings
through some other members and over a stream; where nothing has come by the end of the
probe's interval, the member is suspect. A helper that cannot reach the target says so
with a nack: then at least the path to the helper works. Missing nacks mean that we
ourselves may be ill.
"""

from collections.abc import Callable
from functools import partial

import attrs

from consultwist.gossip.address import Address, ip_text
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.actions import CloseStream, OpenStream, RoundTrip
from consultwist.gossip.memberlist.members import Member, State, is_alive
from consultwist.gossip.memberlist.messages import Ack, IndirectPing, Nack, Ping
from consultwist.gossip.memberlist.packet import compound
from consultwist.gossip.memberlist.parts import Parts
from consultwist.gossip.memberlist.stream import seal
from consultwist.gossip.memberlist.suspicion import suspicion_timeout_s
from consultwist.gossip.schedule import Alarm

#: Indirect pings served at one time; memberlist's handoff queue has the same depth.
RELAYS_MAX = 1024

#: What a member's newest memberlist protocol lets it do.
_STREAM_PING_PROTOCOL = 3
_NACK_PROTOCOL = 4


@attrs.define(eq=False)
class _Probe:
    seq_no: int
    target: Member
    started_at: float
    ends_at: float
    nacks_missing: int = 0
    helpers: int = 0
    is_indirect: bool = False
    stream: int | None = None


@attrs.define(eq=False)
class _Relay:
    requester: Address
    seq_no: int
    alarm: Alarm


class Prober:
    """Probes one member after the other, and helps others with their probes.

    Args:
        parts: what the Memberlist shares.
        accuse: takes a member that failed its probe, and the time.
        new_stream: gives the number of a new stream.
    """

    def __init__(
        self,
        parts: Parts,
        accuse: Callable[[Member, float], None],
        new_stream: Callable[[], int],
    ) -> None:
        self._parts = parts
        self._accuse = accuse
        self._new_stream = new_stream
        self._probe: _Probe | None = None
        self._alarm: Alarm | None = None
        self._relays: dict[int, _Relay] = {}
        self._seq_no = int(parts.rng.random() * messages.U16_MAX)

    @property
    def is_idle(self) -> bool:
        """Whether no probe is running or planned."""
        return self._alarm is None

    def start(self, now: float) -> None:
        """Begin to probe, after a random part of the interval."""
        if self._alarm is None:
            delay_s = self._parts.rng.random() * self._parts.timings.probe_interval_s
            self._alarm = self._parts.schedule.at(now + delay_s, self._next)

    def stop(self) -> None:
        """Probe no more; what others ask for is still answered."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._probe = None

    def _new_seq_no(self) -> int:
        self._seq_no = (self._seq_no + 1) & messages.U32_MAX
        return self._seq_no

    # --- our own probes ---------------------------------------------------------

    def _next(self, now: float) -> None:
        self._alarm = None
        parts = self._parts
        target = parts.table.next_to_probe(now, self._keep_left_s())
        if target is None:
            # With the dead about, go round again so that they are forgotten in time.
            if parts.table.has_history:
                interval_s = parts.timings.probe_interval_s
                self._alarm = parts.schedule.at(now + interval_s, self._next)
            return
        ends_at = now + parts.awareness.scale(parts.timings.probe_interval_s)
        probe = _Probe(self._new_seq_no(), target, now, ends_at)
        self._probe = probe
        ping = self._ping(probe.seq_no, target.name)
        if target.state == State.SUSPECT:
            accusation = messages.Suspect(
                incarnation=target.incarnation,
                node=target.name,
                from_=parts.table.name,
            )
            told = messages.encode(messages.SUSPECT, accusation)
            parts.outbox.send_bare(target.address, compound([ping, told]))
        else:
            parts.outbox.send(target.address, ping)
        timeout_at = now + parts.timings.probe_timeout_s
        self._alarm = parts.schedule.at(timeout_at, self._go_indirect)

    def _ping(self, seq_no: int, name: str) -> bytes:
        me = self._parts.table.me
        ping = Ping(
            seq_no=seq_no,
            node=name,
            source_addr=me.ip,
            source_port=me.port,
            source_node=me.name,
        )
        return messages.encode(messages.PING, ping)

    def _go_indirect(self, now: float) -> None:
        probe, parts = self._probe, self._parts
        assert probe is not None
        probe.is_indirect = True
        self._alarm = parts.schedule.at(probe.ends_at, self._fail)
        target = probe.target
        helpers = parts.table.pick(
            parts.timings.indirect_checks,
            lambda member: is_alive(member) and member.name != target.name,
        )
        for helper in helpers:
            self._ask(helper, probe)
        if (
            parts.timings.use_stream_probes
            and target.protocol_max >= _STREAM_PING_PROTOCOL
            and probe.ends_at > now
        ):
            probe.stream = self._new_stream()
            data = seal(
                parts.codec, self._ping(probe.seq_no, target.name), is_dialing=True
            )
            parts.outbox.add(
                OpenStream(probe.stream, target.address, data, probe.ends_at - now)
            )

    def _ask(self, helper: Member, probe: _Probe) -> None:
        me, target = self._parts.table.me, probe.target
        wants_nack = (
            self._parts.timings.use_nacks and helper.protocol_max >= _NACK_PROTOCOL
        )
        request = IndirectPing(
            seq_no=probe.seq_no,
            target=target.ip,
            port=target.port,
            node=target.name,
            nack=wants_nack,
            source_addr=me.ip,
            source_port=me.port,
            source_node=me.name,
        )
        probe.nacks_missing += wants_nack
        probe.helpers += wants_nack
        message = messages.encode(messages.INDIRECT_PING, request)
        self._parts.outbox.send(helper.address, message)

    def _fail(self, now: float) -> None:
        probe = self._probe
        assert probe is not None
        self._parts.awareness.change(probe.nacks_missing if probe.helpers else 1)
        self._finish(now)
        # What is known about the target may be newer than when the probe began.
        target = self._parts.table.get(probe.target.name)
        if target is not None and not target.is_gone:
            self._accuse(probe.target, now)

    def _succeed(self, now: float) -> None:
        self._parts.awareness.change(-1)
        self._finish(now)

    def _finish(self, now: float) -> None:
        probe, self._probe = self._probe, None
        assert probe is not None
        if probe.stream is not None:
            self._parts.outbox.add(CloseStream(probe.stream))
        if self._alarm is not None:
            self._alarm.cancel()
        next_at = probe.started_at + self._parts.timings.probe_interval_s
        self._alarm = self._parts.schedule.at(max(next_at, now), self._next)

    def _keep_left_s(self) -> float:
        """Return how long members that left are remembered.

        By then every other member has probed the one that left at least once and has
        run its longest suspicion.
        """
        timings, members = self._parts.timings, len(self._parts.table)
        longest_s = timings.suspicion_max_mult * suspicion_timeout_s(
            timings.suspicion_mult, members, timings.probe_interval_s
        )
        round_s = members * timings.probe_interval_s * timings.awareness_max
        return max(timings.gossip_to_the_dead_s, 2 * round_s + longest_s)

    # --- answers ----------------------------------------------------------------

    def ack(self, ack: Ack, now: float) -> None:
        """Take an ack that came in a packet; they match by number only."""
        probe = self._probe
        if probe is not None and ack.seq_no == probe.seq_no:
            if not probe.is_indirect:
                rtt_s = now - probe.started_at
                self._parts.outbox.add(RoundTrip(probe.target, rtt_s, ack.payload))
            self._succeed(now)
            return
        relay = self._relays.pop(ack.seq_no, None)
        if relay is not None:
            relay.alarm.cancel()
            answer = messages.encode(messages.ACK, Ack(seq_no=relay.seq_no))
            self._parts.outbox.send(relay.requester, answer)

    def nack(self, nack: Nack) -> None:
        """Take a nack: the helper lives, its path to the target does not."""
        probe = self._probe
        if probe is not None and nack.seq_no == probe.seq_no:
            probe.nacks_missing = max(probe.nacks_missing - 1, 0)

    def stream_ended(self, stream: int, ack: Ack | None, now: float) -> bool:
        """Take the end of a stream; return False where it is none of ours."""
        probe = self._probe
        if probe is None or probe.stream != stream:
            return False
        probe.stream = None
        if ack is not None and ack.seq_no == probe.seq_no:
            self._succeed(now)
        return True

    # --- for others -------------------------------------------------------------

    def serve(self, request: IndirectPing, requester: Address, now: float) -> bool:
        """Ping a member for another one; return False where that is too much."""
        if len(self._relays) >= RELAYS_MAX:
            return False
        seq_no = self._new_seq_no()
        due = now + self._parts.timings.probe_timeout_s
        give_up = partial(self._give_up, seq_no, wants_nack=request.nack)
        alarm = self._parts.schedule.at(due, give_up)
        self._relays[seq_no] = _Relay(requester, request.seq_no, alarm)
        port = request.port or self._parts.table.me.port
        target = (ip_text(request.target), port)
        self._parts.outbox.send(target, self._ping(seq_no, request.node))
        return True

    def _give_up(self, seq_no: int, _now: float, *, wants_nack: bool) -> None:
        relay = self._relays.pop(seq_no)
        if wants_nack:
            answer = messages.encode(messages.NACK, Nack(seq_no=relay.seq_no))
            self._parts.outbox.send(relay.requester, answer)


def answer_address(ping: Ping | IndirectPing, source: Address) -> Address:
    """Return where an answer goes: the stated source, or where the packet came from."""
    if ping.source_addr and ping.source_port:
        return ip_text(ping.source_addr), ping.source_port
    return source
