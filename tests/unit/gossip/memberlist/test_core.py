"""One Memberlist, fed by hand: what it believes, what it sends, when."""

import random
from typing import Any

import attrs
import pytest

from consultwist.gossip.memberlist import actions as ml
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.core import Memberlist
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.members import MEMBERS_MAX, Member, State
from consultwist.gossip.memberlist.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    Suspect,
)
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.parts import Upper
from consultwist.gossip.memberlist.probe import RELAYS_MAX
from consultwist.gossip.memberlist.stream import PushPull, UserData
from consultwist.gossip.memberlist.timings import LAN
from consultwist.gossip.schedule import Schedule

VSN = bytes((1, 5, 2, 2, 5, 4))
SOURCE = ("10.0.0.9", 8301)
TIMINGS = attrs.evolve(LAN, dead_reclaim_s=30.0)

KINDS: dict[int, type[Any]] = {
    messages.PING: Ping,
    messages.INDIRECT_PING: IndirectPing,
    messages.ACK: Ack,
    messages.NACK: Nack,
    messages.SUSPECT: Suspect,
    messages.ALIVE: Alive,
    messages.DEAD: Dead,
}


def ip(number):
    return bytes((10, 0, 0, number))


class World:
    """A Memberlist named `me` with time in our hands."""

    def __init__(self, timings=TIMINGS, **upper):
        self.now = 100.0
        self.schedule = Schedule()
        self.codec = PacketCodec(Keyring())
        me = Member(name="me", ip=ip(1), port=8301, vsn=VSN, meta=b"tags")
        self.core = Memberlist(
            me,
            timings,
            self.codec,
            random.Random(1),
            Upper(**upper),
            self.schedule,
        )
        self.core.start(self.now)
        self.actions = []
        self.collect()

    def collect(self):
        self.actions += self.core.take_actions()

    def tell(self, kind, body):
        message = messages.encode(kind, body)
        self.core.receive_packet(message, SOURCE, self.now)
        self.collect()

    def alive(self, name, number, incarnation=1, **fields):
        given = {"addr": ip(number), "port": 8301, "vsn": VSN, "meta": b""} | fields
        self.tell(messages.ALIVE, Alive(node=name, incarnation=incarnation, **given))

    def suspect(self, name, incarnation=1, source="x"):
        claim = Suspect(node=name, incarnation=incarnation, from_=source)
        self.tell(messages.SUSPECT, claim)

    def dead(self, name, incarnation=1, source="x"):
        claim = Dead(node=name, incarnation=incarnation, from_=source)
        self.tell(messages.DEAD, claim)

    def run(self, seconds):
        end = self.now + seconds
        while (due := self.schedule.next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.schedule.run(self.now)
            self.collect()
        self.now = end

    def forget(self):
        self.actions.clear()

    def state(self, name):
        member = self.core.table.get(name)
        return None if member is None else State(member.state)

    def member(self, name):
        member = self.core.table.get(name)
        assert member is not None
        return member

    def of(self, kind):
        return [action for action in self.actions if isinstance(action, kind)]

    def changes(self):
        return [(a.change.value, a.member.name) for a in self.of(ml.MemberChanged)]

    def sent(self, kind=None):
        """Every message in the packets sent, as (body, address)."""
        found = []
        for packet in self.of(ml.SendPacket):
            for message in self.codec.unpack(packet.data):
                if kind is None or message[0] == kind:
                    body = messages.decode(KINDS[message[0]], message[1:])
                    found.append((body, packet.address))
        return found


def test_a_new_member_is_stored_told_and_passed_on():
    """An alive message about someone unknown is news in every respect."""
    world = World()
    world.alive("a", 2)
    assert world.state("a") is State.ALIVE
    assert world.changes() == [("joined", "me"), ("joined", "a")]
    world.run(0.5)
    spread = [body.node for body, _ in world.sent(messages.ALIVE)]
    assert "a" in spread
    assert "me" in spread


@pytest.mark.parametrize(
    "fields",
    [
        {"vsn": b""},
        {"vsn": VSN[:5]},
        {"vsn": bytes((0, 5, 2, 2, 5, 4))},
        {"addr": b"abc"},
        {"meta": bytes(513)},
        {"incarnation": 0},
    ],
)
def test_insane_alive_messages_are_ignored(fields):
    """Missing versions, odd addresses, too much meta: no member comes of it."""
    world = World()
    world.alive("a", 2, **fields)
    assert world.state("a") is None


def test_only_a_higher_incarnation_is_news():
    """An old or repeated alive changes nothing and is not passed on."""
    world = World()
    world.alive("a", 2, incarnation=5)
    world.run(0.9)
    world.forget()
    for incarnation in (5, 4):
        world.alive("a", 2, incarnation=incarnation, meta=b"new")
    assert world.member("a").meta == b""
    assert "a" not in [body.node for body, _ in world.sent(messages.ALIVE)]
    world.alive("a", 2, incarnation=6, meta=b"new")
    assert world.changes() == [("updated", "a")]


def test_a_mapped_address_is_the_same_address():
    """A member that says ::ffff:10.0.0.2 is not in conflict with itself."""
    world = World()
    world.alive("a", 2)
    world.alive("a", 2, incarnation=2, addr=bytes(10) + b"\xff\xff" + ip(2))
    assert not world.of(ml.NameConflict)
    assert world.member("a").ip == ip(2)


def test_a_name_belongs_to_its_address_until_its_member_is_gone():
    """Another address is a conflict, unless the old one left or is long dead."""
    world = World()
    world.alive("a", 2)
    world.alive("a", 3, incarnation=9)
    (conflict,) = world.of(ml.NameConflict)
    assert (conflict.existing.ip, conflict.claim.addr) == (ip(2), ip(3))
    world.dead("a")
    world.alive("a", 3, incarnation=9)
    assert world.state("a") is State.DEAD
    world.now += 31
    world.alive("a", 3, incarnation=1)
    assert (world.state("a"), world.member("a").ip) == (State.ALIVE, ip(3))
    world.dead("a", source="a")
    assert world.state("a") is State.LEFT
    world.alive("a", 4, incarnation=1)
    assert world.member("a").ip == ip(4)


def test_a_suspicion_ends_in_death_after_its_timeout():
    """Two others are too few for confirmations: four seconds, as SWIM."""
    world = World()
    world.alive("a", 2)
    world.core._prober.stop()
    world.suspect("a")
    assert world.state("a") is State.SUSPECT
    world.run(3.9)
    assert world.state("a") is State.SUSPECT
    world.run(0.2)
    assert world.state("a") is State.DEAD
    assert world.changes()[-1] == ("died", "a")


@pytest.mark.parametrize(
    ("confirmations", "expected_s"), [(0, 24.0), (1, 11.381), (2, 4.0), (5, 4.0)]
)
def test_confirmations_shorten_a_suspicion(confirmations, expected_s):
    """With four members the times are those measured at a stock server."""
    world = World()
    for number, name in enumerate("abc"):
        world.alive(name, number + 2)
    world.core._prober.stop()
    world.suspect("a", source="b")
    for number in range(confirmations):
        world.suspect("a", source="b")
        world.suspect("a", source=f"c{number}")
    world.run(expected_s - 0.01)
    assert world.state("a") is State.SUSPECT
    world.run(0.02)
    assert world.state("a") is State.DEAD


def test_a_refuted_suspicion_ends_without_a_word():
    """A higher incarnation makes a suspect alive again, silently."""
    world = World()
    world.alive("a", 2)
    world.core._prober.stop()
    world.suspect("a")
    world.forget()
    world.alive("a", 2, incarnation=2)
    assert world.state("a") is State.ALIVE
    world.run(60)
    assert world.changes() == []


@pytest.mark.parametrize("kind", ["suspect", "dead"])
def test_what_is_said_against_us_is_refuted(kind):
    """We jump over the accused incarnation and become less sure of ourselves."""
    world = World()
    world.alive("a", 2)
    getattr(world, kind)("me", incarnation=7)
    assert world.core.table.me.incarnation == 8
    assert world.core.awareness.score == 1
    getattr(world, kind)("me", incarnation=7)
    assert world.core.table.me.incarnation == 8
    world.run(1)
    told = [b for b, _ in world.sent(messages.ALIVE) if b.node == "me"]
    assert told[-1].incarnation == 8


def test_nobody_can_wind_our_incarnation_to_its_end():
    """An accusation at the last number cannot be refuted and is ignored."""
    world = World()
    world.suspect("me", incarnation=0xFFFFFFFF)
    assert world.core.table.me.incarnation == 1
    assert world.state("me") is State.ALIVE


def test_an_old_life_of_ours_is_outdone():
    """An alive about us with other tags or incarnation makes us announce anew."""
    world = World()
    world.alive("me", 1, incarnation=1, meta=b"tags")
    assert world.core.table.me.incarnation == 1
    world.alive("me", 1, incarnation=4, meta=b"older tags")
    assert world.core.table.me.incarnation == 5


def test_the_dead_are_forgotten_and_those_who_left_are_not():
    """Dead members go after half a minute; the left stay while others may err."""
    world = World()
    for number, name in enumerate("abc"):
        world.alive(name, number + 2)
    world.dead("a")
    world.dead("b", source="b")
    assert len(world.core.table) == 3

    def run_with_c(seconds):
        for _ in range(seconds):
            world.run(1)
            world.alive("c", 4, incarnation=int(world.now))

    run_with_c(45)
    assert world.state("a") is None
    assert world.state("b") is State.LEFT
    world.alive("b", 3, incarnation=1)
    assert world.state("b") is State.LEFT
    run_with_c(200)
    assert world.state("b") is None


def test_the_table_is_bounded(monkeypatch):
    """Beyond its size the table takes nobody, and counts."""
    assert MEMBERS_MAX >= 50_000
    monkeypatch.setattr("consultwist.gossip.memberlist.members.MEMBERS_MAX", 3)
    world = World()
    for number in range(10):
        world.alive(f"n{number}", number + 2)
    assert len(world.core.table) == 3
    assert world.core.counters["gossip: too many members"] == 8


# --- probes -------------------------------------------------------------------------


def probing(count=1, **upper):
    """A world with some members, at the moment of the next probe's ping."""
    world = World(**upper)
    for number in range(count):
        world.alive(f"n{number}", number + 2)
    while not world.sent(messages.PING):
        world.run(0.01)
    return world


def test_an_answered_probe_reports_its_round_trip():
    """An ack in time gives the round trip and its payload to the layer above."""
    world = probing()
    ping, address = world.sent(messages.PING)[0]
    assert address == ("10.0.0.2", 8301)
    assert (ping.node, ping.source_addr, ping.source_node) == ("n0", ip(1), "me")
    before = world.core._prober._probe.started_at
    world.now += 0.02
    world.tell(messages.ACK, Ack(seq_no=ping.seq_no, payload=b"position"))
    (trip,) = world.of(ml.RoundTrip)
    assert trip.member.name == "n0"
    assert trip.payload == b"position"
    assert trip.rtt_s == pytest.approx(world.now - before)
    world.forget()
    world.run(0.4)
    assert not world.sent(messages.PING)
    world.run(1)
    assert len(world.sent(messages.PING)) == 1


def test_a_missed_ack_is_sought_through_others_and_a_stream():
    """After half a second three others are asked, and the target is dialled."""
    world = probing(5)
    ping, _ = world.sent(messages.PING)[0]
    world.forget()
    world.run(0.5)
    asked = world.sent(messages.INDIRECT_PING)
    assert len(asked) == 3
    assert all(body.seq_no == ping.seq_no and body.nack for body, _ in asked)
    assert all(body.node == ping.node for body, _ in asked)
    (stream,) = world.of(ml.OpenStream)
    assert stream.timeout_s == pytest.approx(0.5)
    world.tell(messages.ACK, Ack(seq_no=ping.seq_no))
    world.run(0.4)
    assert world.of(ml.CloseStream)
    assert world.state(ping.node) is State.ALIVE
    assert not world.of(ml.RoundTrip)


def test_an_unanswered_probe_ends_in_suspicion():
    """At the end of the interval the member is suspect, and we say so."""
    world = probing(5)
    ping, _ = world.sent(messages.PING)[0]
    world.run(1.05)
    assert world.state(ping.node) is State.SUSPECT
    world.run(0.3)
    told = [body for body, _ in world.sent(messages.SUSPECT)]
    assert {(t.node, t.from_) for t in told} == {(ping.node, "me")}


@pytest.mark.parametrize(("nacks", "score"), [(0, 3), (2, 1), (3, 0), (9, 0)])
def test_missing_nacks_make_us_doubt_ourselves(nacks, score):
    """Each helper that says nothing at all counts against our own health."""
    world = probing(5)
    ping, _ = world.sent(messages.PING)[0]
    world.run(0.6)
    for _ in range(nacks):
        world.tell(messages.NACK, Nack(seq_no=ping.seq_no))
    world.run(0.5)
    assert world.state(ping.node) is State.SUSPECT
    assert world.core.awareness.score == score


def test_a_stream_ack_saves_a_member_whose_packets_are_lost():
    """An answer over the stream counts; the probe is over."""
    world = probing(1)
    ping, _ = world.sent(messages.PING)[0]
    world.run(0.6)
    (stream,) = world.of(ml.OpenStream)
    world.core.stream_answered(stream.stream, Ack(seq_no=ping.seq_no), world.now)
    world.run(0.4)
    assert world.state("n0") is State.ALIVE


def test_a_failed_stream_does_not_end_a_probe():
    """Packets through others may still come."""
    world = probing(4)
    ping, _ = world.sent(messages.PING)[0]
    world.run(0.6)
    (stream,) = world.of(ml.OpenStream)
    world.core.stream_failed(stream.stream, "refused", world.now)
    world.tell(messages.ACK, Ack(seq_no=ping.seq_no))
    world.run(0.5)
    assert world.state(ping.node) is State.ALIVE


def test_a_suspect_is_told_so_when_it_is_probed():
    """The accusation rides along with the ping, so that it can be refuted."""
    world = World()
    world.alive("a", 2)
    world.alive("b", 3)
    world.suspect("a", source="b")
    world.forget()
    while not any(body.node == "a" for body, _ in world.sent(messages.PING)):
        world.run(0.1)
    pings = [p for p in world.of(ml.SendPacket) if p.address[0] == "10.0.0.2"]
    found = world.codec.unpack(pings[-1].data)
    assert [message[0] for message in found] == [messages.PING, messages.SUSPECT]


def test_an_unhealthy_member_takes_more_time():
    """Each point of the health score adds an interval to the probe."""
    world = probing(1)
    world.core.awareness.score = 2
    world.tell(messages.ACK, Ack(seq_no=world.sent(messages.PING)[0][0].seq_no))
    assert world.core.awareness.score == 1
    world.forget()
    while not world.sent(messages.PING):
        world.run(0.05)
    world.run(1.8)
    assert world.state("n0") is State.ALIVE
    world.run(0.3)
    assert world.state("n0") is State.SUSPECT


def test_pings_for_us_are_acked_and_others_are_not():
    """The ack goes to the stated source, with the payload of the layer above."""
    world = World(ack_payload=lambda: b"here")
    world.forget()
    world.tell(messages.PING, Ping(seq_no=5, node="other"))
    assert not world.sent(messages.ACK)
    world.tell(messages.PING, Ping(seq_no=5, node="me"))
    world.tell(messages.PING, Ping(seq_no=6, source_addr=ip(7), source_port=99))
    assert world.sent(messages.ACK) == [
        (Ack(seq_no=5, payload=b"here"), SOURCE),
        (Ack(seq_no=6, payload=b"here"), ("10.0.0.7", 99)),
    ]


def indirect(seq_no, nack=True):
    return IndirectPing(seq_no=seq_no, target=ip(2), port=8301, node="a", nack=nack)


def test_we_probe_for_others():
    """An indirect ping is carried out; its ack or a nack goes back."""
    world = World()
    world.forget()
    world.tell(messages.INDIRECT_PING, indirect(77))
    ping, address = world.sent(messages.PING)[0]
    assert (ping.node, address) == ("a", ("10.0.0.2", 8301))
    assert ping.seq_no != 77
    world.tell(messages.ACK, Ack(seq_no=ping.seq_no, payload=b"not for them"))
    assert world.sent(messages.ACK) == [(Ack(seq_no=77), SOURCE)]
    world.forget()
    world.tell(messages.INDIRECT_PING, indirect(78))
    world.tell(messages.INDIRECT_PING, indirect(79, nack=False))
    world.run(0.51)
    assert world.sent(messages.NACK) == [(Nack(seq_no=78), SOURCE)]


def test_indirect_pings_are_bounded():
    """A flood of requests is served up to a bound and dropped beyond."""
    world = World()
    for number in range(RELAYS_MAX + 50):
        world.tell(messages.INDIRECT_PING, indirect(number))
    assert len(world.core._prober._relays) == RELAYS_MAX
    assert world.core.counters["gossip: too many indirect pings"] == 50
    world.run(1)
    assert not world.core._prober._relays


# --- leaving, streams, quiet --------------------------------------------------------


def test_a_leave_is_spread_before_it_is_over():
    """Others hear a death notice from ourselves; then we may go."""
    world = World()
    world.alive("a", 2)
    world.run(0.5)
    world.forget()
    world.core.leave(world.now, 5.0)
    world.collect()
    assert not world.of(ml.LeaveSpread)
    world.run(3)
    notices = [b for b, _ in world.sent(messages.DEAD) if b.node == "me"]
    assert notices
    assert all(body.from_ == "me" for body in notices)
    assert world.of(ml.LeaveSpread)


def test_a_leave_without_listeners_does_not_wait():
    """Alone, or with everybody silent, a leave ends at once or by its timeout."""
    alone = World()
    alone.core.leave(alone.now, 5.0)
    alone.collect()
    assert alone.of(ml.LeaveSpread)


def test_a_full_exchange_answers_before_it_merges():
    """The answer shows what we knew before; then their members are ours."""
    world = World(user_state=lambda join: b"state" if join else b"")
    nodes = [
        NodeState(name="a", addr=ip(2), port=1, incarnation=3, vsn=VSN),
        NodeState(name="b", addr=ip(3), port=1, incarnation=3, vsn=VSN, state=2),
        NodeState(name="c", addr=b"?", port=1, incarnation=3, vsn=VSN),
    ]
    world.core.receive_request(1, PushPull(True, nodes, b"theirs"), SOURCE, world.now)
    world.collect()
    (answer,) = world.of(ml.AnswerStream)
    assert answer.data.endswith(b"state")
    assert b"\xa1a" not in answer.data
    (remote,) = world.of(ml.RemoteState)
    assert (remote.data, remote.is_join) == (b"theirs", True)
    assert world.state("a") is State.ALIVE
    assert world.state("b") is None
    assert world.state("c") is None


def test_a_remote_death_is_only_a_suspicion():
    """What another one believes dead may still refute; what left has left."""
    world = World()
    for number, name in enumerate("abc"):
        world.alive(name, number + 2)
    nodes = [
        NodeState(name="a", addr=ip(2), port=8301, incarnation=1, vsn=VSN, state=2),
        NodeState(name="b", addr=ip(3), port=8301, incarnation=1, vsn=VSN, state=3),
        NodeState(name="c", addr=ip(4), port=8301, incarnation=1, vsn=VSN, state=1),
    ]
    world.core.receive_request(1, PushPull(False, nodes, b""), SOURCE, world.now)
    states = [world.state(name) for name in "abc"]
    assert states == [State.SUSPECT, State.LEFT, State.SUSPECT]


def test_admission_guards_joins_and_alive_messages():
    """Who is refused by the rules does not come in by either way."""
    world = World(
        admit=lambda nodes: "bad" if any(n.name == "bad" for n in nodes) else None
    )
    world.alive("bad", 2)
    assert world.state("bad") is None
    nodes = [
        NodeState(name=n, addr=ip(4), port=1, incarnation=1, vsn=VSN)
        for n in ("good", "bad")
    ]
    stream = world.core.exchange(SOURCE, join=True)
    world.core.stream_answered(stream, PushPull(True, nodes, b""), world.now)
    world.collect()
    assert world.of(ml.ExchangeEnded) == [ml.ExchangeEnded(stream, "bad")]
    assert world.state("good") is None
    stream = world.core.exchange(SOURCE, join=False)
    world.core.stream_answered(stream, PushPull(False, nodes, b""), world.now)
    assert world.state("good") is State.ALIVE
    assert world.state("bad") is None


def test_networks_that_are_not_allowed_are_not_heard():
    """Neither packets nor members from outside the allowed networks count."""
    world = World(allows=lambda host: host.startswith("10."))
    message = messages.encode(messages.PING, Ping(seq_no=1))
    world.forget()
    world.core.receive_packet(message, ("192.0.2.1", 1), world.now)
    world.core.receive_request(3, UserData(b"x"), ("192.0.2.1", 1), world.now)
    world.alive("a", 2, addr=bytes((192, 0, 2, 7)))
    world.collect()
    assert world.actions == [ml.CloseStream(3)]
    assert world.state("a") is None


def test_stream_pings_are_answered_only_for_us():
    """A fallback ping gets an ack without payload, one for others nothing."""
    world = World(ack_payload=lambda: b"never on streams")
    world.forget()
    world.core.receive_request("s", Ping(seq_no=4, node="me"), SOURCE, world.now)
    world.core.receive_request("t", Ping(seq_no=4, node="you"), SOURCE, world.now)
    world.collect()
    answer, close = world.actions
    assert messages.decode(Ack, answer.data[1:]) == Ack(seq_no=4)
    assert close == ml.CloseStream("t")


def test_a_quiet_pool_wakes_nobody_for_gossip():
    """With nothing to spread the only timers are the probe and the exchange."""
    world = World()
    world.alive("a", 2)
    world.run(10)
    world.forget()
    turns = 0
    end = world.now + 20
    while (due := world.schedule.next_due()) is not None and due <= end:
        world.now = due
        world.schedule.run(due)
        turns += 1
        world.collect()
        for ping, _ in world.sent(messages.PING):
            world.tell(messages.ACK, Ack(seq_no=ping.seq_no))
        world.forget()
    assert turns <= 21


def test_alone_there_is_no_timer_at_all():
    """A pool of one sleeps until somebody joins."""
    assert World().schedule.next_due() is None


def test_unknown_and_misplaced_messages_are_counted():
    """Push/pull, encryption and error messages have no place in a packet."""
    world = World()
    for kind in (6, 10, 13, 14, 200):
        world.core.receive_packet(bytes((kind,)) + b"\x80", SOURCE, world.now)
    assert world.core.counters["gossip: unexpected message type"] == 5


def test_exchanges_come_round_and_stop():
    """Every half minute a random member is asked for everything, until we stop."""
    world = World()
    world.alive("a", 2)
    world.core._prober.stop()
    world.run(61)
    (opened,) = world.of(ml.OpenStream)
    world.core.stream_failed(opened.stream, "refused", world.now)
    world.collect()
    assert world.of(ml.ExchangeEnded) == [ml.ExchangeEnded(opened.stream, "refused")]
    world.core.stop()
    world.forget()
    world.run(120)
    assert not world.of(ml.OpenStream)


def test_odd_answers_end_an_exchange_with_an_error():
    """An error message or anything unexpected is a failure, in words."""
    world = World()
    for answer, text in (
        (messages.ErrorAnswer(error="no"), "Remote error: no"),
        (Ack(seq_no=1), "unexpected answer"),
    ):
        stream = world.core.exchange(SOURCE, join=True)
        world.core.stream_answered(stream, answer, world.now)
        world.collect()
        assert world.of(ml.ExchangeEnded)[-1].error == text
    # An answer to a stream that is long over is ignored.
    world.core.stream_answered(stream, Ack(seq_no=1), world.now)


def test_a_refused_merge_is_logged_and_forgotten():
    """Who asks with versions that nobody understands gets an answer, no entry."""
    world = World()
    odd = NodeState(
        name="a", addr=ip(2), port=1, incarnation=1, vsn=bytes((6, 7, 6, 2, 5, 4))
    )
    world.core.receive_request(1, PushPull(True, [odd], b""), SOURCE, world.now)
    world.collect()
    assert world.of(ml.AnswerStream)
    (note,) = world.of(ml.Note)
    assert note.level == "warn"
    assert world.state("a") is None
    assert world.core.counters["gossip: merge refused"] == 1


def test_user_messages_come_by_packet_and_by_stream():
    """Both ways lead to the layer above; ours go to one member, alone."""
    world = World()
    world.core.receive_packet(b"\x08one", SOURCE, world.now)
    world.core.receive_request(1, UserData(b"two"), SOURCE, world.now)
    world.collect()
    assert [action.data for action in world.of(ml.UserMessage)] == [b"one", b"two"]
    world.forget()
    world.core.send_user(SOURCE, b"\x08three")
    world.collect()
    assert world.actions == [ml.SendPacket(b"\x08three", SOURCE)]


def test_new_tags_are_announced_with_a_new_incarnation():
    """The pool hears of them; at the end of the numbers nothing is said."""
    world = World()
    world.core.update_meta(b"new", world.now)
    world.collect()
    assert world.changes()[-1] == ("updated", "me")
    assert (world.core.table.me.meta, world.core.table.me.incarnation) == (b"new", 2)
    world.alive("me", 1, incarnation=0xFFFFFFFE)
    world.core.update_meta(b"newer", world.now)
    assert world.core.table.me.meta == b"new"
