"""Sessions begin and end with all that hangs on them."""

import pytest
from zope.interface import implementer

from consultwist.api.catalog.changes import delete_check, delete_node, ensure_check
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVS, TOMBSTONES, KVTable
from consultwist.api.session.table import (
    SESSION_CHECKS,
    SESSIONS,
    SessionTable,
    drop_session,
)
from consultwist.errors import ConsultwistError
from consultwist.interfaces import IStateTable
from consultwist.state.lock_delay import LockReleased
from consultwist.state.table import Schema
from consultwist.structs.catalog import HealthCheck, RegisterRequest
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import ServiceCheck, Session, SessionRequest
from consultwist.testing.state import Replica
from consultwist.wire.struct import Struct

ONE = "11111111-aaaa-4111-8111-111111111111"
TWO = "22222222-aaaa-4222-8222-222222222222"
QUERIES = "prepared-queries"


class BoundQuery(Struct):
    """A prepared query that goes with a session."""

    id: str = ""
    session: str = ""


@implementer(IStateTable)
class Queries:
    """A table of prepared queries, as far as sessions look at it."""

    name = "queries"
    schemas = (
        Schema(
            name=QUERIES,
            key=lambda query: query.id,
            indexes={"session": lambda query: query.session.replace("-", "")},
        ),
    )

    def commands(self):
        return {}

    def persist(self, store):
        return iter(())

    def restorers(self):
        return {}


class World:
    """A node with two checks, sessions on it, keys that they lock."""

    def __init__(self):
        tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable(), Queries()
        self.replica = Replica(*tables)
        self.notes: list[object] = []
        self.replica.store.subscribe(self.notes.append)
        self.register("Node-1", "serfHealth", "passing")
        self.register("Node-1", "web-check", "warning")

    def register(self, node, check_id, status):
        check = HealthCheck(node=node, check_id=check_id, status=status)
        request = RegisterRequest(node=node, address="10.0.0.1", check=check)
        self.replica.apply(MessageType.REGISTER, request)

    def create(self, session_id=ONE, node="node-1", **fields):
        session = Session(id=session_id, node=node, **fields)
        request = SessionRequest(op="create", session=session)
        return self.replica.apply(MessageType.SESSION, request)

    def destroy(self, session_id=ONE):
        request = SessionRequest(op="destroy", session=Session(id=session_id))
        return self.replica.apply(MessageType.SESSION, request)

    def lock(self, key, session_id=ONE):
        entry = DirEntry(key=key, value=b"1", session=session_id)
        request = KVSRequest(op="lock", dir_ent=entry)
        assert self.replica.apply(MessageType.KVS, request) is True

    def sessions(self):
        return [session.id for session in self.replica.rows(SESSIONS)]

    def key(self, name):
        return self.replica.store.table(KVS).get(name)


@pytest.fixture
def world():
    return World()


def test_a_new_session_has_the_indexes_of_its_entry(world):
    """The result is its id; an empty behavior means release."""
    assert world.create(lock_delay=5, name="n") == ONE
    (session,) = world.replica.rows(SESSIONS)
    index = world.replica.index
    assert (session.create_index, session.modify_index) == (index, index)
    assert session.behavior == "release"
    assert world.replica.store.index(SESSIONS) == index


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"session_id": ""}, "Missing session ID"),
        ({"behavior": "explode"}, "Invalid session behavior: explode"),
        ({"node": "nobody"}, "Missing node registration"),
        ({"checks": ["none"]}, "Missing check 'none' registration"),
        ({"node_checks": ["none"]}, "Missing check 'none' registration"),
        (
            {"service_checks": [ServiceCheck(id="none")]},
            "Missing check 'none' registration",
        ),
    ],
)
def test_what_a_session_names_must_exist(world, fields, text):
    """Nothing is stored, and no index moves."""
    with pytest.raises(ConsultwistError, match=f"^{text}$"):
        world.create(**fields)
    assert world.sessions() == []
    assert world.replica.store.index(SESSIONS) == 0
    assert world.replica.rows(SESSION_CHECKS) == []


def test_a_critical_check_refuses_a_session(world):
    """A warning is good enough."""
    world.create(node_checks=["web-check"])
    world.register("Node-1", "web-check", "critical")
    with pytest.raises(ConsultwistError, match="Check 'web-check' is in critical"):
        world.create(TWO, node_checks=["web-check"])


def test_an_unknown_operation_is_refused(world):
    """Sessions are created and destroyed, nothing else."""
    with pytest.raises(ConsultwistError, match="Invalid Session operation 'renew'"):
        world.replica.apply(MessageType.SESSION, SessionRequest(op="renew"))


def test_the_end_of_a_session_releases_its_keys(world):
    """The lock index stays, the modify index moves, other sessions' keys do not."""
    world.create()
    world.create(TWO)
    world.lock("a")
    world.lock("b", TWO)
    before = world.key("b")
    world.destroy()
    released = world.key("a")
    assert (released.session, released.lock_index) == ("", 1)
    assert released.modify_index == world.replica.index
    assert world.key("b") is before
    assert world.sessions() == [TWO]
    assert world.replica.store.index(SESSIONS, KVS) == world.replica.index


