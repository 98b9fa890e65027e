"""RPC methods of sessions: what they refuse, fill in and start."""

import re

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.rpc import KVS
from consultwist.api.kv.table import KVTable
from consultwist.api.session.leader import SessionExpiry
from consultwist.api.session.rpc import Sessions
from consultwist.api.session.table import SESSIONS, SessionTable
from consultwist.durations import SECOND
from consultwist.errors import ConsultwistError, PermissionDenied
from consultwist.structs.catalog import NodeSpecificRequest, RegisterRequest
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import (
    IndexedSessions,
    Session,
    SessionRequest,
    SessionSpecificRequest,
)
from consultwist.testing.state import DATACENTER, LocalServer, Replica

UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
UNKNOWN = "99999999-aaaa-4999-8999-999999999999"


class World:
    """A server with one node."""

    def __init__(self):
        tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
        self.replica = Replica(*tables)
        self.server = LocalServer(self.replica, Sessions(), KVS())
        register = RegisterRequest(node="n1", address="10.0.0.1")
        self.replica.apply(MessageType.REGISTER, register)

    def ask(self, operation, **fields):
        fields.setdefault("node", "n1")
        request = SessionRequest(
            datacenter=DATACENTER, op=operation, session=Session(**fields)
        )
        return self.server.rpc("Session.Apply", request)

    def create(self, **fields):
        return self.ask("create", **fields)

    def read(self, method, **fields):
        request = SessionSpecificRequest(datacenter=DATACENTER, **fields)
        return self.server.rpc(f"Session.{method}", request)

    def ids(self):
        return [session.id for session in self.replica.rows(SESSIONS)]

    def lock(self, key, session_id):
        entry = DirEntry(key=key, session=session_id)
        request = KVSRequest(datacenter=DATACENTER, op="lock", dir_ent=entry)
        return self.server.rpc("KVS.Apply", request)


@pytest.fixture
def world():
    return World()


class Nobody:
    """An authorizer that allows nothing."""

    def allows(self, resource, access, name):
        return False


def test_the_endpoint_chooses_the_id(world):
    """Whatever the client wants; the id is in the log, so replicas agree."""
    created = world.create(id=UNKNOWN)
    assert UUID.fullmatch(created)
    assert created != UNKNOWN
    assert world.ids() == [created]
    _, command = world.server.commands[-1]
    assert command.session.id == created
    assert command.session.behavior == "release"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"node": ""}, "Must provide Node"),
        ({"behavior": "bogus"}, "Invalid Behavior setting 'bogus'"),
        (
            {"ttl": "9.999s"},
            "Invalid Session TTL '9999000000', must be between [10s=24h0m0s]",
        ),
        (
            {"ttl": "24h1ns"},
            "Invalid Session TTL '86400000000001', must be between [10s=24h0m0s]",
        ),
        (
            {"ttl": "-10s"},
            "Invalid Session TTL '-10000000000', must be between [10s=24h0m0s]",
        ),
        ({"ttl": "x"}, "Session TTL 'x' invalid: time: invalid duration \"x\""),
    ],
)
def test_what_is_wrong_is_refused_before_it_is_logged(world, fields, text):
    """The texts are Consul's."""
    with pytest.raises(ConsultwistError, match=f"^{re.escape(text)}$"):
        world.create(**fields)
    assert world.server.commands == []


@pytest.mark.parametrize("ttl", ["", "0s", "10s", "24h"])
def test_times_to_live_within_the_limits_are_taken(world, ttl):
    """None at all, none as a duration, and both ends."""
    assert world.create(ttl=ttl) in world.ids()


def test_the_shortest_ttl_is_configured(world):
    """``session_ttl_min``; where it is not set, ten seconds."""
    world.server.config.session_ttl_min = 0.0
    with pytest.raises(ConsultwistError, match="between"):
        world.create(ttl="9s")
    world.server.config.session_ttl_min = 1.0
    assert world.create(ttl="1s")


def test_a_missing_node_is_found_when_the_command_is_applied(world):
    """The error comes from the state machine."""
    with pytest.raises(ConsultwistError, match=r"^Missing node registration$"):
        world.create(node="nobody")


