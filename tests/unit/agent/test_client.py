"""An agent in client mode asks servers that it knows from the pool."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from consultwist.agent.client import ClientDelegate
from consultwist.errors import (
    CallInterrupted,
    NoLeader,
    NoServers,
    RPCError,
    RPCRateExceeded,
    ServerUnreachable,
)
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.host import Host
from consultwist.interfaces import IClusterDelegate
from consultwist.rpc.replies import reply_type
from consultwist.structs.kv import KeyRequest, KVSRequest
from consultwist.structs.snapshot import SAVE, SnapshotRequest
from consultwist.testing.clock import SimClock
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from consultwist.wire import msgpack

HOLD_S = 7.0
READ = KeyRequest(datacenter="dc1", key="a")
WRITE = KVSRequest(datacenter="dc1", op="set")


def server(number, datacenter="dc1", status=MemberStatus.ALIVE):
    """Return a server as the pool knows it."""
    tags = {"role": "consul", "dc": datacenter, "port": "8300", "vsn": "2"}
    return PoolMember(
        name=f"s{number}",
        ip=bytes([10, 0, 0, number]),
        tags=tags | {"build": "1.8.7:", "id": f"id-{number}"},
        status=int(status),
    )


class World:
    """A delegate whose pool and connections are a test's."""

    def __init__(self, *members, **config):
        self.clock = SimClock()
        self.pool_members = list(members)
        self.watchers: list[Any] = []
        self.asked: list[tuple[str, str]] = []
        self.answers: list[Any] = []
        self.transfers: list[str] = []
        self.closed = False
        self.reconfigured: list[Any] = []
        given = {
            "datacenter": "dc1",
            "rpc_hold_timeout": HOLD_S,
            "rpc_rate_limit": float("inf"),
            "rpc_max_burst": 1000,
            "default_query_time": 300.0,
            "max_query_time": 600.0,
        }
        fakes: Any = self
        settings: Any = SimpleNamespace(**(given | config))
        self.delegate = ClientDelegate(
            Host(self.clock, self.clock, random.Random(1)),
            settings,
            members=fakes,
            pool=SimpleNamespace(call=self.call, close=self.close),  # type: ignore[arg-type]  # what is used of it
            snapshots=SimpleNamespace(call=self.transfer),  # type: ignore[arg-type]  # the same
            security=SimpleNamespace(reconfigure=self.reconfigured.append),  # type: ignore[arg-type]  # the same
            replies={"KVS.Get": reply_type(str), "KVS.Apply": reply_type(bool)},
        )
        self.delegate.startService()

    def members(self):
        return self.pool_members

    def count(self):
        return len(self.pool_members)

    def on_change(self, callback):
        self.watchers.append(callback)
        return lambda: self.watchers.remove(callback)

    def change(self, *members):
        self.pool_members = list(members)
        for watcher in self.watchers:
            watcher()

    def call(self, address, datacenter, method, body, timeout_s):
        self.asked.append((address, method))
        self.timeout_s = timeout_s
        answer = self.answers.pop(0)
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    async def transfer(self, address, datacenter, request, archive=None):
        self.transfers.append(address)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


def test_the_interface_is_provided():
    """As every delegate has to."""
    delegate = World().delegate
    verifyObject(IClusterDelegate, delegate)
    assert not delegate.is_server
    assert delegate.read_version() == -1


def test_a_server_answers():
    """The reply is a record, or a value of the type that the method has."""
    world = World(server(1))
    world.answers = [b"text", True]
    assert result_of(world.delegate.rpc("KVS.Get", READ)) == "text"
    assert result_of(world.delegate.rpc("KVS.Apply", WRITE)) is True
    assert world.asked == [("10.0.0.1:8300", "KVS.Get"), ("10.0.0.1:8300", "KVS.Apply")]


def test_without_servers_nothing_can_be_asked():
    """Servers of other datacenters, and the dead, do not count."""
    world = World(server(1, "dc2"), server(2, status=MemberStatus.FAILED))
    with pytest.raises(NoServers):
        world.delegate.rpc("KVS.Get", READ)
    assert world.delegate.stats()["consul"]["known_servers"] == "0"
    world.change(server(3))
    world.answers = [b"x"]
    assert result_of(world.delegate.rpc("KVS.Get", READ)) == "x"


