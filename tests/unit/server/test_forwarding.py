"""A request is run here, by the leader, or in another datacenter; or it waits."""

import random

import pytest
from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock

from consultwist.acl.authorizer import PUBLIC
from consultwist.errors import (
    BadRequest,
    CallInterrupted,
    DatacenterUnavailable,
    NoLeader,
    NoPathToDatacenter,
    RPCError,
    ServerUnreachable,
)
from consultwist.gossip.consul import parse_server
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.rpc.dispatch import Method
from consultwist.rpc.replies import reply_type
from consultwist.server.forwarding import Forwarder
from consultwist.server.wan import WANRoutes
from consultwist.structs.kv import KeyRequest, KVSRequest
from consultwist.structs.status import PingRequest
from consultwist.testing.deferred import failure_of, no_result_of, result_of

HOLD_S = 7.0
LEADER = "10.0.0.9:8300"


class Leader:
    """Who leads, as a test wants it."""

    def __init__(self, *, here=True, known=True):
        self.here = here
        self.known = known

    def is_leader(self):
        return self.here

    def knows_leader(self):
        return self.known

    def leader_address(self):
        return LEADER if self.known else ""


def wan_server(name, datacenter, ip, *, alive=True):
    """Return a server as the WAN pool knows it."""
    tags = {"role": "consul", "dc": datacenter, "port": "8300", "vsn": "2"}
    status = MemberStatus.ALIVE if alive else MemberStatus.FAILED
    return PoolMember(
        name=f"{name}.{datacenter}",
        ip=bytes(ip),
        tags=tags | {"build": "1.8.7:", "id": name},
        status=int(status),
    )


class WAN:
    """A WAN pool, as a test wants it."""

    def __init__(self, *members):
        self.members = list(members)
        self.positions = {}

    def wan_members(self):
        return self.members

    def wan_position(self, name):
        return self.positions.get(name)


class World:
    """A forwarder, what was run here, and what was asked of others."""

    def __init__(self, *wan, **leader):
        self.reactor = Clock()
        self.leader = Leader(**leader)
        self.run_here = []
        self.outcome: object = "done"
        self.asked = []
        self.answers = []
        self.wan = WAN(*wan)
        self.routes = WANRoutes(self.wan, random.Random(1), "dc1", "here.dc1")
        self.forwarder = Forwarder(
            self.reactor,
            random.Random(1),
            self.leader,
            remote=self,
            routes=self.routes,
            datacenter="dc1",
            hold_timeout_s=HOLD_S,
        )

    def call(self, address, datacenter, method, reply, request):
        self.asked.append((address, datacenter, method, request))
        answer = self.answers.pop(0)
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def ask(self, request, *, local=False):
        method = Method(
            name="Some.Method",
            request=type(request),
            acl=PUBLIC,
            reply=reply_type(str),
            run=lambda *_: None,
            local=local,
        )
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


def test_followers_have_the_leader_answer():
    """Reads and writes; nothing is run here."""
    world = World(here=False)
    world.answers = ["there", "there, too"]
    assert result_of(world.ask(READ)) == "there"
    assert result_of(world.ask(WRITE)) == "there, too"
    assert world.asked == [
        (LEADER, "dc1", "Some.Method", READ),
        (LEADER, "dc1", "Some.Method", WRITE),
    ]
    assert world.run_here == []


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (READ, NoLeader("rpc error making call: No cluster leader")),
        (WRITE, NoLeader("rpc error making call: No cluster leader")),
        (READ, CallInterrupted("rpc error making call: EOF")),
        (WRITE, ServerUnreachable("connection refused")),
    ],
)
def test_what_cannot_have_changed_anything_is_tried_again(request_, error):
    """After a while, with whoever leads then."""
    world = World(here=False)
    world.answers = [error, "there"]
    waiting = world.ask(request_)
    no_result_of(waiting)
    world.reactor.advance(HOLD_S / 16)
    assert result_of(waiting) == "there"
    assert len(world.asked) == 2


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (WRITE, CallInterrupted("rpc error making call: EOF")),
        (READ, RPCError("rpc error making call: no such thing")),
    ],
)
def test_all_other_errors_are_the_answer(request_, error):
    """A write that was cut off may have been done."""
    world = World(here=False)
    world.answers = [error]
    assert failure_of(world.ask(request_), type(error)) is error
    assert world.reactor.getDelayedCalls() == []


def test_a_leader_that_stays_away_is_given_up():
    """The last error is the answer, soon after the hold time."""
    world = World(here=False)
    world.answers = [ServerUnreachable("refused") for _ in range(1000)]
    waiting = world.ask(READ)
    world.reactor.pump([0.05] * int((HOLD_S - 0.5) / 0.05))
    no_result_of(waiting)
    world.reactor.pump([0.05] * 30)
    failure_of(waiting, ServerUnreachable)


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


def test_another_datacenter_answers_what_is_asked_of_it():
    """By one of its servers; one that failed is asked last from then on."""
    world = World(
        wan_server("a", "dc2", [10, 2, 0, 1]), wan_server("b", "dc2", [10, 2, 0, 2])
    )
    wanted = KeyRequest(datacenter="dc2", key="a")
    world.answers = [ServerUnreachable("refused"), "far"]
    failure_of(world.ask(wanted), ServerUnreachable)
    assert result_of(world.ask(wanted)) == "far"
    first, second = world.asked
    assert {first[0], second[0]} == {"10.2.0.1:8300", "10.2.0.2:8300"}
    assert first[1:] == second[1:] == ("dc2", "Some.Method", wanted)


def test_a_datacenter_without_living_servers_cannot_be_asked():
    """Which is another thing than one that was never heard of."""
    world = World(wan_server("a", "dc2", [10, 2, 0, 1], alive=False))
    with pytest.raises(DatacenterUnavailable):
        world.ask(KeyRequest(datacenter="dc2", key="a"))


def test_a_server_of_another_datacenter_is_known_by_its_tags():
    """The address is the member's, with the port of its RPC."""
    server = parse_server(wan_server("a", "dc2", [10, 2, 0, 1]))
    assert server is not None
    assert (server.address, server.datacenter) == ("10.2.0.1:8300", "dc2")


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
    world = World(here=False, known=False)
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
    world = World(here=False, known=False)
    waiting = world.ask(WRITE)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    world.leader.here = True
    assert world.reactor.getDelayedCalls() == []
    assert world.run_here == []
