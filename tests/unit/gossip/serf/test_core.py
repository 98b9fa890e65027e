"""One Serf, fed by hand: intents, events, queries and what it tells."""

import random
import time

import attrs
import pytest

from consultwist.errors import BadRequest
from consultwist.gossip.config import PoolConfig
from consultwist.gossip.memberlist import actions as ml
from consultwist.gossip.memberlist import messages as low
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.messages import Alive, Dead
from consultwist.gossip.memberlist.stream import PushPull
from consultwist.gossip.serf import actions as sa
from consultwist.gossip.serf import messages
from consultwist.gossip.serf.core import Serf
from consultwist.gossip.serf.members import INTENTS_MAX, MemberStatus
from consultwist.gossip.serf.messages import (
    JoinIntent,
    LeaveIntent,
    Query,
    QueryResponse,
    RecentEvent,
    RecentEvents,
    RelayAddress,
    RelayHeader,
    SerfState,
    UserEvent,
)
from consultwist.gossip.serf.queries import QueryOptions
from consultwist.gossip.serf.query import tag_filter
from consultwist.gossip.serf.snapshot import Remembered
from consultwist.gossip.serf.timings import SerfTimings

VSN = bytes((1, 5, 2, 2, 5, 4))
SOURCE = ("10.0.0.9", 8301)
ALIVE, LEAVING, LEFT, FAILED = 1, 2, 3, 4


def ip(number):
    return bytes((10, 0, 0, number))


