"""A request is run here, waits for a leader, or has nowhere to go."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from consultwist.errors import BadRequest, NoLeader, NoPathToDatacenter
from consultwist.server.forwarding import Forwarder
from consultwist.structs.kv import KeyRequest, KVSRequest
from consultwist.structs.status import PingRequest
from consultwist.testing.deferred import failure_of, no_result_of, result_of

HOLD_S = 7.0


class Leader:
    """Who leads, as a test wants it."""

    def __init__(self, *, here=True, known=True):
        self.here = here
        self.known = known

    def is_leader(self):
        return self.here

    def knows_leader(self):
        return self.known


class World:
    """A forwarder, and what was run here."""

    def __init__(self, **leader):
        self.reactor = Clock()
        self.leader = Leader(**leader)
        self.run_here = []
        self.outcome: Any = "done"
        self.forwarder = Forwarder(
            self.reactor,
            random.Random(1),
            self.leader,
            datacenter="dc1",
            hold_timeout_s=HOLD_S,
        )

    def ask(self, request, *, local=False):
        method: Any = SimpleNamespace(local=local)
        return self.forwarder.run(method, request, self._here)

    def _here(self, method, request):
        self.run_here.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


READ = KeyRequest(datacenter="dc1", key="a")
WRITE = KVSRequest(datacenter="dc1", op="set")


@pytest.mark.parametrize("request_", [READ, WRITE])
def test_the_leader_runs_everything_itself(request_):
    """At once, without a Deferred."""
    world = World()
    assert world.ask(request_) == "done"
    assert world.reactor.getDelayedCalls() == []


def test_stale_reads_are_answered_by_anybody_who_knows_a_leader():
    """Without one, they wait as the others do."""
    stale = KeyRequest(datacenter="dc1", key="a", allow_stale=True)
    assert World(here=False, known=True).ask(stale) == "done"
    no_result_of(World(here=False, known=False).ask(stale))


def test_local_methods_are_answered_by_anybody():
    """Also without a leader; they need not name a datacenter."""
    world = World(here=False, known=False)
    assert world.ask(PingRequest(), local=True) == "done"
    assert world.ask(KeyRequest(datacenter=""), local=True) == "done"
    with pytest.raises(NoPathToDatacenter):
        world.ask(KeyRequest(datacenter="dc9"), local=True)


@pytest.mark.parametrize("datacenter", ["dc2", ""])
def test_an_unknown_datacenter_is_refused(datacenter):
    """An empty name is none."""
    with pytest.raises(NoPathToDatacenter):
        World().ask(KeyRequest(datacenter=datacenter, key="a"))


def test_a_request_waits_through_an_election():
    """It is run as soon as this server leads, soon after it began to."""
    world = World(here=False, known=False)
    waiting = world.ask(WRITE)
    world.reactor.pump([0.1] * 20)
    no_result_of(waiting)
    world.leader.here = True
    world.reactor.pump([0.1] * 5)
    assert result_of(waiting) == "done"
    assert world.run_here == [WRITE]
    assert world.reactor.getDelayedCalls() == []


def _held(outcome):
    world = World(here=False)
    world.outcome = outcome
    waiting = world.ask(WRITE)
    world.leader.here = True
    world.reactor.advance(HOLD_S)
    return waiting


def test_whatever_comes_of_a_held_request_is_its_answer():
    """A Deferred's result or an error, as well as a value."""
    assert result_of(_held(succeed("later"))) == "later"
    refusal = BadRequest("no")
    assert failure_of(_held(refusal), BadRequest) is refusal


def test_without_a_leader_the_request_fails_after_the_hold_time():
    """And not much later."""
    world = World(here=False, known=False)
    waiting = world.ask(WRITE)
    world.reactor.pump([0.005] * int((HOLD_S - 0.5) / 0.005))
    no_result_of(waiting)
    world.reactor.pump([0.005] * 200)
    failure_of(waiting, NoLeader)
    assert world.reactor.getDelayedCalls() == []


def test_a_client_that_goes_away_is_not_waited_for():
    """The timer goes, nothing is run."""
    world = World(here=False)
    waiting = world.ask(WRITE)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    world.leader.here = True
    assert world.reactor.getDelayedCalls() == []
    assert world.run_here == []
