"""Transactions: all operations happen at one index, or none does."""

import json
from pathlib import Path

import pytest

from consultwist.api.catalog.rows import CHECKS, NODES, SERVICES
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVS, TOMBSTONES, KVTable
from consultwist.api.session.table import SESSIONS, SessionTable
from consultwist.api.txn.table import TxnTable
from consultwist.structs.catalog import HealthCheck, Node, NodeService
from consultwist.structs.intention import IntentionRequest
from consultwist.structs.kv import DirEntry
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import Session, SessionRequest
from consultwist.structs.txn import (
    TxnCheckOp,
    TxnKVOp,
    TxnNodeOp,
    TxnOp,
    TxnRequest,
    TxnServiceOp,
    TxnSessionOp,
)
from consultwist.testing.state import Replica

VECTORS = Path(__file__).parents[3] / "vectors" / "fsm"
SESSION = "11111111-aaaa-4111-8111-111111111111"


class World:
    """The state that transactions may change, with a node and a session."""

    def __init__(self):
        tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
        self.replica = Replica(*tables, TxnTable())
        assert not self.run(node("set", node="n1", address="10.0.0.1")).errors
        request = SessionRequest(op="create", session=Session(id=SESSION, node="n1"))
        self.replica.apply(MessageType.SESSION, request)

    def run(self, *operations):
        request = TxnRequest(ops=list(operations))
        return self.replica.apply(MessageType.TXN, request)

    def failures(self, *operations):
        """Return what went wrong, by the number of the operation."""
        before = self.state()
        reply = self.run(*operations)
        assert reply.results is None
        assert self.state() == before
        return {error.op_index: error.what for error in reply.errors}

    def state(self):
        names = (KVS, TOMBSTONES, SESSIONS, NODES, SERVICES, CHECKS)
        rows = {name: self.replica.rows(name) for name in names}
        return rows, self.replica.index_rows()

    def key(self, name):
        return self.replica.store.table(KVS).get(name)


def kv(verb, key, value=None, **fields):
    return TxnOp(
        kv=TxnKVOp(verb=verb, dir_ent=DirEntry(key=key, value=value, **fields))
    )


def node(verb, **fields):
    return TxnOp(node=TxnNodeOp(verb=verb, node=Node(**fields)))


def service(verb, on="n1", **fields):
    operation = TxnServiceOp(verb=verb, node=on, service=NodeService(**fields))
    return TxnOp(service=operation)


def check(verb, **fields):
    fields.setdefault("node", "n1")
    return TxnOp(check=TxnCheckOp(verb=verb, check=HealthCheck(**fields)))


@pytest.fixture
def world():
    return World()


def test_all_changes_have_the_index_of_the_entry(world):
    """Several writes of one key count as one change."""
    reply = world.run(kv("set", "a", b"1"), kv("set", "b", b"2"), kv("set", "a", b"3"))
    index = world.replica.index
    assert [(r.kv.key, r.kv.modify_index) for r in reply.results] == [
        ("a", index),
        ("b", index),
        ("a", index),
    ]
    assert world.key("a").value == b"3"
    assert world.key("a").create_index == world.key("a").modify_index == index


def test_only_reads_give_values_back(world):
    """Writes and checks give the entry without its value, deletes nothing."""
    world.run(kv("set", "t/a", b"1"), kv("set", "t/b", b"2"))
    index = world.key("t/a").modify_index
    reply = world.run(
        kv("get", "t/a"),
        kv("check-index", "t/a", modify_index=index),
        kv("check-session", "t/a"),
        kv("check-not-exists", "t/c"),
        kv("get-tree", "t/"),
        kv("cas", "t/a", b"3", modify_index=index),
        kv("delete", "t/a"),
        kv("delete-cas", "t/none", modify_index=9),
        kv("delete-tree", "t/"),
    )
    shown = [(result.kv.key, result.kv.value) for result in reply.results]
    assert shown == [
        ("t/a", b"1"),
        ("t/a", None),
        ("t/a", None),
        ("t/a", b"1"),
        ("t/b", b"2"),
        ("t/a", None),
    ]
    assert world.replica.rows(KVS) == []


