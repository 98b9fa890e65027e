"""Standing for election: section 5.2 of the paper, and pre-vote (dissertation, 9.6).

A candidate first asks whether it could win, without raising the term, so that a server
that was cut off does not depose a leader when it comes back. Peers that are stock
Consul 1.8.7 do not know that question and close the connection: that counts as a yes,
because they protect their leader by their own rule (a follower that hears a leader
refuses every vote), and otherwise no new server could be elected beside them.
"""

import enum

from consultwist.raft import quorum
from consultwist.raft.messages import (
    VERSION,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    Response,
)
from consultwist.raft.state import Call, RaftState


class Outcome(enum.Enum):
    """What came of an answer."""

    PENDING = "pending"
    WON = "won"


class Candidate:
    """One attempt to be elected: a pre-vote where it is needed, then the vote."""

    def __init__(self, state: RaftState, now: float, *, is_transfer: bool) -> None:
        self._state = state
        self._is_transfer = is_transfer
        self._granted: set[str] = set()
        self._vote_sequence = 0
        timeout = state.random_timeout(state.settings.election_timeout_s)
        self.deadline = now + timeout
        others = state.other_voters
        self.is_pre_vote = bool(others) and not is_transfer
        if self.is_pre_vote:
            self._ask_pre_vote(now)
        else:
            self._ask_vote(now)

    def next_timer(self) -> float:
        """Return when this attempt has failed."""
        return self.deadline

    def _ask_pre_vote(self, now: float) -> None:
        state = self._state
        request = RequestPreVote(
            protocol_version=VERSION,
            term=state.term + 1,
            last_log_index=state.log.last_index,
            last_log_term=state.log.last_term,
            id=state.server_id.encode(),
            addr=state.address.encode(),
        )
        if state.is_voter:
            self._granted.add(state.server_id)
        for peer in state.other_voters:
            state.send(peer, request, now)

    def _ask_vote(self, now: float) -> None:
        state = self._state
        self.is_pre_vote = False
        self._granted.clear()
        state.set_term(state.term + 1, state.address if state.is_voter else "")
        self._vote_sequence = state.sequence
        request = RequestVote(
            protocol_version=VERSION,
            term=state.term,
            candidate=state.address.encode(),
            last_log_index=state.log.last_index,
            last_log_term=state.log.last_term,
            leadership_transfer=self._is_transfer,
        )
        for peer in state.other_voters:
            state.send_after_persist(peer, request, now)

    def persisted(self) -> Outcome:
        """Count the own vote, which holds only once it is durable."""
        state = self._state
        is_durable = state.saved_sequence >= self._vote_sequence
        if not self.is_pre_vote and state.is_voter and is_durable:
            self._granted.add(state.server_id)
        return self._outcome()

    def receive(self, call: Call, response: Response, now: float) -> Outcome:
        """Count a peer's answer."""
        if isinstance(response, RequestPreVoteResponse):
            if self.is_pre_vote and response.granted:
                return self._grant_pre_vote(call, now)
        elif (
            isinstance(response, RequestVoteResponse)
            and isinstance(call.request, RequestVote)
            and call.request.term == self._state.term
            and not self.is_pre_vote
            and response.granted
        ):
            self._granted.add(call.peer.id)
        return self._outcome()

    def receive_unsupported(self, call: Call, now: float) -> Outcome:
        """Count a peer that does not know pre-votes as willing."""
        if self.is_pre_vote and isinstance(call.request, RequestPreVote):
            return self._grant_pre_vote(call, now)
        return self._outcome()

    def _grant_pre_vote(self, call: Call, now: float) -> Outcome:
        self._granted.add(call.peer.id)
        if self._is_won():
            self._ask_vote(now)
        return Outcome.PENDING

    def _outcome(self) -> Outcome:
        won = not self.is_pre_vote and self._is_won()
        return Outcome.WON if won else Outcome.PENDING

    def _is_won(self) -> bool:
        voters = self._state.configuration.voters
        granted = sum(1 for voter in voters if voter.id in self._granted)
        return quorum.is_won(granted, len(voters))
