"""Whole gossip pools of production cores, over a simulated network, by seed."""

import os
import random

import attrs
import pytest

from consultwist.gossip.config import CONSUL_LAN
from consultwist.gossip.memberlist.members import State
from consultwist.gossip.serf.actions import (
    MemberEventKind,
    QueryReceived,
    UserEventReceived,
)
from consultwist.gossip.serf.members import MemberStatus
from consultwist.gossip.serf.queries import QueryOptions
from consultwist.testing.gossip import Awaited, SimPool, member_event

KEY = bytes(range(16))


def settled(seed, count, **changes):
    """A pool that has known itself for a while."""
    pool = SimPool(seed)
    pool.populate(count, **changes)
    pool.run(5)
    return pool


def others(pool, *names):
    return [m for m in pool.up() if m.name not in names]


def test_members_that_join_one_by_one_all_find_each_other():
    """A hundred members that know only the first become one pool."""
    pool = SimPool(seed=1)
    pool.grow(100)
    assert pool.clock.run_while(lambda: not pool.has_converged(), 30)


def test_an_encrypted_and_labelled_pool_converges():
    """Keys and a label change nothing for those who have them."""
    pool = SimPool(seed=2)
    pool.grow(20, keys=(KEY,), label=b"alpha")
    outsider = pool.add(name="outsider", keys=(bytes(16),), label=b"alpha")
    outsider.start()
    outsider.join(pool.members[0])
    pool.run(20)
    assert pool.agree("m7", MemberStatus.ALIVE) is False
    assert set(outsider.statuses()) == {"outsider"}
    assert all(len(member.statuses()) == 20 for member in others(pool, "outsider"))


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_crash_is_known_to_all_within_the_published_time(seed):
    """Probe, suspicion and dissemination stay within their formulas."""
    pool = settled(seed, 100)
    victim = pool.members[17]
    known = Awaited(
        pool,
        member_event(MemberEventKind.FAILED, victim.name),
        others(pool, victim.name),
    )
    victim.crash()
    assert known.run(60)
    # The first probe of it, the minimum suspicion of 8 s for 100 members, gossip.
    assert 8 <= known.share_s(1.0) <= 20
    assert pool.agree(victim.name, MemberStatus.FAILED)
    # Forgotten when the order of probes begins anew, half a minute later or more.
    pool.run(140)
    assert all(m.core.memberlist.table.get(victim.name) is None for m in pool.up())


def test_a_member_that_comes_back_is_alive_everywhere():
    """A restarted member jumps over the incarnation of its former life."""
    pool = settled(6, 60)
    victim = pool.members[9]
    victim.crash()
    pool.run(30)
    assert pool.agree(victim.name, MemberStatus.FAILED)
    victim.restart()
    victim.join(pool.members[0])
    pool.run(15)
    assert pool.has_converged()
    assert len(victim.statuses()) == 60


def test_a_graceful_leave_is_never_a_failure():
    """Whoever leaves on purpose is left everywhere and failed nowhere."""
    pool = settled(7, 100)
    member = pool.members[33]
    failed = []
    test = member_event(MemberEventKind.FAILED, member.name)
    pool.listeners.append(
        lambda _, action: failed.append(action) if test(action) else 0
    )
    member.core.leave(member.now)
    member.flush()
    pool.run(9)
    member.crash()
    pool.run(60)
    assert pool.agree(member.name, MemberStatus.LEFT)
    assert failed == []


def test_user_events_reach_everybody_once():
    """Ten events at a time: all are delivered, none twice."""
    pool = settled(8, 100)
    heard: dict[tuple[str, str], int] = {}

    def listen(member, action):
        if isinstance(action, UserEventReceived):
            key = (member.name, action.event.name)
            heard[key] = heard.get(key, 0) + 1

    pool.listeners.append(listen)
    for number in range(10):
        member = pool.members[number * 7]
        member.core.user_event(f"e{number}", b"x", member.now, coalesce=False)
        member.flush()
    pool.run(10)
    assert len(heard) == 100 * 10
    assert set(heard.values()) == {1}


