"""How a datacenter begins: once, and never again.

A server that is told to makes a cluster of itself. Servers that are told how many to
expect wait until gossip has brought so many together, make sure that none of them is
in a cluster already, and then all write the same first configuration.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import CannotBootstrap, ConsultwistError
from consultwist.gossip.consul import ServerTags
from consultwist.raft.configuration import Server, Suffrage
from consultwist.raft.node import RaftNode
from consultwist.rpc.servers import servers_of
from consultwist.server.membership import Membership
from consultwist.server.raft_members import raft_id

#: A server is asked for its peers so often, with pauses that double (raft.md 6.1).
_TRIES: Final = 6
_FIRST_PAUSE_S: Final = 1.0

#: Asks a server for the addresses of its Raft peers.
AskPeers = Callable[[ServerTags], "list[str] | Deferred[list[str]]"]

log = Logger()


def bootstrap_alone(raft: RaftNode) -> None:
    """Make a cluster of this one server, unless it has a log already.

    Bootstrap mode is over with the first entry: a server that was a member of a
    cluster stays one, whatever its configuration says.
    """
    me = Server(id=raft.identity.server_id, address=raft.identity.address)
    try:
        raft.bootstrap([me])
    except CannotBootstrap:
        log.debug("this server has a log already, bootstrap mode is over")
    else:
        log.info("began a cluster of this one server")


class ExpectedServers(Service):
    """Begins the cluster when the expected number of servers has come together."""

    def __init__(
        self,
        reactor: Any,
        config: RuntimeConfig,
        raft: RaftNode,
        membership: Membership,
        ask: AskPeers,
    ) -> None:
        self._reactor = reactor
        self._expect = config.bootstrap_expect
        self._datacenter = config.datacenter
        self._raft = raft
        self._membership = membership
        self._ask = ask
        self._stop_watching: Callable[[], None] | None = None
        self._work: Deferred[None] | None = None
        self._is_wanted = False

    def startService(self) -> None:
        """Look whenever members change, until the cluster has begun."""
        super().startService()
        self._stop_watching = self._membership.on_change(self._look)
        self._look()

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        self._end()
        if self._work is not None:
            self._work.cancel()

    def _end(self) -> None:
        if self._stop_watching is not None:
            self._stop_watching()
            self._stop_watching = None

    @property
    def _is_over(self) -> bool:
        """Tell whether there is nothing to wait for: Raft has a first entry."""
        return not self.running or self._raft.core.state.log.last_index > 0

    def _look(self) -> None:
        if self._work is not None:
            self._is_wanted = True
            return
        if self._is_over:
            self._end()
            return
        servers = self._candidates()
        if servers is not None:
            self._work = Deferred.fromCoroutine(self._begin(servers))
            self._work.addErrback(self._failed)
            self._work.addCallback(self._looked)

    def _looked(self, _: object) -> None:
        self._work = None
        if self._is_wanted and self.running:
            self._is_wanted = False
            self._look()

    def _failed(self, failure: Failure) -> None:
        if self.running:
            log.failure("bootstrap mode failed", failure)

    def _candidates(self) -> list[ServerTags] | None:
        """Return the servers to begin with, or None while that must not be."""
        servers = [
            server
            for server in servers_of(self._membership.members())
            if server.datacenter == self._datacenter and server.is_alive
        ]
        for server in servers:
            if server.expect not in (0, self._expect):
                log.error("{name} expects another number of servers", name=server.name)
                return None
            if server.is_bootstrap:
                log.error("{name} is in bootstrap mode", name=server.name)
                return None
        voters = sum(server.is_voter for server in servers)
        return servers if voters >= self._expect else None

    async def _begin(self, servers: Sequence[ServerTags]) -> None:
        for server in servers:
            if await self._peers_of(server):
                log.info(
                    "{name} has Raft peers already; waiting to be added to them",
                    name=server.name,
                )
                self._end()
                return
        if self._is_over:
            return
        log.info(
            "found the expected servers, beginning a cluster of {addresses}",
            addresses=", ".join(server.address for server in servers),
        )
        try:
            self._raft.bootstrap(map(_member, servers))
        except ConsultwistError as error:
            log.error("failed to bootstrap the cluster: {error}", error=error)
        self._end()

    async def _peers_of(self, server: ServerTags) -> list[str]:
        """Ask a server for its peers; one that never answers has none."""
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            try:
                answer = self._ask(server)
                return await answer if isinstance(answer, Deferred) else answer
            except ConsultwistError as error:
                log.warn(
                    "failed to ask {name} for its Raft peers: {error}",
                    name=server.name,
                    error=error,
                )
            await deferLater(self._reactor, pause_s)
            pause_s *= 2
        return []


def _member(server: ServerTags) -> Server:
    suffrage = Suffrage.VOTER if server.is_voter else Suffrage.NONVOTER
    return Server(suffrage=suffrage, id=raft_id(server), address=server.address)
