"""What the endpoint of transactions checks and fills in before it proposes."""

import pytest

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.api.txn.rpc import Transactions
from consultwist.api.txn.table import TxnTable
from consultwist.durations import SECOND
from consultwist.errors import ConsultwistError
from consultwist.state.lock_delay import LockReleased
from consultwist.structs.catalog import HealthCheck, Node, NodeService
from consultwist.structs.kv import DirEntry
from consultwist.structs.txn import (
    TxnCheckOp,
    TxnKVOp,
    TxnNodeOp,
    TxnOp,
    TxnReadRequest,
    TxnRequest,
    TxnServiceOp,
)
from consultwist.testing.state import DATACENTER, LocalServer, Replica


class World:
    """A server with transactions."""

    def __init__(self):
        tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
        self.server = LocalServer(Replica(*tables, TxnTable()), Transactions())

    def apply(self, *operations):
        request = TxnRequest(datacenter=DATACENTER, ops=list(operations))
        return self.server.rpc("Txn.Apply", request)

    def read(self, *operations, **fields):
        request = TxnReadRequest(datacenter=DATACENTER, ops=list(operations), **fields)
        return self.server.rpc("Txn.Read", request)


@pytest.fixture
def world():
    return World()


def kv(verb, key, **fields):
    return TxnOp(kv=TxnKVOp(verb=verb, dir_ent=DirEntry(key=key, **fields)))


def node(verb="set", **fields):
    return TxnOp(node=TxnNodeOp(verb=verb, node=Node(**fields)))


def service(verb="set", **fields):
    operation = TxnServiceOp(verb=verb, node="n1", service=NodeService(**fields))
    return TxnOp(service=operation)


def check(verb="set", **fields):
    check = HealthCheck(node="n1", **fields)
    return TxnOp(check=TxnCheckOp(verb=verb, check=check))


def _whats(reply):
    return [(error.op_index, error.what) for error in reply.errors]


def test_ids_default_to_names(world):
    """Of services and of checks."""
    reply = world.apply(
        node(node="n1", address="10.0.0.1"), service(service="web"), check(name="c")
    )
    assert [r.service.id for r in reply.results if r.service] == ["web"]
    assert [r.check.check_id for r in reply.results if r.check] == ["c"]


def test_what_is_wrong_is_told_by_operation_and_not_logged(world):
    """All operations are looked at."""
    reply = world.apply(
        kv("set", ""),
        kv("delete-tree", ""),
        node(),
        node(node="n", id="short"),
        node(node="n", id="abcdefab_aaaa-4111-8111-111111111111"),
        node(node="n", id="zbcdefab-aaaa-4111-8111-111111111111"),
        service(id="x"),
        service(service="web", address="0.0.0.0"),
        service(service="gate", kind="mesh-gateway"),
        service("get"),
        check("get"),
        node("get"),
    )
    assert _whats(reply)[:-1] == [
        (0, "Must provide key"),
        (2, "Must provide node"),
        (3, "Bad node ID: uuid string is wrong length"),
        (4, "Bad node ID: uuid is improperly formatted"),
        (5, "Bad node ID: encoding/hex: invalid byte: U+007A 'z'"),
        (6, "Must provide service name with ID"),
        (7, "Invalid service address"),
    ]
    last, text = _whats(reply)[-1]
    assert last == 8
    assert "Port must be non-zero for a mesh-gateway" in text
    assert reply.results is None
    assert world.server.commands == []


def test_a_lock_delay_is_told_as_an_error(world):
    """Only locks are concerned; the command is not logged."""
    world.server.lock_delays.observe(LockReleased("a", 5 * SECOND))
    reply = world.apply(kv("lock", "a"), kv("set", "a"))
    assert _whats(reply) == [(0, 'failed to lock key "a" due to lock delay')]
    assert world.server.commands == []
    world.server.reactor.advance(5)
    assert _whats(world.apply(kv("lock", "a"))) == [(0, "missing session")]


def test_what_a_token_may_not_is_an_error_of_the_operation(world):
    """Reading and writing are asked for apart."""

    class ReadOnly:
        def allows(self, resource, access, name):
            return access == "read" and name != "secret"

    world.apply(kv("set", "a", value=b"1"))
    world.server.authorizer = ReadOnly()
    denied = "Permission denied"
    reply = world.apply(
        kv("get", "a"),
        kv("get", "secret"),
        kv("set", "a"),
        kv("check-index", "a"),
        node(node="n1"),
        service(service="web"),
        check(check_id="c"),
        check(check_id="c", service_id="s", service_name="web"),
    )
    assert _whats(reply) == [(number, denied) for number in (1, 2, 4, 5, 6, 7)]


def test_reads_run_without_the_log(world):
    """The answer tells of a leader, but of no index."""
    world.apply(kv("set", "a", value=b"1"))
    count = len(world.server.commands)
    reply = world.read(kv("get", "a"), require_consistent=True)
    assert [result.kv.value for result in reply.results] == [b"1"]
    assert (reply.index, reply.known_leader) == (0, True)
    assert len(world.server.commands) == count
    assert _whats(world.read(kv("get", "none"), kv("get", ""))) == [
        (1, "Must provide key")
    ]
    assert _whats(world.read(kv("get", "none"))) == [(0, 'key "none" doesn\'t exist')]
    assert world.read().results == []


@pytest.mark.parametrize("operation", [kv("set", "a"), node(node="n"), check(name="c")])
def test_reads_that_would_write_are_refused(world, operation):
    """No agent sends them; the state may only be changed through the log."""
    with pytest.raises(ConsultwistError, match="read-only transaction"):
        world.read(kv("get", "a"), operation)
    assert world.server.replica.rows("kvs") == []