def test_destroying_answers_nothing_and_needs_an_id(world):
    """Also where there is no such session, which is not logged."""
    created = world.create()
    assert world.ask("destroy", id=created) == ""
    count = len(world.server.commands)
    assert world.ask("destroy", id=created) == ""
    assert len(world.server.commands) == count
    with pytest.raises(ConsultwistError, match=r"^Must provide ID$"):
        world.ask("destroy")
    with pytest.raises(ConsultwistError, match="UUID must be 36 characters"):
        world.ask("destroy", id="x")


def test_an_unknown_operation_is_refused(world):
    """Before it is logged."""
    with pytest.raises(ConsultwistError, match='Invalid session operation "pause"'):
        world.ask("pause")


def test_reads_give_one_all_or_those_of_a_node(world):
    """With the index of the table; lists are ordered by id."""
    ids = sorted(world.create() for _ in range(3))
    index = world.replica.index
    one = world.read("Get", session_id=ids[1])
    assert ([s.id for s in one.sessions], one.index) == ([ids[1]], index)
    assert [s.id for s in world.read("Get", session=ids[2]).sessions] == [ids[2]]
    assert world.read("Get", session_id=UNKNOWN).sessions is None
    assert [s.id for s in world.read("List").sessions] == ids
    request = NodeSpecificRequest(datacenter=DATACENTER, node="N1")
    of_node = world.server.rpc("Session.NodeSessions", request)
    assert [s.id for s in of_node.sessions] == ids
    with pytest.raises(ConsultwistError, match="UUID must be 36 characters"):
        world.read("Get", session_id="x")


def test_a_blocked_read_wakes_when_the_session_ends(world):
    """The answer is empty then."""
    created = world.create()
    waiting = world.read("Get", session_id=created, min_query_index=world.replica.index)
    found: list[IndexedSessions] = []
    waiting.addCallback(found.append)
    world.ask("destroy", id=created)
    assert found[0].sessions is None
    assert found[0].index == world.replica.index


def test_renewing_gives_the_session_and_nothing_for_none(world):
    """The index is told, the leader is not (as in Consul)."""
    created = world.create(ttl="10s")
    reply = world.read("Renew", session_id=created)
    assert [s.id for s in reply.sessions] == [created]
    assert reply.known_leader is False
    assert world.read("Renew", session_id=UNKNOWN).sessions is None


def test_a_session_ends_after_twice_its_ttl_without_renewal(world):
    """Its keys are released then, and may be locked after the lock delay."""
    stop = SessionExpiry().start(world.server)
    created = world.create(ttl="10s", lock_delay=5 * SECOND)
    other = world.create()
    assert world.lock("a", created) is True
    world.server.reactor.advance(15)
    world.read("Renew", session_id=created)
    world.server.reactor.advance(19.9)
    assert created in world.ids()
    world.server.reactor.advance(0.2)
    assert world.ids() == [other]
    assert world.lock("a", other) is False
    world.server.reactor.advance(5)
    assert world.lock("a", other) is True
    stop()


def test_a_new_leader_gives_every_session_its_full_time(world):
    """Deadlines are not replicated."""
    created = world.create(ttl="10s")
    world.server.reactor.advance(100)
    stop = SessionExpiry().start(world.server)
    world.server.reactor.advance(19.9)
    assert world.ids() == [created]
    world.server.reactor.advance(0.2)
    assert world.ids() == []
    stop()


def test_nothing_ends_while_nobody_leads(world):
    """After the routine was stopped no timer is left."""
    stop = SessionExpiry().start(world.server)
    created = world.create(ttl="10s")
    stop()
    world.server.reactor.advance(100)
    assert world.ids() == [created]
    assert world.server.reactor.getDelayedCalls() == []


def test_whoever_may_not_write_the_node_may_not_do_anything(world):
    """The node of an existing session is looked up."""
    created = world.create(ttl="10s")
    world.server.authorizer = Nobody()
    with pytest.raises(PermissionDenied):
        world.create()
    with pytest.raises(PermissionDenied):
        world.ask("destroy", id=created)
    with pytest.raises(PermissionDenied):
        world.read("Renew", session_id=created)
