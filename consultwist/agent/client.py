"""The delegate of an agent in client mode: some server answers what is asked."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import (
    ConsultwistError,
    NoServers,
    RPCError,
    RPCRateExceeded,
)
from consultwist.gossip.consul import ServerTags
from consultwist.gossip.serf.members import PoolMember
from consultwist.host import Host
from consultwist.interfaces import IClusterDelegate
from consultwist.rpc.calls import RETRY_FRACTION, RemoteCalls, is_retryable
from consultwist.rpc.limits import RateLimit
from consultwist.rpc.pool import ConnectionPool
from consultwist.rpc.replies import Reply, reply_type
from consultwist.rpc.security import Security
from consultwist.rpc.servers import ServerList, servers_of
from consultwist.rpc.snapshot_transfer import SavedSnapshot, SnapshotCalls
from consultwist.structs.snapshot import SnapshotRequest, SnapshotResponse
from consultwist.structs.status import PingRequest, PingResponse
from consultwist.wire.struct import Struct

#: Operators know this under the name of Consul's part that chooses servers.
log_of_router = Logger(namespace="agent.router.manager")

_PING = reply_type(PingResponse)


class Members(Protocol):
    """The LAN pool, as far as a client looks at it for servers."""

    def members(self) -> Sequence[PoolMember]:
        """Return all members."""

    def count(self) -> int:
        """Return how many there are."""

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""


@attrs.define
class _Call:
    """A request on its way to some server."""

    method: str
    request: Struct
    reply: Reply
    begun: float


@implementer(IClusterDelegate)
class ClientDelegate(Service):
    """Passes requests on to the servers of the datacenter.

    Attributes:
        servers: those that are known, in the order in which they are asked.
    """

    is_server = False
    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        *,
        members: Members,
        pool: ConnectionPool,
        snapshots: SnapshotCalls,
        security: Security,
        replies: Mapping[str, Reply],
    ) -> None:
        """Set up.

        Args:
            host: the reactor, the clock and randomness.
            config: the hold time and the limits.
            members: where servers are found.
            pool: connections to them.
            snapshots: has them save and restore.
            security: follows the configuration.
            replies: the reply type of each method that can be called.
        """
        self._reactor = host.reactor
        self._clock = host.clock
        self._rng: random.Random = host.rng
        self._config = config
        self._members = members
        self._pool = pool
        self._snapshots = snapshots
        self._security = security
        self._replies = replies
        self._remote = RemoteCalls(pool, config)
        self._limit = RateLimit(host.clock, config.rpc_rate_limit, config.rpc_max_burst)
        self.servers = ServerList(host.rng)
        self._stop_watching: Callable[[], None] | None = None
        self._timer: IDelayedCall | None = None
        self._pinging: Deferred[None] | None = None

    # --- life ------------------------------------------------------------------------

    def startService(self) -> None:
        """Look for servers from now on."""
        super().startService()
        self._stop_watching = self._members.on_change(self._members_changed)
        self._members_changed()
        self._rebalance_later()

    def stopService(self) -> None:
        """Let go of all servers."""
        super().stopService()
        if self._stop_watching is not None:
            self._stop_watching()
            self._stop_watching = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pinging is not None:
            self._pinging.cancel()
        self._pool.close()

    def reconfigure(self, config: RuntimeConfig) -> None:
        """Take over the limits and certificates of a configuration."""
        self._security.reconfigure(config)
        self._limit.set(config.rpc_rate_limit, config.rpc_max_burst)

    def _members_changed(self) -> None:
        datacenter = self._config.datacenter
        known = servers_of(self._members.members())
        self.servers.update(each for each in known if each.datacenter == datacenter)

    # --- IClusterDelegate ------------------------------------------------------------

    def rpc(self, method: str, request: Struct) -> Deferred[Any]:
        """Have a server call a method; the next one is tried where that may be.

        Raises:
            RPCRateExceeded: where this agent asks too often.
            NoServers: where no server is known.
        """
        reply = self._replies.get(method)
        if reply is None:
            raise RPCError(f"rpc: can't find method {method}")
        if not self._limit.allows():
            raise RPCRateExceeded
        return self._try(_Call(method, request, reply, self._clock.monotonic()))

    def save_snapshot(self, request: SnapshotRequest) -> Deferred[SavedSnapshot]:
        """Have a server save; fires when the whole archive is here."""
        return Deferred.fromCoroutine(self._transfer(request))

    def restore_snapshot(
        self, request: SnapshotRequest, archive: BinaryIO
    ) -> Deferred[SnapshotResponse]:
        """Have a server restore; fires when that is done."""
        return Deferred.fromCoroutine(self._transfer(request, archive))

    async def _transfer(
        self, request: SnapshotRequest, archive: BinaryIO | None = None
    ) -> Any:
        server = self.servers.first()
        if server is None:
            raise NoServers
        try:
            return await self._snapshots.call(
                server.address, server.datacenter, request, archive
            )
        except ConsultwistError:
            self.servers.failed(server)
            raise

    def read_version(self) -> int:
        """Return that nothing is known here of the state."""
        return -1

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """Return the section ``consul`` of the agent's figures."""
        return {
            "consul": {
                "acl": "disabled",
                "known_servers": str(len(self.servers)),
                "server": "false",
            }
        }

    def leave(self) -> Deferred[None]:
        """Leave nothing: only the pools know this agent."""
        return succeed(None)

    def drain(self) -> Deferred[None]:
        """Wait for nobody: nothing is asked of this agent."""
        return succeed(None)

    # --- asking ----------------------------------------------------------------------

    def _try(self, call: _Call) -> Deferred[Any]:
        server = self.servers.first()
        if server is None:
            log_of_router.warn("No servers available")
            raise NoServers
        done = self._remote.call(
            server.address, server.datacenter, call.method, call.reply, call.request
        )
        return done.addErrback(self._failed, call, server)

    def _failed(self, failure: Failure, call: _Call, server: ServerTags) -> Any:
        """Ask the next server, after a while, if that may be and time is left."""
        error = failure.value
        if not isinstance(error, ConsultwistError):
            return failure
        self.servers.failed(server)
        hold_s = self._config.rpc_hold_timeout
        is_late = self._clock.monotonic() - call.begun >= hold_s
        if is_late or not is_retryable(call.request, error):
            self.log.debug(
                "{method} failed on server {address}: {error}",
                method=call.method,
                address=server.address,
                error=str(error),
            )
            return failure
        pause_s = self._rng.random() * hold_s / RETRY_FRACTION
        return deferLater(self._reactor, pause_s, self._try, call)

    # --- spreading the load ----------------------------------------------------------

    def _rebalance_later(self) -> None:
        pause_s = self.servers.rebalance_pause_s(self._members.count())
        self._timer = self._reactor.callLater(pause_s, self._rebalance)

    def _rebalance(self) -> None:
        self._rebalance_later()
        if self._pinging is None:
            self._pinging = Deferred.fromCoroutine(self._choose_order())
            self._pinging.addBoth(self._chosen)

    async def _choose_order(self) -> None:
        """Take a new order that begins with a server that answers."""
        order = self.servers.shuffled()
        for _ in range(len(order)):
            first = order[0]
            try:
                await self._remote.call(
                    first.address, first.datacenter, "Status.Ping", _PING, PingRequest()
                )
            except ConsultwistError:
                order.append(order.pop(0))
                continue
            self.servers.prefer(order)
            return

    def _chosen(self, _: object) -> None:
        self._pinging = None