def test_queries_are_acked_by_all_and_answered_by_the_chosen():
    """Acks and answers come back straight and through relays."""
    pool = settled(9, 60)

    def answer(member, action):
        if isinstance(action, QueryReceived):
            member.core.respond(action.query, member.name.encode(), member.now)

    pool.listeners.append(answer)
    asker = pool.members[0]
    options = QueryOptions(wants_ack=True, relay_factor=2, timeout_s=10)
    opened = asker.core.query("who", b"", options, asker.now)
    chosen = asker.core.query(
        "who", b"", QueryOptions(nodes=("m3", "m4"), timeout_s=10), asker.now
    )
    asker.flush()
    pool.network.weather.loss = 0.1
    pool.run(10)
    assert len(opened.acks) == 60
    assert len(opened.responses) == 60
    assert set(chosen.responses) <= {"m3", "m4"}


def test_a_partition_of_half_the_pool_heals():
    """Both halves give the other up, and find it again without help."""
    pool = settled(10, 40)
    half = [member.address[0] for member in pool.members[:20]]
    pool.network.partition(half)
    pool.run(90)
    assert pool.members[0].status_of("m30") == MemberStatus.FAILED
    assert pool.members[30].status_of("m0") == MemberStatus.FAILED
    pool.network.heal()
    assert pool.clock.run_while(lambda: not pool.has_converged(), 300)


def test_loss_alone_kills_nobody():
    """With a tenth of all packets lost, Lifeguard keeps everybody alive."""
    pool = settled(11, 60)
    pool.network.weather.loss = 0.1
    failures = []
    pool.listeners.append(
        lambda _, action: (
            failures.append(action)
            if getattr(action, "kind", None) is MemberEventKind.FAILED
            else None
        )
    )
    pool.run(120)
    assert failures == []


def test_one_slow_member_harms_itself_more_than_others():
    """Lifeguard: a starved member does not bring the healthy ones down."""
    pool = settled(12, 50)
    slow = pool.members[0]
    false_positives: list[str] = []

    def listen(_member, action):
        if getattr(action, "kind", None) is MemberEventKind.FAILED:
            false_positives.extend(
                m.name for m in action.members if m.name != slow.name
            )

    pool.listeners.append(listen)
    for _ in range(20):
        slow.stall(4.0)
        pool.run(6.0)
    assert false_positives == []
    pool.run(30)
    assert pool.has_converged()


#: Random fault schedules to run; CONSULTWIST_SEEDS asks for more.
SCHEDULES = int(os.environ.get("CONSULTWIST_SEEDS", "6"))


@pytest.mark.parametrize("seed", range(20, 20 + SCHEDULES))
def test_invariants_hold_under_random_faults(seed):
    """Crashes, leaves, stalls, partitions, loss: the laws of the pool hold."""
    pool = settled(seed, 24)
    chaos = random.Random(seed)
    watch = Invariants(pool)
    left: set[str] = set()
    for _ in range(60):
        disturb(pool, chaos, left)
        for _ in range(chaos.randrange(2, 20)):
            pool.run(0.25)
            watch.check()
    pool.network.heal()
    pool.network.weather.loss = pool.network.weather.duplication = 0.0
    for member in pool.members:
        if not member.is_up and member.name not in left:
            member.restart()
            member.join(pool.up()[0])
    # Calm must bring agreement, in bounded time.
    assert pool.clock.run_while(lambda: not pool.has_converged(), 600)
    pool.run(60)
    watch.check()
    for name in sorted(left):
        # Whoever was cut off may have missed the leave; nobody believes in a return.
        gone = (0, MemberStatus.LEFT, MemberStatus.FAILED)
        assert all(member.status_of(name) in gone for member in pool.up())