def test_locks_are_taken_and_given_back(world):
    """As single commands do, with false turned into an error."""
    reply = world.run(
        kv("lock", "a", b"1", session=SESSION),
        kv("check-session", "a", session=SESSION),
        kv("unlock", "a", b"2", session=SESSION),
    )
    assert [r.kv.session for r in reply.results] == [SESSION, SESSION, ""]
    assert world.key("a").lock_index == 1


def test_every_failure_is_told_and_everything_undone(world):
    """Also what succeeded before and after; tombstones, rows and indexes alike."""
    world.run(kv("set", "a", b"1"))
    index = world.key("a").modify_index
    other = "99999999-aaaa-4999-8999-999999999999"
    assert world.failures(
        kv("set", "new", b"1"),
        kv("delete", "a"),
        kv("set", "a", b"back"),
        kv("check-index", "a", modify_index=1),
        kv("cas", "a", b"2", modify_index=1),
        kv("delete-cas", "a", modify_index=1),
        kv("get", "none"),
        kv("check-session", "a", session=SESSION),
        kv("check-session", "none"),
        kv("check-index", "none"),
        kv("check-not-exists", "a"),
        kv("lock", "a"),
        kv("lock", "a", session=other),
        kv("unlock", "a", session=SESSION),
        kv("explode", 'quo"te'),
        TxnOp(),
        node("set", node="n2", address="10.0.0.2"),
    ) == {
        3: f'failed index check for key "a", current modify index {index + 1} != 1',
        4: 'failed to set key "a", index is stale',
        5: 'failed to delete key "a", index is stale',
        6: 'key "none" doesn\'t exist',
        7: f'failed session check for key "a", current session "" != "{SESSION}"',
        8: 'failed to check session, key "none" doesn\'t exist',
        9: 'failed to check index, key "none" doesn\'t exist',
        10: 'key "a" exists',
        11: "missing session",
        12: f'invalid session "{other}"',
        13: 'failed to unlock key "a", lock isn\'t held, or is held by another session',
        14: 'unknown KV verb "explode"',
        15: "no operation specified",
    }


def test_a_held_lock_is_refused(world):
    """The text says that somebody has it."""
    two = "22222222-aaaa-4222-8222-222222222222"
    request = SessionRequest(op="create", session=Session(id=two, node="n1"))
    world.replica.apply(MessageType.SESSION, request)
    world.run(kv("lock", "a", session=SESSION))
    assert world.failures(kv("lock", "a", session=two)) == {
        0: 'failed to lock key "a", lock is already held'
    }


def test_the_catalog_changes_in_the_same_way(world):
    """Node, service and check come, change by compare-and-set, and go."""
    reply = world.run(
        node("set", node="n2", address="10.0.0.2"),
        service("set", on="n2", id="web-1", service="web", port=80),
        check("set", node="n2", check_id="c", service_id="web-1", status="passing"),
        node("get", node="N2"),
        service("get", on="N2", id="WEB-1"),
        check("get", node="N2", check_id="C"),
    )
    index = world.replica.index
    first, second = reply.results[:3], reply.results[3:]
    assert first == second
    assert first[0].node.address == "10.0.0.2"
    assert first[1].service.port == 80
    assert first[2].check.service_name == "web"
    reply = world.run(
        node("cas", node="n2", address="10.0.0.3", modify_index=index),
        service("cas", on="n2", id="web-1", service="web", modify_index=index),
        check("cas", node="n2", check_id="c", modify_index=index),
    )
    assert [r.node or r.service or r.check for r in reply.results]
    assert reply.results[0].node.modify_index == index + 1
    reply = world.run(
        check("delete-cas", node="n2", check_id="c", modify_index=index + 1),
        service("delete-cas", on="n2", id="web-1", modify_index=index + 1),
        node("delete-cas", node="n2", modify_index=index + 1),
    )
    assert reply.results == []
    assert [row.node for row in world.replica.rows(NODES)] == ["n1"]
    assert world.replica.rows(CHECKS) == []


def test_nodes_are_found_by_their_id_first(world):
    """The name is only looked at where no id is given."""
    node_id = "abcdefab-aaaa-4111-8111-111111111111"
    world.run(node("set", node="n2", id=node_id, address="10.0.0.2"))
    (result,) = world.run(node("get", node="other", id=node_id)).results
    assert result.node.node == "n2"


