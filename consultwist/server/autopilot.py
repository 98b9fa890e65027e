"""Autopilot: the leader looks after the servers of its datacenter.

It keeps the Raft configuration in step with the LAN pool, finds out how every server
stands, gives servers a vote when they have proved stable, and removes dead ones where
that cannot cost the quorum. What it may do is in the autopilot configuration, a part of
the replicated state.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist import durations
from consultwist.errors import ConsultwistError
from consultwist.gossip.consul import ServerTags, parse_server
from consultwist.gossip.serf.members import MemberStatus
from consultwist.interfaces import IServer
from consultwist.server import raft_members
from consultwist.server.raft_members import AddNonvoter, AddVoter, Change, Remove
from consultwist.server.server_health import (
    Round,
    Standing,
    judge,
    stable_ids,
    summarize,
)
from consultwist.structs.operator import (
    AUTOPILOT,
    AutopilotConfig,
    OperatorHealthReply,
)
from consultwist.structs.status import RaftStatsRequest, ServerStats

T = TypeVar("T")

#: Consul: servers are looked after every 10 s, and asked every 2 s how they stand.
TEND_INTERVAL_S: Final = 10.0
POLL_INTERVAL_S: Final = 2.0

#: A server that takes longer to answer counts as not reached; just below the interval,
#: so that rounds do not overlap.
POLL_TIMEOUT_S: Final = 1.9

#: Changes of members that come close together are looked at together.
_PAUSE_S: Final = 0.2

#: Changes made in one go; a configuration has a handful of servers, so that more mean
#: that something undoes what is done.
_CHANGES_MAX: Final = 64

#: Asks one server of this datacenter for its `ServerStats`.
AskStats = Callable[[ServerTags, RaftStatsRequest], "ServerStats | Deferred[Any]"]


class Autopilot:
    """Looks after the servers while this one leads.

    Attributes:
        health: how they stand after the last round.
    """

    log = Logger()

    def __init__(self, server: IServer, ask: AskStats) -> None:
        self._server = server
        self._ask = ask
        self._standings: dict[str, Standing] = {}
        #: Servers that are or were members, by name: those who have vanished from
        #: the pool without leaving are the ones that it has forgotten.
        self._seen: dict[str, ServerTags] = {}
        self._works: list[_Recurring] = []
        self._forget: Callable[[], None] = lambda: None
        self.health = OperatorHealthReply()

    def start(self) -> None:
        """Begin; this server has become leader."""
        tending = _Recurring(self._server.reactor, self._tend, TEND_INTERVAL_S)
        polling = _Recurring(self._server.reactor, self._poll, POLL_INTERVAL_S)
        self._works = [polling, tending]
        self._forget = self._server.on_member_change(tending.soon)
        for work in self._works:
            work.start()

    def stop(self) -> None:
        """End, and forget what was found: the next leader finds it out anew."""
        self._forget()
        self._forget = lambda: None
        for work in self._works:
            work.stop()
        self._works = []
        self._standings = {}
        self._seen = {}
        self.health = OperatorHealthReply()

    @property
    def config(self) -> AutopilotConfig | None:
        """The configuration, or None before it was written."""
        config: AutopilotConfig | None = self._server.store.values.get(AUTOPILOT)
        return config

    def _servers(self) -> list[ServerTags]:
        """Return the servers of this datacenter that the LAN pool knows."""
        datacenter = self._server.config.datacenter
        parsed = map(parse_server, self._server.lan_members())
        return [each for each in parsed if each and each.datacenter == datacenter]

    # --- tending -------------------------------------------------------------------

    async def _tend(self) -> None:
        await self._follow_members()
        config = self.config
        if config is not None:
            await self._promote(config)
            await self._remove_dead(config)

    async def _follow_members(self) -> None:
        servers = self._servers()
        present = {server.name for server in servers}
        gone = [tags for name, tags in self._seen.items() if name not in present]
        conflict = raft_members.bootstrap_conflict(servers)
        if conflict:
            self.log.error(
                "servers {names} are in bootstrap mode; only one may be, not adding "
                "them to Raft",
                names=", ".join(conflict),
            )
        own_name = self._server.config.node_name
        for _ in range(_CHANGES_MAX):
            configuration = self._server.raft.configuration
            change = raft_members.next_change(configuration, servers, gone, own_name)
            if change is None:
                break
            await self._make(change)
        self._seen = {server.name: server for server in servers}

    async def _promote(self, config: AutopilotConfig) -> None:
        stable_s = config.server_stabilization_time / durations.SECOND
        now = self._server.clock.monotonic()
        stable = stable_ids(self._standings, now, stable_s)
        configuration = self._server.raft.configuration
        for change in raft_members.stable_nonvoters(configuration, stable):
            await self._make(change)

    async def _remove_dead(self, config: AutopilotConfig) -> None:
        if not config.cleanup_dead_servers:
            return
        configuration = self._server.raft.configuration
        dead = raft_members.find_dead(configuration, self._servers(), config.min_quorum)
        for name in dead.failed:
            self.log.info("removing failed server {name}", name=name)
            self._server.membership.force_leave(name)
        for entry in dead.unknown:
            await self._make(Remove(entry.id))

    async def _make(self, change: Change) -> None:
        raft = self._server.raft
        self.log.info("changing the servers of Raft: {change}", change=change)
        if isinstance(change, Remove):
            await raft.remove(change.server_id)
        elif isinstance(change, AddNonvoter):
            await raft.add_nonvoter(change.server_id, change.address)
        else:
            assert isinstance(change, AddVoter)
            await raft.add_voter(change.server_id, change.address)

    # --- polling -------------------------------------------------------------------

    async def _poll(self) -> None:
        server = self._server
        config = self.config
        if config is None:
            return
        own = server.raft.stats()
        left = MemberStatus.LEFT
        members = [each for each in self._servers() if each.status != left]
        stats = await self._ask_all(members)
        found = Round(
            configuration=server.raft.configuration,
            leader=server.raft.identity.address,
            term=int(own["last_log_term"]),
            last_index=int(own["last_log_index"]),
            members=members,
            stats=stats,
            config=config,
            now=server.clock.monotonic(),
            wall=server.clock.wall(),
        )
        self._standings = judge(self._standings, found)
        self.health = summarize(self._standings)
        server.metrics.gauge(
            "autopilot.failure_tolerance", self.health.failure_tolerance
        )
        server.metrics.gauge("autopilot.healthy", int(self.health.healthy))

    async def _ask_all(self, members: list[ServerTags]) -> Mapping[str, ServerStats]:
        """Return, by Raft id, what those servers answered that did in time."""
        configuration = self._server.raft.configuration
        asked = {
            server_id: self._ask_one(member)
            for member in members
            if configuration.find(server_id := raft_members.raft_id(member))
        }
        answers = {server_id: await done for server_id, done in asked.items()}
        return {key: stats for key, stats in answers.items() if stats is not None}

    def _ask_one(self, member: ServerTags) -> "Deferred[ServerStats | None]":
        answer = Deferred.fromCoroutine(self._stats_of(member))
        answer.addTimeout(POLL_TIMEOUT_S, self._server.reactor)
        return answer.addErrback(self._not_answered, member.name)

    async def _stats_of(self, member: ServerTags) -> Any:
        answer = self._ask(member, RaftStatsRequest())
        return await answer if isinstance(answer, Deferred) else answer

    def _not_answered(self, failure: Failure, name: str) -> None:
        self.log.warn(
            "server {name} does not tell how it stands: {error}",
            name=name,
            error=failure.getErrorMessage() or repr(failure.value),
        )


class _Recurring:
    """Work that is done again and again, with a pause after each time."""

    log = Logger()

    def __init__(
        self, reactor: Any, work: Callable[[], Any], interval_s: float
    ) -> None:
        self._reactor = reactor
        self._work = work
        self._interval_s = interval_s
        self._timer: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._is_wanted = False

    def start(self) -> None:
        """Do it now, and so on."""
        self._timer = None
        self._is_wanted = False
        running = Deferred.fromCoroutine(self._work())
        self._running = running
        running.addBoth(self._ended, running)

    def soon(self) -> None:
        """Do it before its time: something has changed."""
        if self._running is not None:
            self._is_wanted = True
        elif self._timer is not None and self._timer.active():
            self._timer.cancel()
            self._timer = self._reactor.callLater(_PAUSE_S, self.start)

    def stop(self) -> None:
        """Do it no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _ended(self, outcome: Any, running: "Deferred[None]") -> None:
        if self._running is not running:
            return  # stopped meanwhile
        self._running = None
        if isinstance(outcome, Failure):
            self._failed(outcome)
        pause_s = _PAUSE_S if self._is_wanted else self._interval_s
        self._timer = self._reactor.callLater(pause_s, self.start)

    def _failed(self, failure: Failure) -> None:
        if failure.check(ConsultwistError, CancelledError):
            # Mostly leadership that is being lost; else the next time may succeed.
            self.log.warn("autopilot: {error}", error=failure.getErrorMessage())
        else:
            self.log.failure("autopilot failed", failure)
