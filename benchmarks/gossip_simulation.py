"""How gossip pools behave at scale, measured on the production cores in simulation.

    python benchmarks/gossip_simulation.py --members 100 1000 5000
    python benchmarks/gossip_simulation.py --false-positives

Prints Markdown tables; `docs/internals/gossip-simulation.md` holds the last ones.
"""

import argparse
import gc
import math
import time

import attrs

from consultwist.gossip.config import CONSUL_LAN
from consultwist.gossip.memberlist.suspicion import suspicion_timeout_s
from consultwist.gossip.memberlist.timings import Timings
from consultwist.gossip.serf.actions import MemberEventKind, UserEventReceived
from consultwist.testing.gossip import Awaited, SimMember, SimPool, member_event

#: Lifeguard's three parts switched off: plain SWIM with suspicion.
SWIM = attrs.evolve(CONSUL_LAN, awareness_max=1, suspicion_max_mult=1, use_nacks=False)


def tell(member: SimMember, name: str) -> None:
    """Fire a user event."""
    member.core.user_event(name, b"x", member.now, coalesce=False)
    member.flush()


def spread_model_s(members: int, share: float, loss: float = 0.0) -> float:
    """Return when Serf's published convergence model has reached a share.

    Its logistic curve has a contact rate of half the fanout.
    """
    contact = CONSUL_LAN.gossip_nodes * 0.5 * (1 - loss)
    odds = share / (1 - share)
    rounds = math.log(odds * (members + 1)) / contact
    return rounds * CONSUL_LAN.gossip_interval_s


def settled(seed: int, members: int, timings: Timings = CONSUL_LAN) -> SimPool:
    """Return a pool that has known itself for a while."""
    pool = SimPool(seed, timings)
    pool.populate(members)
    pool.run(3)
    return pool


def measure_event(pool: SimPool, number: int) -> Awaited:
    """Fire an event and wait until all know."""
    name = f"e{number}"
    waiting = Awaited(
        pool,
        lambda a: isinstance(a, UserEventReceived) and a.event.name == name,
        pool.up(),
    )
    tell(pool.up()[number], name)
    waiting.run(60)
    return waiting


def measure_join(pool: SimPool) -> Awaited:
    """Let one more member join and wait until all know it."""
    member = pool.add()
    test = member_event(MemberEventKind.JOIN, member.name)
    waiting = Awaited(pool, test, pool.up())
    member.start()
    member.join(pool.members[0])
    waiting.run(120)
    return waiting


def measure_leave(pool: SimPool, number: int) -> Awaited:
    """Let a member leave and wait until all know."""
    member = pool.members[number]
    test = member_event(MemberEventKind.LEAVE, member.name)
    waiting = Awaited(pool, test, [m for m in pool.up() if m is not member])
    member.core.leave(member.now)
    member.flush()
    waiting.run(120)
    pool.run(5)
    member.crash()
    return waiting


def measure_death(pool: SimPool, number: int) -> Awaited:
    """Kill a member and wait until all know."""
    member = pool.members[number]
    test = member_event(MemberEventKind.FAILED, member.name)
    waiting = Awaited(pool, test, [m for m in pool.up() if m is not member])
    member.crash()
    waiting.run(240)
    return waiting