class World:
    """A Serf named `me`, with time in our hands."""

    def __init__(self, *, remembered=None, keys=(), serf=None, **config):
        self.now = 1000.0
        given = PoolConfig(name="me", serf=serf or SerfTimings(), **config)
        self.core = Serf(
            given,
            ("10.0.0.1", 8301),
            Keyring(keys),
            random.Random(1),
            remembered,
        )
        self.core.start(self.now)
        self.actions = []
        self.collect()

    def collect(self):
        self.actions += self.core.take_actions()

    def run(self, seconds):
        end = self.now + seconds
        while (due := self.core.next_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.handle_timer(self.now)
            self.collect()
        self.now = end

    def packet(self, message):
        self.core.receive_packet(message, SOURCE, self.now)
        self.collect()

    def tell(self, kind, body):
        self.packet(messages.user(messages.encode(kind, body)))

    def alive(self, name, number, incarnation=1, vsn=VSN):
        body = Alive(
            node=name, incarnation=incarnation, addr=ip(number), port=8301, vsn=vsn
        )
        self.packet(low.encode(low.ALIVE, body))

    def dead(self, name, source="x"):
        body = Dead(node=name, incarnation=1, from_=source)
        self.packet(low.encode(low.DEAD, body))

    def state(self, state, stream=None):
        data = messages.encode(messages.PUSH_PULL, state)
        body = PushPull(False, [], data)
        if stream is None:
            self.core.receive_request("s", body, SOURCE, self.now)
        else:
            self.core.stream_answered(stream, body, self.now)
        self.collect()

    def of(self, kind):
        return [action for action in self.actions if isinstance(action, kind)]

    def events(self):
        return [
            (e.kind.value, m.name) for e in self.of(sa.MemberEvent) for m in e.members
        ]

    def status(self, name):
        member = self.core.members.get(name)
        return member.status if member else 0

    def sent(self):
        """The Serf messages sent, as (message, address)."""
        codec = self.core.memberlist.codec
        return [
            (message[1:], packet.address)
            for packet in self.of(ml.SendPacket)
            for message in codec.unpack(packet.data)
            if message[0] == low.USER
        ]

    def forget(self):
        self.actions.clear()

    @property
    def clocks(self):
        stats = self.core.stats()
        return tuple(
            int(stats[name]) for name in ("member_time", "event_time", "query_time")
        )


# --- members and intents ------------------------------------------------------------


def test_a_leave_announced_before_vanishing_is_no_failure():
    """The intent makes a member leaving; its end then means left."""
    world = World()
    world.alive("a", 2)
    world.tell(messages.LEAVE, LeaveIntent(l_time=5, node="a"))
    assert world.status("a") == LEAVING
    world.dead("a", source="a")
    assert world.status("a") == LEFT
    assert world.events()[-1] == ("member-leave", "a")


def test_a_leave_that_arrives_late_still_counts():
    """A failed member whose intent comes afterwards has left."""
    world = World()
    world.alive("a", 2)
    world.dead("a")
    assert world.status("a") == FAILED
    world.tell(messages.LEAVE, LeaveIntent(l_time=5, node="a"))
    assert world.status("a") == LEFT
    assert [kind for kind, _ in world.events()[-2:]] == [
        "member-failed",
        "member-leave",
    ]


def test_intents_are_ordered_by_their_lamport_time():
    """An old leave does not undo a newer join."""
    world = World()
    world.alive("a", 2)
    world.tell(messages.JOIN, JoinIntent(l_time=7, node="a"))
    world.tell(messages.LEAVE, LeaveIntent(l_time=7, node="a"))
    assert world.status("a") == ALIVE
    world.tell(messages.LEAVE, LeaveIntent(l_time=8, node="a"))
    assert world.status("a") == LEAVING
    world.tell(messages.JOIN, JoinIntent(l_time=9, node="a"))
    assert world.status("a") == ALIVE
    assert world.clocks[0] == 10


def test_an_intent_waits_for_its_member_and_is_forgotten_in_time():
    """What comes before the member is applied when it joins, for five minutes."""
    world = World()
    world.tell(messages.LEAVE, LeaveIntent(l_time=5, node="a"))
    world.alive("a", 2)
    assert world.status("a") == LEAVING
    world.tell(messages.LEAVE, LeaveIntent(l_time=5, node="b"))
    world.run(330)
    world.alive("b", 3)
    assert world.status("b") == ALIVE


def test_waiting_intents_are_bounded():
    """A flood of intents about nobody does not grow."""
    world = World()
    for number in range(INTENTS_MAX + 10):
        world.tell(messages.JOIN, JoinIntent(l_time=1, node=f"x{number}"))
    assert len(world.core.members._intents) == INTENTS_MAX


def test_a_leave_claimed_about_us_is_refuted():
    """We say that we want to be here, with a newer time, and do not pass it on."""
    world = World()
    world.alive("a", 2)
    world.run(1)
    world.forget()
    world.tell(messages.LEAVE, LeaveIntent(l_time=20, node="me"))
    assert world.status("me") == ALIVE
    world.run(1)
    spread = [message for message, _ in world.sent()]
    assert spread
    for message in spread:
        intent = messages.decode(JoinIntent, message[1:])
        assert (message[0], intent.node) == (messages.JOIN, "me")
        assert intent.l_time > 20


def test_prune_forgets_a_member_that_is_gone():
    """With prune the member disappears from all lists."""
    world = World()
    world.alive("a", 2)
    world.alive("b", 3)
    world.dead("a")
    world.tell(messages.LEAVE, LeaveIntent(l_time=5, node="a", prune=True))
    assert world.status("a") == 0
    assert world.events()[-1] == ("member-reap", "a")
    world.tell(messages.LEAVE, LeaveIntent(l_time=6, node="b", prune=True))
    assert world.status("b") == LEAVING
    world.dead("b", source="b")
    world.run(9)
    assert world.status("b") == 0


def test_the_gone_are_reaped_after_their_time():
    """Failed and left members are forgotten, each after its own timeout."""
    serf = SerfTimings(reconnect_timeout_s=100, tombstone_timeout_s=50)
    world = World(serf=serf)
    world.alive("a", 2)
    world.alive("b", 3)
    world.core.memberlist.stop()
    world.dead("a")
    world.tell(messages.LEAVE, LeaveIntent(l_time=5, node="b"))
    world.dead("b", source="b")
    world.run(49)
    assert (world.status("a"), world.status("b")) == (FAILED, LEFT)
    world.run(20)
    assert (world.status("a"), world.status("b")) == (FAILED, 0)
    world.run(60)
    assert world.status("a") == 0


def test_failed_members_are_sought_again():
    """Every half minute a failed member is dialled; none, no timer."""
    world = World()
    world.alive("a", 2)
    world.core.memberlist.stop()
    assert world.core._membership._reconnect_alarm is None
    world.dead("a")
    world.forget()
    world.run(31)
    (dialled,) = world.of(ml.OpenStream)
    assert dialled.address == ("10.0.0.2", 8301)


def test_the_state_exchange_carries_statuses():
    """Leaves and joins of the state are applied; clocks follow."""
    world = World()
    for number, name in enumerate("abc"):
        world.alive(name, number + 2)
    world.dead("a")
    world.state(
        SerfState(
            l_time=30,
            event_l_time=40,
            query_l_time=50,
            status_l_times={"a": 20, "b": 21, "c": 22},
            left_members=["a", "c"],
        )
    )
    assert [world.status(name) for name in "abc"] == [LEFT, ALIVE, LEAVING]
    assert world.clocks == (30, 40, 50)
    member = world.core.members.get("b")
    assert member is not None
    assert member.status_time == 21


def test_old_events_of_a_join_are_ignored_if_asked():
    """What was fired before we came is not delivered, what comes after is."""
    state = SerfState(
        event_l_time=11,
        events=[
            None,
            RecentEvents(l_time=10, events=[RecentEvent(name="old", payload=b"x")]),
        ],
    )
    world = World()
    stream = world.core.exchange(SOURCE, world.now, ignore_old=True)
    world.state(state, stream)
    assert world.of(sa.UserEventReceived) == []
    world.tell(messages.USER_EVENT, UserEvent(l_time=11, name="new"))
    assert len(world.of(sa.UserEventReceived)) == 1
    other = World()
    stream = other.core.exchange(SOURCE, other.now, ignore_old=False)
    other.state(state, stream)
    assert [e.event.name for e in other.of(sa.UserEventReceived)] == ["old"]


def test_clocks_cannot_be_wound_to_their_end():
    """A Lamport time out of all bounds is refused, and counted."""
    world = World()
    for kind, body in (
        (messages.JOIN, JoinIntent(l_time=2**64 - 1, node="x")),
        (messages.USER_EVENT, UserEvent(l_time=2**64 - 1)),
        (messages.QUERY, Query(l_time=2**64 - 1, addr=ip(5))),
    ):
        world.tell(kind, body)
    assert max(world.clocks) < 10
    counters = world.core.memberlist.counters
    assert counters["serf: a Lamport time out of bounds"] == 3


# --- user events --------------------------------------------------------------------


def test_an_event_is_delivered_once_and_passed_on_unchanged():
    """Serf messages go on byte for byte; a repetition is dropped."""
    world = World()
    world.alive("a", 2)
    world.run(1)
    world.forget()
    message = messages.encode(
        messages.USER_EVENT, UserEvent(l_time=3, name="deploy", payload=b"v")
    )
    odd = message + b"trailing"
    for _ in range(3):
        world.packet(messages.user(odd))
    assert len(world.of(sa.UserEventReceived)) == 1
    world.run(1)
    assert {m for m, _ in world.sent()} == {odd}
    assert world.clocks[1] == 4


def test_events_too_old_or_too_long_are_dropped():
    """Outside the buffer an event cannot be told from a repetition."""
    world = World()
    world.tell(messages.USER_EVENT, UserEvent(l_time=2000, name="now"))
    world.tell(messages.USER_EVENT, UserEvent(l_time=1400, name="old"))
    world.tell(messages.USER_EVENT, UserEvent(l_time=1600, name="late"))
    huge = UserEvent(l_time=2001, name="huge", payload=bytes(20_000))
    world.tell(messages.USER_EVENT, huge)
    names = [e.event.name for e in world.of(sa.UserEventReceived)]
    assert names == ["now", "late"]


def test_an_event_flood_is_bounded():
    """Thousands of events of one time fill one slot, not the memory."""
    world = World()
    for number in range(5000):
        event = UserEvent(l_time=7, name=f"e{number}", payload=bytes(400))
        world.tell(messages.USER_EVENT, event)
    assert len(world.of(sa.UserEventReceived)) == 64
    for number in range(600):
        event = UserEvent(l_time=number + 8, name="x", payload=bytes(9000))
        world.tell(messages.USER_EVENT, event)
    assert world.core._events.buffer._bytes <= 4 * 1024 * 1024
    assert len(world.core._parts.event_queue) <= 4096


def test_coalesced_events_come_together():
    """With coalescing on, only the newest events of a name are delivered."""
    world = World(serf=SerfTimings(coalesce_period_s=3.0, quiescent_period_s=1.0))
    world.run(5)
    world.forget()
    for l_time in (5, 6, 7):
        body = UserEvent(l_time=l_time, name="a", payload=b"%d" % l_time, cc=True)
        world.tell(messages.USER_EVENT, body)
    world.tell(messages.USER_EVENT, UserEvent(l_time=8, name="now"))
    assert [e.event.name for e in world.of(sa.UserEventReceived)] == ["now"]
    world.run(1.1)
    assert [e.event.l_time for e in world.of(sa.UserEventReceived)] == [8, 7]


def test_coalesced_member_events_show_what_is_left_of_them():
    """A member that came and went within the period is told once, as it ended."""
    world = World(serf=SerfTimings(coalesce_period_s=3.0, quiescent_period_s=1.0))
    world.run(5)
    world.forget()
    world.alive("a", 2)
    world.alive("b", 3)
    world.dead("a")
    assert world.events() == []
    world.run(1.1)
    assert sorted(world.events()) == [("member-failed", "a"), ("member-join", "b")]
    for step in range(8):
        world.run(0.5)
        world.alive("b", 3, incarnation=step + 2)
        world.alive(f"n{step}", step + 10)
    assert len({name for _, name in world.events()}) > 2


def test_events_of_our_own_are_limited():
    """Name and payload together, before and after encoding."""
    world = World()
    with pytest.raises(BadRequest, match="before encoding"):
        world.core.user_event("name", bytes(509), world.now, coalesce=False)
    with pytest.raises(BadRequest, match="after encoding"):
        world.core.user_event("name", bytes(500), world.now, coalesce=False)
    world.core.user_event("name", bytes(400), world.now, coalesce=False)
    world.collect()
    assert len(world.of(sa.UserEventReceived)) == 1


# --- queries ------------------------------------------------------------------------


def query(**fields):
    given = {
        "l_time": 5,
        "id": 77,
        "addr": ip(9),
        "port": 8301,
        "source_node": "asker",
        "timeout": 3 * 10**9,
        "name": "load",
    }
    return Query(**(given | fields))


def responses(world):
    return [
        (messages.decode(QueryResponse, message[1:]), address)
        for message, address in world.sent()
        if message[0] == messages.QUERY_RESPONSE
    ]


def test_a_query_is_acked_shown_and_answered_once():
    """The ack goes at once, the answer when the application gives it."""
    world = World()
    world.tell(messages.QUERY, query(flags=messages.FLAG_ACK))
    world.tell(messages.QUERY, query(flags=messages.FLAG_ACK))
    ((ack, address),) = responses(world)
    assert (ack.from_, ack.flags, address) == ("me", 1, SOURCE)
    (received,) = world.of(sa.QueryReceived)
    world.core.respond(received.query, b"42", world.now)
    world.collect()
    assert responses(world)[1][0].payload == b"42"
    with pytest.raises(BadRequest, match="already sent"):
        world.core.respond(received.query, b"43", world.now)


def test_answers_have_a_deadline_and_a_size():
    """Late and long answers are refused here, not by the asker."""
    world = World()
    world.tell(messages.QUERY, query())
    (received,) = world.of(sa.QueryReceived)
    with pytest.raises(BadRequest, match="1024 bytes"):
        world.core.respond(received.query, bytes(1024), world.now)
    with pytest.raises(BadRequest, match="deadline"):
        world.core.respond(received.query, b"", world.now + 4)


@pytest.mark.parametrize(
    ("filters", "is_for_us"),
    [
        (QueryOptions(nodes=("me", "x")).filters(), True),
        (QueryOptions(nodes=("x",)).filters(), False),
        (QueryOptions(tags={"role": "^d[ab]$"}).filters(), True),
        (QueryOptions(tags={"role": "web"}).filters(), False),
        (QueryOptions(tags={"missing": "^$"}).filters(), True),
        (QueryOptions(nodes=("me",), tags={"role": "web"}).filters(), False),
        ([tag_filter("role", "(")], False),
        ([b""], False),
        ([b"\x09\x80"], False),
        ([b"\x00\xc1"], False),
        ([b"\x00\xa2me"], False),
        (QueryOptions(nodes=("me",)).filters() * 65, False),
    ],
)
def test_filters_decide_and_the_query_is_passed_on_anyway(filters, is_for_us):
    """A query that is not for us still spreads."""
    world = World(tags={"role": "db"})
    world.tell(messages.QUERY, query(filters=filters))
    assert bool(world.of(sa.QueryReceived)) == is_for_us
    assert len(world.core._parts.query_queue) == 1
    world.tell(messages.QUERY, query(id=78, flags=messages.FLAG_NO_BROADCAST))
    assert len(world.core._parts.query_queue) == 1


def test_a_hostile_expression_costs_little():
    """Expressions that make a backtracking matcher run for years are harmless."""
    world = World(tags={"role": "a" * 400})
    began = time.perf_counter()  # the only way to see that it is fast
    for number, text in enumerate(("(a+)+$b", "(a|a)*b", "(a*)*b", "(.*.*)*x")):
        filters = [tag_filter("role", text)]
        world.tell(messages.QUERY, query(id=number, filters=filters))
    assert time.perf_counter() - began < 5
    assert world.of(sa.QueryReceived) == []


def test_relays_are_asked_and_served():
    """With a relay factor answers go a second way; we pass on those of others."""
    world = World()
    for number, name in enumerate("abcd"):
        world.alive(name, number + 2)
    world.alive("old", 9, vsn=bytes((1, 4, 2, 2, 5, 4)))
    world.forget()
    world.tell(messages.QUERY, query(flags=messages.FLAG_ACK, relay_factor=2))
    direct, *relayed = world.sent()
    assert direct[1] == SOURCE
    assert len({address for _, address in relayed}) == 2
    for message, address in relayed:
        header, inner = messages.decode_relay(message[1:])
        assert (header.dest_addr.ip, header.dest_name) == (ip(9), "asker")
        assert inner == direct[0]
        assert address != ("10.0.0.9", 8301)
    world.forget()
    world.packet(messages.user(relayed[0][0]))
    assert world.sent() == [(direct[0], SOURCE)]


def test_an_empty_relay_is_not_passed_on():
    """An empty message would kill an old member."""
    world = World()
    world.forget()
    header = RelayHeader(dest_addr=RelayAddress(ip=ip(3), port=1), dest_name="x")
    world.tell(messages.RELAY, header)
    assert world.sent() == []


def test_our_query_counts_each_answer_once_and_in_time():
    """Acks and answers are told apart; doubles, strangers and late ones dropped."""
    world = World()
    world.alive("a", 2)
    options = QueryOptions(wants_ack=True, timeout_s=2.0)
    opened = world.core.query("load", b"?", options, world.now)
    world.collect()

    def answer(source, flags=0, l_time=1, number=None):
        world.tell(
            messages.QUERY_RESPONSE,
            QueryResponse(
                l_time=l_time,
                id=opened.query.id if number is None else number,
                from_=source,
                flags=flags,
                payload=b"1",
            ),
        )

    for _ in range(2):
        answer("a")
        answer("a", flags=1)
    answer("b", number=123)
    assert opened.acks == {"me": None, "a": None}
    assert opened.responses == {"a": b"1"}
    assert len(world.of(sa.QueryAnswered)) == 3
    for number in range(1000):
        answer(f"forged{number}")
    assert len(opened.responses) <= 256
    world.run(2.1)
    assert world.of(sa.QueryFinished) == [sa.QueryFinished(opened)]
    before = len(opened.responses)
    answer("late")
    assert len(opened.responses) == before


def test_queries_of_our_own_are_bounded():
    """Too long, too many, an odd relay factor: refused."""
    world = World()
    for options, payload in (
        (QueryOptions(), bytes(1100)),
        (QueryOptions(relay_factor=256), b""),
    ):
        with pytest.raises(BadRequest):
            world.core.query("x", payload, options, world.now)
    for _ in range(1024):
        world.core.query("x", b"", QueryOptions(timeout_s=9), world.now)
    with pytest.raises(BadRequest, match="too many"):
        world.core.query("x", b"", QueryOptions(timeout_s=9), world.now)


def test_internal_queries_are_answered_here():
    """Conflict, ping and unknown ones never reach the application."""
    world = World()
    world.alive("a", 2)
    world.run(0.1)
    for number, (name, payload) in enumerate(
        [
            ("_serf_conflict", b"a"),
            ("_serf_conflict", b"nobody"),
            ("_serf_conflict", b"me"),
            ("_serf_ping", b""),
            ("_serf_future", b""),
        ]
    ):
        world.tell(messages.QUERY, query(id=number, name=name, payload=payload))
    answers = [response.payload for response, _ in responses(world)]
    assert len(answers) == 2
    found = messages.decode(messages.ConflictMember, answers[0][1:])
    assert (found.name, found.addr, found.status) == ("a", ip(2), 1)
    assert answers[1] == b"\x06\xc0"
    assert world.of(sa.QueryReceived) == []


def test_a_long_list_of_keys_is_cut_to_what_fits():
    """The answer says how many keys it shows, and fits its limit."""
    keys = [bytes((number,)) * 32 for number in range(40)]
    world = World(keys=keys)
    opened = world.core.query("_serf_list-keys", b"", QueryOptions(), world.now)
    payload = opened.responses["me"]
    response = messages.decode(messages.KeyResponse, payload[1:])
    assert response.result
    shown = len(response.keys or ())
    assert 5 < shown < 40
    assert f"first {shown} of 40" in response.message


# --- the snapshot and odds and ends -------------------------------------------------


def test_what_happens_is_remembered():
    """Members and clocks are written as they change, clocks not each time."""
    world = World()
    world.alive("a", 2)
    world.dead("a")
    for l_time in range(10, 20):
        world.tell(messages.JOIN, JoinIntent(l_time=l_time, node="me"))
    world.run(0.6)
    lines = [action.line for action in world.of(sa.Remember)]
    assert lines == [
        "alive: me 10.0.0.1:8301\n",
        "alive: a 10.0.0.2:8301\n",
        "not-alive: a\n",
        "clock: 19\n",
    ]
    assert world.core.next_timer() is not None


def test_a_member_starts_where_its_snapshot_ends():
    """Clocks go on, and what was delivered before is not delivered again."""
    world = World(remembered=Remembered(clock=10, event_clock=20, query_clock=30))
    assert world.clocks == (11, 21, 31)
    world.tell(messages.USER_EVENT, UserEvent(l_time=20, name="old"))
    world.tell(messages.USER_EVENT, UserEvent(l_time=21, name="new"))
    world.tell(messages.QUERY, query(l_time=30))
    world.tell(messages.QUERY, query(l_time=31))
    assert [e.event.name for e in world.of(sa.UserEventReceived)] == ["new"]
    assert len(world.of(sa.QueryReceived)) == 1


def test_a_leave_goes_on_when_nobody_listens():
    """A pool that does not take our messages cannot keep us."""
    world = World()
    world.alive("a", 2)
    world.core._membership._waiting_for = None
    world.core.leave(world.now)
    alarm = world.core.memberlist._gossip_alarm
    assert alarm is not None
    alarm.cancel()
    with pytest.raises(BadRequest):
        world.core.leave(world.now)
    world.run(20)
    assert world.of(sa.LeaveEnded)
    assert world.core.status is MemberStatus.LEFT


def test_a_lone_member_leaves_at_once():
    """Nobody has to hear it."""
    world = World()
    world.core.leave(world.now)
    world.run(0.01)
    assert world.of(sa.LeaveEnded)


def test_rubbish_in_user_messages_is_counted():
    """Unknown types, empty and truncated messages are dropped."""
    world = World()
    for body in (b"", b"\x63\x80", b"\x03", b"\x03\x81\xa5LTime", b"\x00\x90"):
        world.packet(b"\x08" + body)
    world.core.receive_request("s", PushPull(False, [], b"\x63x"), SOURCE, world.now)
    world.core.receive_request("s", PushPull(False, [], b"\x02\xc1"), SOURCE, world.now)
    counters = world.core.memberlist.counters
    assert sum(counters.values()) == 7


def test_stats_have_the_names_of_the_stock_agent():
    """The figures of /v1/agent/self, all of them text."""
    assert World().core.stats() == {
        "coordinate_resets": "0",
        "encrypted": "false",
        "event_queue": "0",
        "event_time": "1",
        "failed": "0",
        "health_score": "0",
        "intent_queue": "0",
        "left": "0",
        "member_time": "1",
        "members": "1",
        "query_queue": "0",
        "query_time": "1",
    }


def test_a_name_conflict_is_reported():
    """Somebody else claims our name: loud, but we stay."""
    world = World()
    world.alive("me", 7, incarnation=5)
    (note,) = world.of(ml.Note)
    assert note.level == "error"
    assert "conflict" in note.text.format(**note.fields)
    assert world.status("me") == ALIVE
    assert attrs.asdict(note)["fields"]["name"] == "me"
