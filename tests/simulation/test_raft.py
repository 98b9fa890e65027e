"""Whole Raft clusters under faults, each run from one seed."""

import os
import random

import pytest

from consultwist.raft.settings import RaftSettings
from consultwist.testing.raft import RaftCluster, SimServer

#: More seeds for a longer search: CONSULTWIST_SEEDS=1000.
SEEDS = int(os.environ.get("CONSULTWIST_SEEDS", "12"))

#: Small numbers, so that snapshots, compaction and installs happen in a short run.
BUSY = RaftSettings(snapshot_interval_s=1.0, snapshot_threshold=40, trailing_logs=10)


class Chaos:
    """A client that keeps writing, and somebody who keeps breaking things."""

    def __init__(self, cluster: RaftCluster) -> None:
        self.cluster = cluster
        self.rng = random.Random(cluster.seed + 1)
        self.acknowledged: list[bytes] = []
        self.count = 0
        self.is_over = False

    def write(self) -> None:
        if self.is_over:
            return
        for server in self.cluster.alive:
            if server.running.is_leader:
                self.count += 1
                data = f"{server.server.id} {self.count}".encode()
                done = server.running.propose(data)
                done.addCallbacks(
                    lambda _, data=data: self.acknowledged.append(data),
                    lambda _: None,
                )
        self.cluster.clock.callLater(0.02 * self.rng.random(), self.write)

    def break_something(self) -> None:
        network, rng = self.cluster.network, self.rng
        fault = rng.randrange(8)
        if fault == 0:
            network.heal()
        elif fault == 1:
            victim = rng.choice(self.cluster.servers)
            network.partition([victim.server.address])
        elif fault == 2:
            half = rng.sample(self.cluster.servers, len(self.cluster.servers) // 2 + 1)
            network.partition([server.server.address for server in half])
        elif fault == 3:
            self.crash(rng.choice(self.cluster.servers))
        elif fault == 4:
            network.weather.loss = rng.choice([0.0, 0.02, 0.2])
        elif fault == 5:
            network.weather.delay_max_s = rng.choice([0.005, 0.05, 0.3])
        else:
            self.cut_power()
        for server in self.cluster.servers:
            if server.node is None and rng.random() < 0.5:
                self.cluster.start(server)

    def cut_power(self) -> None:
        """All servers lose what is not durable, and come back."""
        for server in self.cluster.servers:
            self.crash(server)
        for server in self.cluster.servers:
            self.cluster.start(server)

    def crash(self, server: SimServer) -> None:
        if server.node is not None:
            self.cluster.crash(server)

    def calm(self) -> None:
        self.is_over = True
        self.cluster.network.heal()
        self.cluster.network.weather.loss = 0.0
        self.cluster.network.weather.delay_max_s = 0.005
        for server in self.cluster.servers:
            if server.node is None:
                self.cluster.start(server)


def run(seed: int, size: int, settings: RaftSettings, rounds: int) -> RaftCluster:
    cluster = RaftCluster(seed, size, settings, fsync_max_s=(0.004, 0.1)[seed % 2])
    cluster.bootstrap()
    chaos = Chaos(cluster)
    chaos.write()
    for _ in range(rounds):
        cluster.run(0.2 + 2 * chaos.rng.random())
        chaos.break_something()
    chaos.calm()
    cluster.commit(b"the end")
    cluster.settle()
    cluster.checker.check_end(cluster, chaos.acknowledged)
    assert chaos.acknowledged
    return cluster


@pytest.mark.parametrize("seed", range(SEEDS))
def test_three_servers_keep_every_promise_under_faults(seed: int) -> None:
    """Loss, delay, partitions and crashes never break safety; calm brings progress."""
    run(seed, 3, BUSY, 12)


@pytest.mark.parametrize("seed", range(1000, 1000 + SEEDS // 3))
def test_five_servers_keep_every_promise_under_faults(seed: int) -> None:
    """The same with five servers."""
    run(seed, 5, BUSY, 12)


def test_a_seed_gives_the_same_run_again() -> None:
    """Nothing but the seed decides what happens."""
    first, second = (run(7, 3, BUSY, 6) for _ in range(2))
    assert first.checker.events == second.checker.events
    assert first.checker.commands == second.checker.commands
    assert first.checker.leaders == second.checker.leaders
