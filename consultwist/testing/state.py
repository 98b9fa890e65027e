"""A server's state without Raft, and RPC methods without a network.

`Replica` is a store and its state machine: commands are applied as soon as they are
given. `LocalServer` answers RPC methods from a replica, in virtual time, as a leader of
a cluster of one would::

    replica = Replica(KVTable())
    server = LocalServer(replica, KVS())
    server.rpc("KVS.Apply", KVSRequest(...))
"""

import random
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from consultwist.acl.authorizer import ALLOW_ALL, Authorizer, Openness
from consultwist.errors import NoPathToDatacenter, PermissionDenied
from consultwist.interfaces import IStateTable
from consultwist.rpc.dispatch import Dispatcher
from consultwist.server.blocking import BlockingQueries
from consultwist.server.coordinate_updates import CoordinateUpdates
from consultwist.server.endpoint import Call, Endpoint
from consultwist.server.session_timers import SessionTimers
from consultwist.state.fsm import FSM, CommittedEntry
from consultwist.state.lock_delay import LockDelays
from consultwist.state.store import Store
from consultwist.state.transaction import Transaction
from consultwist.testing.clock import ReactorClock
from consultwist.wire.msgpack import StreamUnpacker, pack
from consultwist.wire.struct import Struct

DATACENTER = "dc1"


class Replica:
    """A store with the state machine that changes it.

    Attributes:
        index: the index of the last command that was applied.
    """

    def __init__(self, *tables: IStateTable) -> None:
        self.store = Store(schema for table in tables for schema in table.schemas)
        self.fsm = FSM(self.store, tables)
        self.index = 0

    def apply(self, message_type: int, request: Struct, index: int = 0) -> Any:
        """Apply a command, at the next index or at a given one, and wake watchers.

        Raises:
            Exception: what the state machine refused it with.
        """
        data = bytes([message_type]) + request.pack()
        result = self.apply_bytes(data, index or self.index + 1)
        if isinstance(result, Exception):
            raise result
        return result

    def apply_bytes(
        self, data: bytes, index: int, *, term: int = 1, extensions: bytes = b""
    ) -> Any:
        """Apply an encoded command; a refusal is returned, as Raft would see it."""
        self.index = index
        entry = CommittedEntry(index, term, data, extensions)
        return self.fsm.apply_batch([entry])[0]

    def change(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function of a transaction at the next index and commit it."""
        self.index += 1
        transaction: Transaction = self.store.begin(self.index)
        result = function(transaction, *arguments)
        transaction.commit()
        self.store.wake()
        return result

    def snapshot(self) -> bytes:
        """Return a snapshot of the present state."""
        return b"".join(self.fsm.snapshot())

    def restore(self, snapshot: bytes) -> None:
        """Replace the state by that of a snapshot."""
        self.fsm.restore([snapshot])

    def rows(self, table: str) -> list[Any]:
        """Return all rows of a table, in order."""
        return list(self.store.table(table).rows())

    def index_rows(self) -> dict[str, int]:
        """Return the index rows by name."""
        return dict(self.store.index_rows.values())


def snapshot_records(snapshot: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the encoded value of each record of a snapshot.

    Values are encoded anew with the entries of maps in the order of their keys, since
    Go writes maps in any order.
    """
    unpacker = StreamUnpacker()
    unpacker.feed(snapshot)
    values = iter(unpacker)
    next(values)
    for kind in values:
        yield kind, pack(_ordered(next(values)))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value


class _AlwaysLeading:
    """What blocking queries ask of Raft, for a leader that nobody doubts."""

    def read_meta(self) -> tuple[bool, int]:
        return True, 0

    def ensure_consistent(self) -> None:
        return None


class LocalServer:
    """A server that leads, over a replica, without network, disk and Raft.

    Attributes:
        reactor: virtual time; `advance` it.
        config: the settings that endpoints look at; set what else a test needs.
        commands: the types and requests that were proposed.
        authorizer: what the caller may do.
        membership: the gossip pool, where a test has one.
        routes: the servers of other datacenters: none, unless a test has some.
    """

    def __init__(self, replica: Replica, *endpoints: Endpoint) -> None:
        self.replica = replica
        self.store = replica.store
        self.reactor = Clock()
        self.clock = ReactorClock(self.reactor)
        self.rng = random.Random(1)  # noqa: S311 - repeatable, not secret
        self.config = SimpleNamespace(
            datacenter=DATACENTER, node_name="server-1", session_ttl_min=10.0
        )
        self.lock_delays = LockDelays(self.clock)
        self.store.subscribe(self.lock_delays.observe)
        self.session_timers = SessionTimers(self.reactor, self.clock)
        self.coordinate_updates = CoordinateUpdates(self.reactor)
        self.authorizer: Authorizer = ALLOW_ALL
        self.membership: Any = None
        self.routes: Any = SimpleNamespace(datacenters=lambda: [DATACENTER])
        self.commands: list[tuple[int, Struct]] = []
        self._dispatcher = Dispatcher(
            method for endpoint in endpoints for method in endpoint.methods()
        )
        self._queries = BlockingQueries(
            self.reactor,
            self.rng,
            self.store,
            _AlwaysLeading(),
            wait_default_s=300.0,
            wait_max_s=600.0,
        )

    def is_leader(self) -> bool:
        """Tell that this server leads."""
        return True

    def read_meta(self) -> tuple[bool, int]:
        """Tell that a leader is known, and was heard just now."""
        return True, 0

    def ensure_consistent(self) -> None:
        """Be sure to lead."""

    def raft_apply(self, message_type: int, request: Struct) -> Deferred[Any]:
        """Apply a command at once; fails where the state machine refuses it."""
        self.commands.append((message_type, request))
        try:
            return succeed(self.replica.apply(message_type, request))
        except Exception as error:
            return fail(error)

    def rpc(self, method: str, request: Struct) -> Any:
        """Run a method and return its answer, or a Deferred where it waits.

        Raises:
            Exception: what the method was refused with, also when it had to propose.
        """
        found = self._dispatcher.find(method)
        if not found.local and getattr(request, "datacenter", "") != DATACENTER:
            raise NoPathToDatacenter
        rule = found.acl
        if not isinstance(rule, Openness) and not rule(self.authorizer, request):
            raise PermissionDenied
        server: Any = self
        answer = found.run(Call(server, self._queries, self.authorizer), request)
        return _known(answer) if isinstance(answer, Deferred) else answer

    def names(self) -> Sequence[str]:
        """Return the names of all methods."""
        return self._dispatcher.names()


def _known(answer: Deferred[Any]) -> Any:
    """Return the result of a Deferred that has one, or the Deferred itself."""
    if not answer.called or answer.paused:
        return answer
    outcome: list[Any] = []
    answer.addBoth(outcome.append)
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]