def row(name: str, waits: list[Awaited], note: str) -> str:
    """Return a line of the table: medians over the repeats."""
    first, most, every = (
        sorted(w.share_s(share) for w in waits)[len(waits) // 2]
        for share in (0.01, 0.99, 1.0)
    )
    return f"| {name} | {first:.2f} | {most:.2f} | {every:.2f} | {note} |"


def report_scale(members: int, repeats: int) -> None:
    """Print what a pool of one size does."""
    began = time.perf_counter()
    pool = settled(members, members)
    packets, sent, turns = pool.network.packets_sent, 0, 0
    before = [(m.bytes, m.turns) for m in pool.members]
    calm_s = 60 if members <= 1000 else 20
    pool.run(calm_s)
    packets = pool.network.packets_sent - packets
    for member, (old_bytes, old_turns) in zip(pool.members, before, strict=True):
        sent += member.bytes - old_bytes
        turns += member.turns - old_turns
    per = members * calm_s
    model = f"model {spread_model_s(members, 0.99):.2f} for 99 %"
    least_s = suspicion_timeout_s(4, members, 1.0)
    print(f"\n### {members} members\n")
    print("| what | 1 % know, s | 99 %, s | 100 %, s | published |")
    print("| --- | --- | --- | --- | --- |")
    events = [measure_event(pool, number) for number in range(repeats)]
    print(row("user event", events, model))
    print(row("join", [measure_join(pool) for _ in range(repeats)], model))
    leaves = [measure_leave(pool, 20 + number) for number in range(repeats)]
    print(row("graceful leave", leaves, f"intent first, then {model}"))
    deaths = [measure_death(pool, 40 + number) for number in range(repeats)]
    print(row("death", deaths, f"at least {least_s:.1f} s of suspicion"))
    print(
        f"\nCalm, per member and second: {packets / per:.2f} packets,"
        f" {sent / per:.0f} bytes with exchanges, {turns / per:.2f} timer turns."
        f" The run took {time.perf_counter() - began:.0f} s."
    )


def count_false_positives(
    seed: int, members: int, timings: Timings, loss: float, slow_share: float
) -> tuple[int, int]:
    """Return failures declared of healthy members, and in how many minutes.

    Slow members take what arrives up to 20 seconds late; their timers run on time.
    """
    pool = settled(seed, members, timings)
    pool.network.weather.loss = loss
    slow = pool.members[: round(members * slow_share)]
    slow_names = {member.name for member in slow}
    found: set[tuple[str, float]] = set()

    def listen(member: SimMember, action: object) -> None:
        if getattr(action, "kind", None) is MemberEventKind.FAILED:
            for other in action.members:  # type: ignore[attr-defined]
                if other.name not in slow_names:
                    # One wrong verdict is heard by everybody within seconds.
                    found.add((other.name, member.now // 30))

    pool.listeners.append(listen)
    for member in slow:
        member.lag_max_s = 20.0
    pool.run(300)
    return len(found), 5


def report_false_positives(members: int) -> None:
    """Print how many healthy members are declared failed."""
    print(f"\n### False positives, {members} members, 5 minutes\n")
    print("| loss | slow members | SWIM | with Lifeguard |")
    print("| --- | --- | --- | --- |")
    cases = [(0.0, 0.0), (0.05, 0.0), (0.10, 0.0), (0.25, 0.0)]
    cases += [(0.0, share) for share in (0.01, 0.02, 0.05, 0.10)]
    cases += [(0.05, 0.05), (0.10, 0.10)]
    for loss, share in cases:
        totals = []
        for timings in (SWIM, CONSUL_LAN):
            runs = [
                count_false_positives(seed, members, timings, loss, share)[0]
                for seed in (1, 2)
            ]
            totals.append(sum(runs) / len(runs))
        print(
            f"| {loss:.0%} | {share:.0%} | {totals[0]:.1f} | {totals[1]:.1f} |",
            flush=True,
        )


def report_partition(members: int) -> None:
    """Print how long a pool cut in half takes to be one again."""
    pool = settled(77, members)
    pool.network.partition([m.address[0] for m in pool.members[: members // 2]])
    pool.run(120)
    first, last = pool.members[0], pool.members[-1]
    apart = first.status_of(last.name), last.status_of(first.name)
    pool.network.heal()
    began = pool.clock.seconds()
    while not (healed := pool.has_converged()) and pool.clock.seconds() < began + 600:
        pool.run(1.0)
    print(
        f"\nA pool of {members} cut in half for two minutes (statuses then {apart}):"
        f" healed is {healed} after {pool.clock.seconds() - began:.1f} s."
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--false-positives", type=int, metavar="MEMBERS")
    parser.add_argument("--partition", type=int, metavar="MEMBERS")
    given = parser.parse_args()
    gc.disable()
    for members in given.members:
        report_scale(members, given.repeats)
        gc.collect()
    if given.false_positives:
        report_false_positives(given.false_positives)
    if given.partition:
        report_partition(given.partition)


if __name__ == "__main__":
    main()