def test_the_catalog_fails_in_the_same_way(world):
    """What is missing or stale, and verbs that do not exist."""
    assert world.failures(
        node("get", node="none"),
        service("get", id="none"),
        check("get", check_id="none"),
        node("cas", node="n1", address="10.0.0.9", modify_index=99),
        node("cas", node="n1", address="10.0.0.9"),
        service("cas", id="web", service="web", modify_index=1),
        check("cas", check_id="c", modify_index=1),
        node("delete-cas", node="none"),
        service("delete-cas", id="none"),
        check("delete-cas", check_id="none"),
        service("set", on="none", id="web", service="web"),
        check("set", node="none", check_id="c"),
        check("set", check_id="c", service_id="none"),
        node("zap", node="n1"),
        service("zap", id="web"),
        check("zap", check_id="c"),
    ) == {
        0: 'node "none" doesn\'t exist',
        1: 'service "none" on node "n1" doesn\'t exist',
        2: 'check "none" on node "n1" doesn\'t exist',
        3: 'failed to set node "n1", index is stale',
        4: 'failed to set node "n1", index is stale',
        5: 'failed to set service "web" on node "n1", index is stale',
        6: 'failed to set check "c" on node "n1", index is stale',
        7: 'failed to delete node "none", index is stale',
        8: 'failed to delete service "none" on node "n1", index is stale',
        9: 'failed to delete check "none" on node "n1", index is stale',
        10: "Missing node registration",
        11: "Missing node registration",
        12: "Missing service registration",
        13: 'unknown Node verb "zap"',
        14: 'unknown Service verb "zap"',
        15: 'unknown Check verb "zap"',
    }


def test_deleting_what_is_missing_succeeds(world):
    """Without compare-and-set there is nothing to compare with."""
    reply = world.run(
        node("delete", node="none"),
        service("delete", id="none"),
        check("delete", check_id="none"),
    )
    assert (reply.results, reply.errors) == ([], None)


def test_a_deleted_session_leaves_its_lock(world):
    """As in Consul 1.8.7, whose peers must have the same state."""
    world.run(kv("lock", "a", b"1", session=SESSION))
    operation = TxnSessionOp(verb="delete", session=Session(id=SESSION))
    assert world.run(TxnOp(session=operation)).results == []
    assert world.replica.rows(SESSIONS) == []
    assert world.key("a").session == SESSION
    bad = TxnSessionOp(verb="create", session=Session(id=SESSION))
    assert world.failures(TxnOp(session=bad)) == {0: 'unknown Session verb "create"'}


def test_intentions_are_refused(world):
    """Nothing in this cluster writes them so."""
    operation = TxnOp(intention=IntentionRequest(op="create"))
    assert world.failures(operation) == {
        0: "intentions cannot be part of a transaction"
    }


def test_readers_of_an_undone_change_see_what_was(world):
    """They may wake, and then wait on."""
    world.run(kv("set", "a", b"1"))
    before = world.key("a")
    woken = []
    world.replica.store.watches.add(
        [("key", KVS, "a")], lambda: woken.append(world.key("a"))
    )
    world.run(kv("set", "a", b"2"), kv("get", "none"))
    assert all(found is before for found in woken)
    assert world.key("a") is before


def _captured():
    vectors = json.loads((VECTORS / "commands.json").read_text())
    found = [vector for vector in vectors if vector["type"] == MessageType.TXN]
    return [pytest.param(vector, id=vector["id"]) for vector in found]


@pytest.mark.parametrize("vector", _captured())
def test_captured_transactions_are_applied_to_an_empty_state(vector):
    """With results for all operations, or errors for those that needed more."""
    world = World()
    world.replica.apply(MessageType.TXN, TxnRequest(ops=[kv("set", "t/1", b"there")]))
    data = bytes.fromhex(vector["hex"])
    reply = world.replica.apply_bytes(data, vector["index"])
    operations = TxnRequest.unpack(data[1:]).ops
    stale = any(op.kv and op.kv.verb == "cas" for op in operations or ())
    assert (reply.errors is not None) is stale
    assert (reply.results is None) is stale
