"""Leading: replication, commitment, the lease, verification, handing over.

Sections 5.3 and 5.4.2 of the paper; leases, leadership transfer and membership changes
of one server at a time are in the dissertation (6.4, 3.10 and 4.1). One timer sends
the heartbeats of all followers; commit indexes travel with entries, and with a notice
of their own only where no entries follow.
"""

import math
from collections.abc import Iterable, Sequence

import attrs

from consultwist.errors import (
    BadRequest,
    LeadershipTransferInProgress,
    RaftError,
)
from consultwist.raft import quorum, replication
from consultwist.raft.actions import LeaderVerified, TransferEnded
from consultwist.raft.configuration import Configuration
from consultwist.raft.messages import (
    VERSION,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshot,
    InstallSnapshotResponse,
    LogType,
    Response,
    TimeoutNow,
)
from consultwist.raft.progress import Progress
from consultwist.raft.state import Call, RaftState


@attrs.define
class _Transfer:
    target: str
    deadline: float
    is_sent: bool = False


class Leader:
    """The leading role, for one term.

    Attributes:
        is_over: whether this server must step down.
    """

    def __init__(self, state: RaftState, now: float) -> None:
        self._state = state
        self._elected_at = now
        self._peers: dict[str, Progress] = {}
        self._notice_at: float | None = None
        self._heartbeat_at = now
        self._round = 0
        self._verifying: list[int] = []
        self._verifying_next: list[int] = []
        self._transfer: _Transfer | None = None
        self.is_over = False
        self._update_peers(state.log.last_index + 1)
        # Nothing of earlier terms may be committed before an entry of this one is
        # (paper, 5.4.2), so there is one at once.
        self._first_index = self._append([(LogType.NOOP, None, None)], now)
        self._send_heartbeats(now)

    # --- time -----------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """Return when something is due: heartbeat, notice, retry, lease, transfer."""
        if not self._peers:
            return None
        due = [self._heartbeat_at, self._patience_end()]
        if self._notice_at is not None:
            due.append(self._notice_at)
        if self._transfer is not None:
            due.append(self._transfer.deadline)
        last_index = self._state.log.last_index
        for peer in self._peers.values():
            if peer.next <= last_index and peer.is_waiting:
                due.append(peer.retry_at)
        return min(due)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if now >= self._patience_end():
            self.is_over = True
            return
        if now >= self._heartbeat_at:
            self._send_heartbeats(now)
        if self._notice_at is not None and now >= self._notice_at:
            self._send_notices(now)
        if self._transfer is not None and now >= self._transfer.deadline:
            self.end_transfer("leadership transfer timeout")
        self._replicate(now)

    def _send_heartbeats(self, now: float) -> None:
        interval = self._state.settings.heartbeat_timeout_s / 10
        self._heartbeat_at = now + self._state.random_timeout(interval)
        for peer in self._peers.values():
            if not peer.is_heartbeat_in_flight:
                replication.send_heartbeat(self._state, peer, now, self._round)

    def _arm_notice(self, now: float) -> None:
        if self._notice_at is None:
            timeout = self._state.settings.commit_timeout_s
            self._notice_at = now + self._state.random_timeout(timeout)

    def _send_notices(self, now: float) -> None:
        self._notice_at = None
        for peer in list(self._peers.values()):
            if peer.told_commit < self._state.log.commit_index:
                replication.send_commit_index(self._state, peer, now)

    # --- the lease ------------------------------------------------------------------

    def lease_valid(self, now: float) -> bool:
        """Tell whether no other server can have been elected.

        A quorum answered requests sent less than the lease timeout ago; followers do
        not vote for another server that soon after they heard their leader. Handing
        over suspends that rule.
        """
        if self._transfer is not None and self._transfer.is_sent:
            return False
        acked = [peer.acked_at for peer in self._voting_peers()]
        return now < self._lease_from(acked)

    def _patience_end(self) -> float:
        """Return when to step down, unless a quorum answers before.

        Slow answers, which make no lease, are answers still.
        """
        peers = self._voting_peers()
        return self._lease_from([max(p.heard_at, self._elected_at) for p in peers])

    def _lease_from(self, times: list[float]) -> float:
        own = self._of_voters(math.inf, times)
        return quorum.reached(own) + self._state.settings.leader_lease_timeout_s

    def _voting_peers(self) -> list[Progress]:
        return [
            p for p in self._peers.values() if p.server.is_voter and not p.leaving_at
        ]

    @property
    def has_voting_peers(self) -> bool:
        """Tell whether the votes of others count."""
        return bool(self._peers) and bool(self._voting_peers())

    def _of_voters(self, own: float, others: Iterable[float]) -> list[float]:
        values = list(others)
        if self._state.is_voter:
            values.append(own)
        return values

    # --- entries --------------------------------------------------------------------

    def propose(
        self, commands: Sequence[tuple[bytes, bytes | None]], now: float
    ) -> int:
        """Append commands to the log; return the index of the first."""
        return self._append([(LogType.COMMAND, *command) for command in commands], now)

    def barrier(self, now: float) -> int:
        """Append an entry without effect; return its index."""
        return self._append([(LogType.BARRIER, None, None)], now)

    def _append(
        self,
        items: Sequence[tuple[LogType, bytes | None, bytes | None]],
        now: float,
    ) -> int:
        if self._transfer is not None:
            raise LeadershipTransferInProgress
        state = self._state
        first, term = state.log.last_index + 1, state.term
        entries = [
            Entry.make(index, term, kind, data, extensions or None)
            for index, (kind, data, extensions) in enumerate(items, first)
        ]
        state.append(entries)
        self._replicate(now)
        return first

    def _replicate(self, now: float) -> None:
        for peer in self._peers.values():
            replication.send_entries(self._state, peer, now)

    def persisted(self, now: float) -> None:
        """Count the own log, as far as it is durable."""
        self._advance_commit(now)

    def _advance_commit(self, now: float) -> None:
        state = self._state
        log = state.log
        matches = [p.match for p in self._voting_peers()]
        if state.is_voter:
            matches.append(log.stable_index)
        index = quorum.reached(matches) if matches else 0
        # Entries of earlier terms are committed only along with one of this term.
        if index <= log.commit_index or log.term(index) != state.term:
            return
        state.advance_commit(index)
        if self._peers:
            self._arm_notice(now)
        configurations = state.configurations
        if configurations.committed_index == configurations.latest_index:
            self.is_over = self.is_over or not state.is_voter

    # --- answers --------------------------------------------------------------------

    def receive(self, call: Call, response: Response, now: float) -> None:
        """Learn from a peer's answer."""
        peer = self._peers.get(call.peer.id)
        request = call.request
        if peer is None:
            return
        if isinstance(request, InstallSnapshot):
            success = isinstance(response, InstallSnapshotResponse) and response.success
            replication.receive_snapshot(peer, call, now, success=success)
        elif isinstance(response, AppendEntriesResponse):
            assert isinstance(request, AppendEntries)
            if request.entries is None:
                self._receive_heartbeat(peer, call, response, now)
            else:
                replication.receive_append(peer, call, response, now)
        self._advance_commit(now)
        replication.send_entries(self._state, peer, now)
        if not peer.in_flight and peer.told_commit < self._state.log.commit_index:
            self._arm_notice(now)
        self._forget(peer)
        self._send_timeout_now(now)

    def _receive_heartbeat(
        self, peer: Progress, call: Call, response: AppendEntriesResponse, now: float
    ) -> None:
        peer.is_heartbeat_in_flight = False
        if not response.success:
            return
        peer.answered(call.sent_at, now)
        peer.succeeded()
        peer.verified_round = max(peer.verified_round, call.note)
        self._finish_verification(now)
        is_behind = peer.verified_round < self._round
        if self._verifying and is_behind and not peer.is_heartbeat_in_flight:
            replication.send_heartbeat(self._state, peer, now, self._round)

    def fail(self, call: Call, now: float) -> None:
        """Learn that a peer did not answer."""
        peer = self._peers.get(call.peer.id)
        request = call.request
        if isinstance(request, TimeoutNow):
            self.end_transfer(f"failed to make TimeoutNow RPC to {call.peer.id}")
        if peer is None:
            return
        if isinstance(request, InstallSnapshot):
            replication.receive_snapshot(peer, call, now, success=False)
        elif isinstance(request, AppendEntries) and request.entries is None:
            peer.is_heartbeat_in_flight = False
        elif isinstance(request, AppendEntries):
            replication.fail_append(peer, call, now)
        if peer.leaving_at:
            del self._peers[peer.server.id]

    # --- verification ---------------------------------------------------------------

    def verify(self, request: int, now: float) -> None:
        """Ask a quorum whether this server still leads; many requests share a round."""
        if not self._voting_peers():
            self._state.actions.append(LeaderVerified([request]))
        elif self._verifying:
            # The round under way may have been answered before this request came.
            self._verifying_next.append(request)
        else:
            self._verifying.append(request)
            self._begin_round(now)

    @property
    def unverified(self) -> list[int]:
        """The requests for verification that are not answered yet."""
        return self._verifying + self._verifying_next

    def _begin_round(self, now: float) -> None:
        self._round += 1
        for peer in self._voting_peers():
            if not peer.is_heartbeat_in_flight:
                replication.send_heartbeat(self._state, peer, now, self._round)

    def _finish_verification(self, now: float) -> None:
        if not self._verifying:
            return
        rounds = self._of_voters(
            self._round, [p.verified_round for p in self._voting_peers()]
        )
        if quorum.reached(rounds) < self._round:
            return
        self._state.actions.append(LeaderVerified(self._verifying))
        self._verifying, self._verifying_next = self._verifying_next, []
        if self._verifying:
            self._begin_round(now)

    # --- membership -----------------------------------------------------------------

    @property
    def may_change(self) -> bool:
        """Tell whether the configuration may be changed now.

        The last change and an entry of this term must be committed before.
        """
        configurations = self._state.configurations
        return (
            configurations.latest_index == configurations.committed_index
            and self._state.log.commit_index >= self._first_index
        )

    def change(self, configuration: Configuration, now: float) -> int:
        """Append a configuration, which is in force at once; return its index."""
        if not self.may_change:
            raise RaftError("raft: a configuration change is in progress")
        configuration.check()
        data = configuration.pack()
        index = self._append([(LogType.CONFIGURATION, data, None)], now)
        self._update_peers(index)
        self._replicate(now)
        self._advance_commit(now)
        return index

    def _update_peers(self, next_index: int) -> None:
        """Take over the configuration; new peers are first sent the next index."""
        state = self._state
        servers = {s.id: s for s in state.configuration.servers}
        servers.pop(state.server_id, None)
        for server_id, peer in self._peers.items():
            if server_id not in servers and not peer.leaving_at:
                peer.leaving_at = state.configurations.latest_index
        for server in servers.values():
            known = self._peers.get(server.id)
            if known is None or known.leaving_at:
                self._peers[server.id] = Progress(server, next_index)
            else:
                known.server = server

    def _forget(self, peer: Progress) -> None:
        if peer.has_left:
            self._peers.pop(peer.server.id, None)

    # --- handing over ---------------------------------------------------------------

    def transfer(self, target: str, now: float) -> None:
        """Hand leadership to a voter, or to the one whose log is furthest.

        Raises:
            BadRequest: where there is no such voter.
            LeadershipTransferInProgress: where that is so.
        """
        if self._transfer is not None:
            raise LeadershipTransferInProgress
        candidates = self._voting_peers()
        if target:
            candidates = [peer for peer in candidates if peer.server.id == target]
        if not candidates:
            raise BadRequest("cannot find peer")
        chosen = max(candidates, key=lambda peer: peer.match)
        deadline = now + self._state.settings.election_timeout_s
        self._transfer = _Transfer(chosen.server.id, deadline)
        self._send_timeout_now(now)

    def _send_timeout_now(self, now: float) -> None:
        transfer = self._transfer
        if transfer is None or transfer.is_sent:
            return
        peer = self._peers.get(transfer.target)
        if peer is not None and peer.match == self._state.log.last_index:
            transfer.is_sent = True
            self._state.send(peer.server, TimeoutNow(protocol_version=VERSION), now)

    def end_transfer(self, error: str) -> None:
        """End a transfer, if there is one: this server leads on, or has a successor."""
        if self._transfer is not None:
            self._transfer = None
            self._state.actions.append(TransferEnded(error))

    def progress(self) -> list[Progress]:
        """Return the view of each peer, for statistics and traces."""
        return list(self._peers.values())