def disturb(pool, chaos, left):
    """Do one harmful thing."""
    running = pool.up()
    member = chaos.choice(running)
    kind = chaos.randrange(8)
    if kind == 0 and len(running) > 14:
        member.crash()
    elif kind == 1 and len(running) > 14 and len(left) < 4:
        member.core.leave(member.now)
        member.flush()
        pool.run(9)
        member.crash()
        left.add(member.name)
    elif kind == 2:
        down = [m for m in pool.members if not m.is_up and m.name not in left]
        for other in down[:1]:
            other.restart()
            other.join(member)
    elif kind == 3:
        member.stall(chaos.uniform(0.5, 8))
    elif kind == 4:
        hosts = [m.address[0] for m in pool.members]
        pool.network.partition(chaos.sample(hosts, len(hosts) // 2))
    elif kind == 5:
        pool.network.heal()
    elif kind == 6:
        pool.network.weather.loss = chaos.choice([0.0, 0.1, 0.3])
        pool.network.weather.duplication = chaos.choice([0.0, 0.2])
    else:
        number = chaos.randrange(1000)
        member.core.user_event(f"e{number}", b"", member.now, coalesce=False)
        member.flush()


class Invariants:
    """What must be true at any time, whatever happens."""

    def __init__(self, pool):
        self.pool = pool
        self.seen = {}

    def check(self):
        for member in self.pool.up():
            self.check_member(member)

    def check_member(self, member):
        core = member.core
        table = core.memberlist.table
        before = self.seen.get(core, {})
        for node in table:
            old = before.get(node.name)
            if old is None or self.may_be_forgotten(old, member.now):
                continue
            assert node.incarnation >= old.incarnation, (member.name, node.name)
            if old.state == State.LEFT and node.state != State.LEFT:
                # Nobody comes back from having left but by a new life of its own.
                assert node.incarnation > old.incarnation, (member.name, node.name)
        self.seen[core] = {node.name: node for node in table}
        parts = core._parts
        assert len(core.memberlist.queue) <= len(self.pool.members)
        for queue in (parts.intent_queue, parts.event_queue, parts.query_queue):
            assert len(queue) <= 4096
        assert len(table._order) == len(table._members)
        assert set(table._order) == set(table._members)

    def may_be_forgotten(self, old, now):
        """Who has been gone for long may be forgotten and learnt anew."""
        return old.is_gone and now - old.changed_at > CONSUL_LAN.gossip_to_the_dead_s


def test_replayed_packets_change_nothing():
    """An eavesdropper that sends everything again brings nobody back."""
    pool = SimPool(15)
    recorded = []
    original = pool.network.send

    def record(data, source, target):
        recorded.append((data, source))
        original(data, source, target)

    pool.network.send = record  # type: ignore[method-assign]  # an eavesdropper
    pool.grow(20, keys=(KEY,))
    pool.run(20)
    for number in (3, 4):
        pool.members[number].core.leave(pool.clock.seconds())
        pool.members[number].flush()
    pool.members[5].crash()
    pool.run(40)
    pool.network.send = original  # type: ignore[method-assign]  # gone again
    target = pool.members[0]
    before = target.statuses()
    delivered = pool.counts["UserEventReceived"]
    for data, source in recorded:
        target._packet(data, source)
    pool.run(5)
    assert target.statuses() == before
    assert pool.counts["UserEventReceived"] == delivered
    assert len(target.core.memberlist.table) <= 20


def test_the_same_seed_gives_the_same_run():
    """A failure can be run again: nothing but the seed decides."""

    def digest(seed):
        pool = SimPool(seed)
        pool.network.weather.loss = 0.2
        pool.grow(15)
        pool.run(20)
        pool.members[3].crash()
        pool.run(30)
        network = pool.network
        return (network.packets_sent, network.bytes_sent, network.packets_lost)

    assert digest(42) == digest(42)
    assert digest(42) != digest(43)


def test_bounded_cost_per_member():
    """A calm member sends about two packets a second, however large the pool."""
    rates = []
    for count in (50, 200):
        pool = settled(13, count)
        before = pool.network.packets_sent
        pool.run(20)
        rates.append((pool.network.packets_sent - before) / count / 20)
    assert all(1.9 < rate < 2.2 for rate in rates)


def test_lifeguard_saves_the_healthy_from_the_slow():
    """Members that hear late harm others under plain SWIM, hardly with Lifeguard."""
    plain = attrs.evolve(
        CONSUL_LAN, awareness_max=1, suspicion_max_mult=1, use_nacks=False
    )
    harmed = {}
    for name, timings in (("SWIM", plain), ("Lifeguard", CONSUL_LAN)):
        pool = SimPool(14, timings)
        pool.populate(50)
        slow = pool.members[:3]
        names = {member.name for member in slow}
        found: set[str] = set()

        def listen(_, action, found=found, names=names):
            if getattr(action, "kind", None) is MemberEventKind.FAILED:
                found.update(m.name for m in action.members if m.name not in names)

        pool.listeners.append(listen)
        for member in slow:
            member.lag_max_s = 20.0
        pool.run(60)
        harmed[name] = len(found)
    assert harmed["SWIM"] > 3
    assert harmed["Lifeguard"] * 5 <= harmed["SWIM"]
