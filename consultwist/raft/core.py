"""Raft: one server of a replicated log, without I/O.

Theory of operation: Ongaro and Ousterhout, "In Search of an Understandable Consensus
Algorithm" (the paper), and Ongaro's dissertation; messages and rules in the dialect of
the library that Consul 1.8.7 uses, so that servers of both kinds can form a cluster.

A server is follower, candidate or leader; `follower`, `candidate` and `leader` say
what each does. This module compares terms, changes roles and is the only way in and
out: requests, answers, time and reports from the driver go in, actions come out.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from consultwist.errors import CannotBootstrap, NotLeader, WireError
from consultwist.raft import follower
from consultwist.raft.actions import Action, RoleChanged, RoleName
from consultwist.raft.candidate import Candidate, Outcome
from consultwist.raft.configuration import Configuration
from consultwist.raft.follower import Follower
from consultwist.raft.leader import Leader
from consultwist.raft.log import SnapshotPoint
from consultwist.raft.messages import (
    AppendEntries,
    Entry,
    InstallSnapshot,
    LogType,
    Message,
    Request,
    RequestPreVote,
    RequestVote,
    Response,
    TimeoutNow,
    TimeoutNowResponse,
)
from consultwist.raft.progress import Progress
from consultwist.raft.settings import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    RaftSettings,
)
from consultwist.raft.snapshots import SnapshotBasis, Snapshots
from consultwist.raft.state import RaftState, Recovered

#: The answer to requests of another protocol version (captured).
_BAD_VERSION = "operation not supported with current protocol version"


class Raft:
    """One Raft server behind the core contract.

    The driver calls `receive` with requests, `receive_response` and `request_failed`
    with the outcome of what it sent, `persisted` with the writes that are durable,
    `applied` when the state machine is done, and performs `take_actions` after each.
    """

    def __init__(
        self,
        server_id: str,
        address: str,
        settings: RaftSettings,
        rng: random.Random,
        recovered: Recovered,
        read: Callable[[int, int, int], Sequence[Entry]],
        now: float,
    ) -> None:
        """Resume a server from what its disk holds.

        Args:
            server_id: this server's id in configurations.
            address: its address, as peers know it.
            settings: times and sizes.
            rng: the source of randomness.
            recovered: what the disk holds.
            read: reads entries first to last from disk, up to a size in bytes.
            now: monotonic seconds.
        """
        self._state = RaftState(server_id, address, settings, rng, recovered, read)
        self._snapshots = Snapshots(self._state, now)
        self._role: Follower | Candidate | Leader = Follower(self._state, now)

    # --- what can be asked ----------------------------------------------------------

    @property
    def role(self) -> RoleName:
        """The present role."""
        if isinstance(self._role, Leader):
            return RoleName.LEADER
        is_candidate = isinstance(self._role, Candidate)
        return RoleName.CANDIDATE if is_candidate else RoleName.FOLLOWER

    @property
    def is_leader(self) -> bool:
        """Tell whether this server leads its term, as far as it knows."""
        return isinstance(self._role, Leader)

    @property
    def leads_alone(self) -> bool:
        """Tell whether this server leads, and no other one has a vote."""
        return isinstance(self._role, Leader) and not self._role.has_voting_peers

    @property
    def leader(self) -> str:
        """The address of the leader, or empty where none is known."""
        return self._state.leader

    @property
    def term(self) -> int:
        """The current term."""
        return self._state.term

    @property
    def last_index(self) -> int:
        """The index of the newest entry."""
        return self._state.log.last_index

    @property
    def commit_index(self) -> int:
        """The index of the newest entry that is committed for sure."""
        return self._state.log.commit_index

    @property
    def applied_index(self) -> int:
        """The index up to which the state machine has come."""
        return self._state.log.applied_index

    @property
    def state(self) -> RaftState:
        """Term, vote, leader, log and configurations; read only."""
        return self._state

    @property
    def last_contact(self) -> float | None:
        """When the leader was last heard, in clock seconds."""
        return self._state.last_contact

    def lease_valid(self, now: float) -> bool:
        """Tell whether this server leads and no other can have been elected."""
        return isinstance(self._role, Leader) and self._role.lease_valid(now)

    def progress(self) -> list[Progress]:
        """Return the leader's view of its peers; empty on other servers."""
        return self._role.progress() if isinstance(self._role, Leader) else []

    # --- the core contract ----------------------------------------------------------

    def take_actions(self) -> Sequence[Action]:
        """Return the actions asked for since the last call, and forget them."""
        actions, self._state.actions = self._state.actions, []
        return actions

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called next."""
        due = self._role.next_timer()
        return (
            self._snapshots.due_at if due is None else min(due, self._snapshots.due_at)
        )

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""
        if now >= self._snapshots.due_at:
            self._snapshots.handle_timer(now)
        due = self._role.next_timer()
        if due is None or now < due:
            return
        role = self._role
        if isinstance(role, Leader):
            role.handle_timer(now)
            self._check_leader(role, now)
        elif isinstance(role, Candidate) or self._judge_leader(role, now):
            self._stand(now, is_transfer=False)

    def _judge_leader(self, role: Follower, now: float) -> bool:
        had_leader = self._state.leader
        stands = role.judge(now) and not self._snapshots.is_installing
        if had_leader and not self._state.leader:
            self._tell_role()
        return stands

    # --- requests -------------------------------------------------------------------

    def receive(self, request: Request, source: Any, now: float) -> None:
        """Take a request from a peer; the answer is an action that names `source`."""
        state = self._state
        if not PROTOCOL_VERSION_MIN <= request.protocol_version <= PROTOCOL_VERSION:
            state.refuse(source, _BAD_VERSION)
            return
        try:
            self._dispatch(request, source, now)
        except WireError as error:
            state.refuse(source, str(error))

    def _dispatch(self, request: Request, source: Any, now: float) -> None:
        if isinstance(request, AppendEntries):
            self._receive_append(request, source, now)
        elif isinstance(request, RequestVote):
            self._receive_vote(request, source, now)
        elif isinstance(request, RequestPreVote):
            follower.request_pre_vote(self._state, request, source)
        elif isinstance(request, InstallSnapshot):
            self._receive_snapshot(request, source, now)
        elif isinstance(request, TimeoutNow):
            self._state.reply(source, TimeoutNowResponse())
            self._take_over(now)
        else:
            self._state.refuse(source, "unexpected command")

    def _receive_append(self, request: AppendEntries, source: Any, now: float) -> None:
        state = self._state
        if request.term < state.term:
            follower.refuse_append(state, source)
            return
        self._follow(request.term, _address(request.leader), now)
        if self._snapshots.is_installing and not request.is_heartbeat:
            # The log is about to be replaced: take nothing that builds on it.
            follower.refuse_append(state, source)
            return
        follower.append_entries(state, request, source, now)

    def _receive_vote(self, request: RequestVote, source: Any, now: float) -> None:
        state = self._state
        is_protected = not request.leadership_transfer
        if is_protected and follower.knows_other_leader(
            state, request, request.candidate
        ):
            # Before terms are compared: a server that comes back from a partition
            # must not depose the leader.
            follower.answer_vote(state, source, granted=False)
            return
        if request.term < state.term:
            follower.answer_vote(state, source, granted=False)
            return
        if request.term > state.term:
            self._become_follower(request.term, "", now)
        follower.request_vote(state, request, source, now)

    def _receive_snapshot(
        self, request: InstallSnapshot, source: Any, now: float
    ) -> None:
        state = self._state
        error = follower.check_snapshot(request)
        if error:
            state.refuse(source, error)
            return
        if request.term < state.term:
            follower.answer_snapshot(state, source, success=False)
            return
        self._follow(request.term, _address(request.leader), now)
        self._snapshots.receive(request, source, now)

    def _take_over(self, now: float) -> None:
        if isinstance(self._role, Leader) or not self._state.may_stand:
            return
        self._state.leader = ""
        self._stand(now, is_transfer=True)

    # --- answers --------------------------------------------------------------------

    def receive_response(self, ticket: int, response: Message, now: float) -> None:
        """Take the answer to the request sent under a ticket."""
        call = self._state.calls.pop(ticket, None)
        if call is None or not isinstance(response, Response):
            return
        # Who grants a pre-vote tells the term that was asked about, not its own.
        own = self._state.term + isinstance(call.request, RequestPreVote)
        if response.term > own:
            self._become_follower(response.term, "", now)
            return
        role = self._role
        if isinstance(role, Leader):
            role.receive(call, response, now)
            self._check_leader(role, now)
        elif isinstance(role, Candidate):
            self._count(role.receive(call, response, now), now)

    def request_failed(
        self, ticket: int, now: float, *, unsupported: bool = False
    ) -> None:
        """Note that the request of a ticket was not answered.

        Args:
            ticket: that of the request.
            now: monotonic seconds.
            unsupported: the peer was there, but does not know such requests.
        """
        call = self._state.calls.pop(ticket, None)
        role = self._role
        if call is None:
            return
        if isinstance(role, Leader):
            role.fail(call, now)
        elif isinstance(role, Candidate) and unsupported:
            self._count(role.receive_unsupported(call, now), now)

    def leader_unreachable(self, address: str, now: float) -> None:
        """Take the hint that the leader's process is gone: its address refuses.

        The leader is forgotten, so that votes are given, and this server stands for
        election after a short random time.
        """
        role = self._role
        if isinstance(role, Follower) and self._state.leader == address:
            self._state.leader = ""
            self._state.last_contact = None
            role.hasten(now)
            self._tell_role()

    # --- reports of the driver ------------------------------------------------------

    def persisted(self, sequence: int, now: float) -> None:
        """Note that all writes up to a sequence number are durable."""
        self._state.persisted(sequence)
        role = self._role
        if isinstance(role, Leader):
            role.persisted(now)
            self._check_leader(role, now)
        elif isinstance(role, Candidate):
            self._count(role.persisted(), now)

    def applied(self, index: int) -> None:
        """Note that the state machine has applied everything up to an index."""
        self._state.applied(index)

    def begin_snapshot(self) -> SnapshotBasis:
        """Return what a snapshot of the state machine, taken now, stands for."""
        return self._snapshots.begin()

    def snapshot_taken(self, basis: SnapshotBasis | None) -> None:
        """Note that the snapshot is durable, or with None that it failed."""
        self._snapshots.end(basis)

    def snapshot_installed(
        self,
        request: InstallSnapshot,
        configuration: Configuration,
        *,
        success: bool,
    ) -> None:
        """Note what became of a RestoreSnapshot; the leader is answered now."""
        self._snapshots.installed(request, configuration, success=success)

    # --- commands -------------------------------------------------------------------

    def bootstrap(self, configuration: Configuration, now: float) -> None:
        """Begin a new cluster: write its configuration as entry 1 of term 1.

        Raises:
            CannotBootstrap: where there is anything in the log already.
        """
        state = self._state
        if state.term or state.log.last_index:
            raise CannotBootstrap
        configuration.check()
        state.set_term(1)
        state.append([Entry.make(1, 1, LogType.CONFIGURATION, configuration.pack())])
        self._role = Follower(state, now)

    def recover(self, configuration: Configuration, now: float) -> None:
        """Put a configuration into force by an operator's order; before all else.

        It is appended with the term of the last entry, so that of servers that are
        recovered alike, the one with the newest log is elected still.
        """
        state = self._state
        configuration.check()
        index, term = state.log.last_index + 1, max(state.log.last_term, 1)
        state.configurations.install(configuration, state.log.last_index)
        data = configuration.pack()
        state.append([Entry.make(index, term, LogType.CONFIGURATION, data)])
        self._role = Follower(state, now)

    def propose(
        self, commands: Sequence[tuple[bytes, bytes | None]], now: float
    ) -> int:
        """Append commands (data, extensions); return the index of the first.

        Raises:
            NotLeader: where this server does not lead.
            LeadershipTransferInProgress: where it is handing over.
        """
        return self._leader().propose(commands, now)

    def barrier(self, now: float) -> int:
        """Append a barrier; when it is applied, so is everything before it."""
        return self._leader().barrier(now)

    def verify_leader(self, request: int, now: float) -> None:
        """Ask for a LeaderVerified with this number, if a quorum confirms."""
        self._leader().verify(request, now)

    def transfer_leadership(self, target: str, now: float) -> None:
        """Hand over to a voter by id, or with an empty id to the best one."""
        self._leader().transfer(target, now)

    def add_voter(self, server_id: str, address: str, now: float) -> int:
        """Add or promote a voter; return the index of the configuration."""
        return self._change(lambda servers: servers.with_voter(server_id, address), now)

    def add_nonvoter(self, server_id: str, address: str, now: float) -> int:
        """Add a server that receives the log but does not count."""
        return self._change(
            lambda servers: servers.with_nonvoter(server_id, address), now
        )

    def demote(self, server_id: str, now: float) -> int:
        """Take a server's vote away."""
        return self._change(lambda servers: servers.demoted(server_id), now)

    def remove(self, server_id: str, now: float) -> int:
        """Remove a server; a leader that removes itself steps down thereafter."""
        return self._change(lambda servers: servers.without(server_id), now)

    def restored(self, basis: SnapshotBasis, now: float) -> None:
        """Put a user's snapshot, which is durable and restored, in place of the log.

        Its index lies above the whole log, so every follower will be sent it.
        """
        before = self._leader()
        before.end_transfer("a snapshot was restored")
        self._state.reset(SnapshotPoint(basis.index, basis.term))
        self._state.use_snapshot(basis.configuration, basis.configuration_index)
        self._state.calls.clear()
        self._role = role = Leader(self._state, now)
        for request in before.unverified:
            role.verify(request, now)

    def _change(
        self, alter: Callable[[Configuration], Configuration], now: float
    ) -> int:
        role = self._leader()
        index = role.change(alter(self._state.configuration), now)
        self._check_leader(role, now)
        return index

    def _leader(self) -> Leader:
        if not isinstance(self._role, Leader):
            raise NotLeader
        return self._role

    # --- changes of role ------------------------------------------------------------

    def _follow(self, term: int, leader: str, now: float) -> None:
        """Follow the leader of a term that is not older than the own."""
        state = self._state
        if term == state.term and isinstance(self._role, Leader):
            raise WireError(f"raft: another leader in term {term}: {leader}")
        if term > state.term or not isinstance(self._role, Follower):
            self._become_follower(term, leader, now)
        elif state.leader != leader:
            state.leader = leader
            self._tell_role()

    def _become_follower(self, term: int, leader: str, now: float) -> None:
        state = self._state
        if term > state.term:
            state.set_term(term)
        if isinstance(self._role, Leader):
            self._role.end_transfer("")
            # A leader was in contact with itself until now.
            state.last_contact = now
        state.leader = leader
        state.calls.clear()
        self._role = Follower(state, now)
        self._tell_role()

    def _stand(self, now: float, *, is_transfer: bool) -> None:
        self._state.leader = ""
        self._state.calls.clear()
        was_candidate = isinstance(self._role, Candidate)
        if not self._state.may_stand:
            self._become_follower(self._state.term, "", now)
            return
        self._role = Candidate(self._state, now, is_transfer=is_transfer)
        if not was_candidate:
            self._tell_role()

    def _count(self, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.WON:
            self._state.leader = self._state.address
            self._state.calls.clear()
            self._role = Leader(self._state, now)
            self._tell_role()

    def _check_leader(self, role: Leader, now: float) -> None:
        if role.is_over and self._role is role:
            self._become_follower(self._state.term, "", now)

    def _tell_role(self) -> None:
        state = self._state
        state.actions.append(RoleChanged(self.role, state.term, state.leader))


def _address(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
