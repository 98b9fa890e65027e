"""Server: the service tree of the server half of an agent, and its delegate."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Final, Protocol, cast

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.acl.authorizer import ALLOW_ALL, Openness
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConsultwistError, NoLeader, PermissionDenied
from consultwist.gossip.consul import ServerTags
from consultwist.gossip.serf.members import PoolMember
from consultwist.host import Host
from consultwist.interfaces import (
    IClusterDelegate,
    ILeaderRoutine,
    IRPCEndpoint,
    IServer,
    IStateTable,
)
from consultwist.raft.node import RaftNode
from consultwist.rpc.calls import RemoteCalls
from consultwist.rpc.dispatch import Dispatcher, Method
from consultwist.rpc.first_byte import FirstByte
from consultwist.rpc.listener import RPCListener
from consultwist.rpc.pool import ConnectionPool
from consultwist.rpc.security import Security
from consultwist.rpc.snapshot_transfer import (
    SavedSnapshot,
    SnapshotCalls,
    SnapshotServerProtocol,
)
from consultwist.server.apply import RaftApply
from consultwist.server.autopilot import Autopilot
from consultwist.server.blocking import BlockingQueries, Parkable
from consultwist.server.bootstrap import ExpectedServers, bootstrap_alone
from consultwist.server.coordinate_updates import CoordinateUpdates
from consultwist.server.endpoint import Call
from consultwist.server.forwarding import Forwarder
from consultwist.server.leadership import LeaderRoutines
from consultwist.server.membership import Membership
from consultwist.server.session_timers import SessionTimers
from consultwist.server.snapshots import Snapshots
from consultwist.server.wan import WANRoutes
from consultwist.state.fsm import FSM
from consultwist.state.lock_delay import LockDelays
from consultwist.state.store import Store
from consultwist.structs.query import DCSpecificRequest
from consultwist.structs.snapshot import SnapshotRequest, SnapshotResponse
from consultwist.telemetry.metrics import Metrics
from consultwist.wire.struct import Struct

#: How long a server that leaves waits to be removed from Raft, and how often it looks
#: (Consul).
_REMOVAL_TIMEOUT_S: Final = 5.0
_REMOVAL_POLL_S: Final = 0.05


@attrs.frozen(kw_only=True)
class ServerParts:
    """What plugin discovery found for the server half."""

    tables: Sequence[IStateTable]
    endpoints: Sequence[IRPCEndpoint]
    routines: Sequence[ILeaderRoutine]


@attrs.frozen(kw_only=True)
class ServerLinks:
    """How a server reaches others, and is reached.

    Attributes:
        security: the TLS settings.
        pool: connections for calls on other servers.
        snapshots: has other servers save and restore.
        raft_protocol: makes the protocol for a stream that a Raft peer opened.
    """

    security: Security
    pool: ConnectionPool
    snapshots: SnapshotCalls
    raft_protocol: Callable[[], Any]


class MakeRaft(Protocol):
    """Makes the Raft node of a server over its state machine."""

    def __call__(self, fsm: FSM) -> RaftNode:
        """Return the node, not started yet."""


@implementer(IServer, IClusterDelegate)
class Server(MultiService):
    """One server: state, Raft, and the methods that other agents call.

    Children start in order: Raft reads its log and snapshot before anything asks.
    """

    is_server = True
    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        *,
        parts: ServerParts,
        make_raft: MakeRaft,
        links: ServerLinks,
        membership: Membership,
        metrics: Metrics,
    ) -> None:
        super().__init__()
        self.reactor = reactor = host.reactor
        self.clock = host.clock
        self.rng = rng = host.rng
        self.config = config
        self.metrics = metrics
        self.membership = membership
        self.store = Store(schema for table in parts.tables for schema in table.schemas)
        self.lock_delays = LockDelays(host.clock)
        self.store.subscribe(self.lock_delays.observe)
        self.session_timers = SessionTimers(reactor, host.clock)
        self.coordinate_updates = CoordinateUpdates(reactor)
        self.fsm = FSM(self.store, parts.tables)
        self.raft = make_raft(self.fsm)
        self.raft.setServiceParent(self)
        self.raft_apply = RaftApply(
            self.raft, rng, metrics.counter_series("raft.apply").add
        )
        self.dispatcher = Dispatcher(
            method for endpoint in parts.endpoints for method in endpoint.methods()
        )
        self.autopilot = Autopilot(self, self._ask_stats)
        self.snapshots = Snapshots(self)
        self._routines = LeaderRoutines(self, parts.routines, self.raft.barrier)
        self.raft.observe_leadership(self._routines.gained, self._routines.lost)
        self._links = links
        self._remote = RemoteCalls(links.pool, config)
        self.routes = WANRoutes(
            membership,
            rng,
            config.datacenter,
            f"{config.node_name}.{config.datacenter}",
        )
        self._forwarder = self._make_forwarder()
        self._call = Call(self, self._make_queries(), ALLOW_ALL)
        self._listener = RPCListener(
            host,
            config,
            links.security,
            self,
            {
                FirstByte.RAFT: links.raft_protocol,
                FirstByte.SNAPSHOT: lambda: SnapshotServerProtocol(
                    reactor, config.data_dir, self
                ),
            },
        )
        self._listener.setServiceParent(self)
        self._is_leaving = False
        if config.bootstrap_expect > 1:
            ExpectedServers(
                reactor, config, self.raft, membership, self._ask_peers
            ).setServiceParent(self)

    def _make_forwarder(self) -> Forwarder:
        return Forwarder(
            self.reactor,
            self.rng,
            self,
            remote=self._remote,
            routes=self.routes,
            datacenter=self.config.datacenter,
            hold_timeout_s=self.config.rpc_hold_timeout,
        )

    def _make_queries(self) -> BlockingQueries:
        return BlockingQueries(
            self.reactor,
            self.rng,
            self.store,
            self,
            wait_default_s=self.config.default_query_time,
            wait_max_s=self.config.max_query_time,
        )

    def startService(self) -> None:
        """Recover the state, and begin a cluster where that is this server's part."""
        super().startService()
        config = self.config
        if config.bootstrap or config.bootstrap_expect == 1 or config.dev_mode:
            bootstrap_alone(self.raft)

    def reconfigure(self, config: RuntimeConfig) -> None:
        """Take over the limits and certificates of a configuration."""
        self._links.security.reconfigure(config)
        self._listener.reconfigure(config)

    def stopService(self) -> Deferred[None]:
        """Stop leading and close the log."""
        self._routines.lost()
        self._links.pool.close()
        stopped: Deferred[None] = super().stopService()
        return stopped

    # --- IClusterDelegate -----------------------------------------------------------

    def rpc(self, method: str, request: Struct) -> Any:
        """Call a method, here or where it is to be answered."""
        return self.answer(self.dispatcher.find(method), request)

    def save_snapshot(self, request: SnapshotRequest) -> Deferred[SavedSnapshot]:
        """Have a snapshot taken, here or where it is due; fires when it can be sent."""
        return Deferred.fromCoroutine(self._save_snapshot(request))

    def restore_snapshot(
        self, request: SnapshotRequest, archive: BinaryIO
    ) -> Deferred[SnapshotResponse]:
        """Have the state of an archive put in place, here or where it is due."""
        return Deferred.fromCoroutine(self._restore_snapshot(request, archive))

    async def _save_snapshot(self, request: SnapshotRequest) -> SavedSnapshot:
        place = self._forwarder.place_of(request)
        if place is not None:
            return cast(
                SavedSnapshot, await self._links.snapshots.call(*place, request)
            )
        return await self.snapshots.save(request, self._call.authorizer)

    async def _restore_snapshot(
        self, request: SnapshotRequest, archive: BinaryIO
    ) -> SnapshotResponse:
        place = self._forwarder.place_of(request)
        if place is not None:
            return cast(
                SnapshotResponse,
                await self._links.snapshots.call(*place, request, archive),
            )
        return await self.snapshots.restore(request, archive, self._call.authorizer)

    def read_version(self) -> int:
        """Return the version of the state while this server leads, else -1."""
        return self.store.version if self.raft.is_leader else -1

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """Return the sections ``consul`` and ``raft`` of the agent's figures."""
        return {
            "consul": {
                "server": "true",
                "leader": str(self.is_leader()).lower(),
                "leader_addr": self.leader_address(),
                "acl": "disabled",
                "bootstrap": str(self.config.bootstrap).lower(),
                "known_datacenters": str(len(self.routes.datacenters())),
            },
            "raft": self.raft.stats(),
        }

    async def leave(self) -> None:
        """Leave Raft, if this server leads others; else the leader sees to that."""
        raft = self.raft
        if not raft.is_leader or len(raft.configuration.servers) < 2:
            return
        try:
            await raft.remove(raft.identity.server_id)
        except ConsultwistError as error:
            self.log.error("failed to leave Raft: {error}", error=error)

    async def drain(self) -> None:
        """Refuse requests, and give clients time to turn to other servers.

        Unless it led, this server waits until the leader has removed it from Raft.
        """
        self._is_leaving = True
        await deferLater(self.reactor, self.config.leave_drain_time)
        deadline = self.clock.monotonic() + _REMOVAL_TIMEOUT_S
        while self._is_follower_of_others() and self.clock.monotonic() < deadline:
            await deferLater(self.reactor, _REMOVAL_POLL_S)

    def _is_follower_of_others(self) -> bool:
        raft = self.raft
        servers = raft.configuration.servers
        is_member = any(each.id == raft.identity.server_id for each in servers)
        return is_member and len(servers) > 1 and not raft.is_leader

    # --- what endpoints, queries, forwarding and the listener ask -------------------

    def answer(self, method: Method, request: Struct) -> Any:
        """Have a request answered, here or where it is to be.

        Raises:
            NoLeader: where this server is leaving.
        """
        if self._is_leaving:
            raise NoLeader
        return self._forwarder.run(method, request, self._run)

    def is_leader(self) -> bool:
        """Tell whether this server leads."""
        return self.raft.is_leader

    def knows_leader(self) -> bool:
        """Tell whether any server is known to lead."""
        return self.raft.leader is not None

    def leader_address(self) -> str:
        """Return the leader's address, or nothing where none is known."""
        leader = self.raft.leader
        return "" if leader is None else leader.address

    def read_meta(self) -> tuple[bool, int]:
        """Return whether a leader is known, and nanoseconds since it was heard."""
        if self.raft.is_leader:
            return True, 0
        last_contact_s = self.raft.last_contact_s() or 0.0
        return self.knows_leader(), int(last_contact_s * durations.SECOND)

    def ensure_consistent(self) -> Parkable[None]:
        """Make sure by a quorum that this server leads and shows all it must."""
        if not self.raft.is_leader:
            raise NoLeader
        if self._routines.ready:
            return self.raft.verify_leader()
        ready = self._routines.wait_ready(self.reactor, self.config.rpc_hold_timeout)
        return ready.addCallback(lambda _: self.raft.verify_leader())

    async def begin_anew(self, timeout_s: float) -> None:
        """Begin to lead once more, because all of the state was replaced."""
        self._routines.lost()
        self._routines.gained()
        if not self._routines.ready:
            await self._routines.wait_ready(self.reactor, timeout_s)

    # --- what leader routines ask ---------------------------------------------------

    def lan_members(self) -> Sequence[PoolMember]:
        """Return the members of the LAN pool, this server among them."""
        return self.membership.members()

    def on_member_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""
        return self.membership.on_change(callback)

    def _ask_stats(self, server: ServerTags, request: Struct) -> Any:
        """Ask one server of this datacenter how far its log is."""
        return self._ask(server, "Status.RaftStats", request)

    def _ask_peers(self, server: ServerTags) -> Any:
        """Ask one server of this datacenter for its Raft peers."""
        request = DCSpecificRequest(datacenter=self.config.datacenter)
        return self._ask(server, "Status.Peers", request)

    def _ask(self, server: ServerTags, name: str, request: Struct) -> Any:
        """Call a method on one server of this datacenter, this one among them."""
        method = self.dispatcher.find(name)
        if server.address == self.raft.identity.address:
            return self._run(method, request)
        return self._remote.call(
            server.address, server.datacenter, name, method.reply, request
        )

    def _run(self, method: Method, request: Struct) -> Any:
        rule = method.acl
        if not isinstance(rule, Openness) and not rule(self._call.authorizer, request):
            raise PermissionDenied
        return method.run(self._call, request)