def test_unknown_methods_are_refused_here():
    """Nobody would know what their replies are."""
    with pytest.raises(RPCError, match="can't find method"):
        World(server(1)).delegate.rpc("KVS.Shout", READ)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (READ, NoLeader("rpc error making call: No cluster leader")),
        (WRITE, ServerUnreachable("refused")),
        (READ, CallInterrupted("rpc error making call: EOF")),
    ],
)
def test_the_next_server_is_asked_where_nothing_can_have_changed(request_, error):
    """After a pause of at most a sixteenth of the hold time."""
    world = World(server(1), server(2))
    world.answers = [error, True if request_ is WRITE else b"x"]
    method = "KVS.Apply" if request_ is WRITE else "KVS.Get"
    waiting = world.delegate.rpc(method, request_)
    no_result_of(waiting)
    world.clock.advance(HOLD_S / 16)
    assert result_of(waiting)
    assert len({address for address, _ in world.asked}) == 2


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (WRITE, CallInterrupted("rpc error making call: EOF")),
        (READ, RPCError("rpc error making call: no such key")),
    ],
)
def test_other_errors_are_the_answer_and_move_the_server_back(request_, error):
    """Errors of the application too, as Consul's do."""
    world = World(server(1), server(2))
    first = world.delegate.servers.first()
    world.answers = [error]
    method = "KVS.Apply" if request_ is WRITE else "KVS.Get"
    assert failure_of(world.delegate.rpc(method, request_), type(error)) is error
    assert world.delegate.servers.all()[-1] == first


def test_an_outage_is_waited_for_as_long_as_the_hold_time():
    """Then the last error is the answer."""
    world = World(server(1))
    world.answers = [NoLeader() for _ in range(1000)]
    waiting = world.delegate.rpc("KVS.Get", READ)
    world.clock.advance(HOLD_S - 0.5)
    no_result_of(waiting)
    world.clock.advance(1.5)
    failure_of(waiting, NoLeader)


def test_a_request_that_nobody_waits_for_is_not_tried_again():
    """Cancelling reaches the call that is under way, and the server keeps its place."""
    world = World(server(1), server(2))
    before = world.delegate.servers.all()
    under_way: Deferred[Any] = Deferred()
    world.answers = [under_way]
    waiting = world.delegate.rpc("KVS.Get", READ)
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert under_way.called
    assert world.delegate.servers.all() == before
    assert len(world.asked) == 1


def test_an_agent_that_asks_too_often_is_held_back():
    """By its own limits, which a reload can change."""
    world = World(server(1), rpc_rate_limit=1.0, rpc_max_burst=1)
    world.answers = [b"x", b"y"]
    result_of(world.delegate.rpc("KVS.Get", READ))
    with pytest.raises(RPCRateExceeded):
        world.delegate.rpc("KVS.Get", READ)
    fresh: Any = SimpleNamespace(rpc_rate_limit=float("inf"), rpc_max_burst=1)
    world.delegate.reconfigure(fresh)
    assert world.reconfigured == [fresh]
    assert result_of(world.delegate.rpc("KVS.Get", READ)) == "y"


@pytest.mark.parametrize(("wait_s", "timeout_s"), [(0, 379), (30, 92), (9999, 698)])
def test_long_polls_are_given_their_time(wait_s, timeout_s):
    """What servers wait at most, a sixteenth for their jitter, and a minute."""
    world = World(server(1))
    world.answers = [b"x"]
    wanted = KeyRequest(
        datacenter="dc1", min_query_index=1, max_query_time=wait_s * 1_000_000_000
    )
    result_of(world.delegate.rpc("KVS.Get", wanted))
    assert world.timeout_s == timeout_s


def test_the_order_is_shuffled_when_a_server_answers_a_ping():
    """From time to time; those that do not answer come last."""
    world = World(*(server(n) for n in range(1, 6)))
    world.answers = [ServerUnreachable(), msgpack.unpack(b"\x80")]
    world.clock.advance(180)
    assert [method for _, method in world.asked] == ["Status.Ping", "Status.Ping"]
    order = [each.address for each in world.delegate.servers.all()]
    (silent, _), (answering, _) = world.asked
    assert (order[0], order[-1]) == (answering, silent)


def test_snapshots_are_taken_by_a_server():
    """The next one is asked first after an error."""
    world = World(server(1), server(2))
    request = SnapshotRequest(datacenter="dc1", op=SAVE)
    world.answers = [ServerUnreachable(), "saved"]
    failure_of(world.delegate.save_snapshot(request), ServerUnreachable)
    saved: Any = result_of(world.delegate.save_snapshot(request))
    assert saved == "saved"
    assert len(set(world.transfers)) == 2
    world.change()
    failure_of(world.delegate.save_snapshot(request), NoServers)


def test_a_stopped_client_leaves_nothing_behind():
    """No timer, no watcher, no connection."""
    world = World(server(1))
    world.delegate.stopService()
    assert world.closed
    assert world.watchers == []
    assert world.clock.getDelayedCalls() == []
    result_of(world.delegate.leave())
    result_of(world.delegate.drain())