def test_the_end_of_a_session_deletes_its_keys_where_it_says_so(world):
    """As a delete would: with a tombstone for each."""
    world.create(behavior="delete")
    world.lock("a")
    world.lock("b")
    world.destroy()
    assert world.key("a") is None
    assert [row.key for row in world.replica.rows(TOMBSTONES)] == ["a", "b"]


@pytest.mark.parametrize("behavior", ["release", "delete"])
def test_each_key_is_noted_with_the_lock_delay(world, behavior):
    """The server that applies the end must refuse locks for a while."""
    world.create(lock_delay=15, behavior=behavior)
    world.lock("a")
    world.lock("b")
    world.notes.clear()
    world.destroy()
    released = [note for note in world.notes if isinstance(note, LockReleased)]
    assert released == [LockReleased("a", 15), LockReleased("b", 15)]


def test_destroying_what_is_not_there_changes_nothing(world):
    """No index moves; an id that is none is an error."""
    world.create()
    before = world.replica.store.index(SESSIONS)
    assert world.destroy(TWO) is None
    assert world.replica.store.index(SESSIONS) == before
    with pytest.raises(ConsultwistError, match=r"^failed session lookup: index error"):
        world.destroy("not-a-uuid")


def test_session_ids_compare_by_value(world):
    """Capitals mean the same session."""
    world.create()
    world.destroy(ONE.upper())
    assert world.sessions() == []


def test_a_critical_check_ends_the_sessions_that_name_it(world):
    """In any of the three fields, without regard to case, and no others."""
    world.create(checks=["WEB-CHECK"])
    world.create(TWO, node_checks=["serfHealth"])
    three = "33333333-aaaa-4333-8333-333333333333"
    world.create(three, service_checks=[ServiceCheck(id="web-check")])
    world.lock("a")
    world.register("NODE-1", "web-check", "passing")
    assert len(world.sessions()) == 3
    world.register("NODE-1", "web-check", "critical")
    assert world.sessions() == [TWO]
    assert world.key("a").session == ""
    assert len(world.replica.rows(SESSION_CHECKS)) == 1


def test_a_session_that_names_a_check_twice_ends_once(world):
    """Its keys are noted once."""
    world.create(checks=["web-check"], node_checks=["web-check"])
    world.lock("a")
    world.notes.clear()
    world.register("Node-1", "web-check", "critical")
    assert world.sessions() == []
    assert [type(note) for note in world.notes] == [LockReleased]


def test_a_check_that_goes_takes_its_sessions_along(world):
    """Removing is as bad as failing."""
    world.create(checks=["web-check"])
    world.replica.change(delete_check, "node-1", "web-check")
    assert world.sessions() == []


def test_a_node_that_goes_takes_its_sessions_along(world):
    """Also those without checks; other nodes keep theirs."""
    world.register("other", "serfHealth", "passing")
    world.create()
    world.create(TWO, node="other")
    world.replica.change(delete_node, "NODE-1")
    assert world.sessions() == [TWO]


def test_prepared_queries_go_with_their_session(world):
    """Those that are bound to it, and their row moves."""
    world.create()
    world.create(TWO)
    for query in (BoundQuery(id="q1", session=ONE), BoundQuery(id="q2", session=TWO)):
        world.replica.change(lambda txn, q: txn.put(QUERIES, q), query)
    world.destroy()
    assert [query.id for query in world.replica.rows(QUERIES)] == ["q2"]
    assert world.replica.store.index(QUERIES) == world.replica.index


def test_a_dropped_session_leaves_its_locks_and_links(world):
    """That is how transactions of Consul 1.8.7 delete sessions."""
    world.create(checks=["web-check"])
    world.lock("a")
    world.replica.change(drop_session, ONE)
    assert world.sessions() == []
    assert world.key("a").session == ONE
    assert len(world.replica.rows(SESSION_CHECKS)) == 1
    before = world.replica.index_rows()[SESSIONS]
    critical = HealthCheck(node="Node-1", check_id="web-check", status="critical")
    world.replica.change(ensure_check, critical)
    assert world.replica.index_rows()[SESSIONS] == before


def test_a_snapshot_brings_back_sessions_and_their_links(world):
    """A check that fails after the restore still ends the session."""
    world.create(checks=["web-check"], ttl="10s", lock_delay=7, behavior="delete")
    world.lock("a")
    fresh = World()
    fresh.replica.restore(world.replica.snapshot())
    assert fresh.replica.rows(SESSIONS) == world.replica.rows(SESSIONS)
    assert fresh.replica.rows(SESSION_CHECKS) == world.replica.rows(SESSION_CHECKS)
    assert fresh.replica.index_rows() == world.replica.index_rows()
    fresh.replica.index = world.replica.index
    fresh.register("Node-1", "web-check", "critical")
    assert fresh.sessions() == []
    assert fresh.key("a") is None
