"""What a server does with the requests of leaders and candidates.

Sections 5.2 to 5.4 and 7 of the Raft paper, in the dialect of the library that Consul
uses. The core has compared terms before and has made this server a follower of the
request's term where the rules say so.
"""

from typing import Any, Final

from consultwist.errors import WireError
from consultwist.raft.actions import RestoreSnapshot
from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.messages import (
    VERSION,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshot,
    InstallSnapshotResponse,
    LogType,
    Request,
    RequestPreVote,
    RequestPreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from consultwist.raft.settings import SNAPSHOT_VERSION
from consultwist.raft.state import RaftState
from consultwist.wire import msgpack

#: A share of the heartbeat timeout within which the followers of a leader that was
#: found dead stand for election: long against a round trip, so that they do not all
#: stand at once, and short against the timeout.
_SUCCESSION_SHARE: Final = 0.1


class Follower:
    """The passive role: answers, and waits for its leader to fall silent."""

    def __init__(self, state: RaftState, now: float) -> None:
        self._state = state
        self._deadline = now + state.random_timeout(state.settings.heartbeat_timeout_s)
        if state.configuration.only_voter(state.server_id):
            # Nobody else could be leading.
            self._deadline = now

    def next_timer(self) -> float | None:
        """Return when the leader's silence is to be judged next."""
        return self._deadline if self._state.configuration.servers else None

    def hasten(self, now: float) -> None:
        """Judge soon: the leader is known to be gone."""
        state = self._state
        spread = state.settings.heartbeat_timeout_s * _SUCCESSION_SHARE
        self._deadline = min(self._deadline, now + state.rng.random() * spread)

    def judge(self, now: float) -> bool:
        """Tell whether to stand for election, the deadline having passed."""
        state = self._state
        timeout = state.settings.heartbeat_timeout_s
        self._deadline = now + state.random_timeout(timeout)
        if state.last_contact is not None and now - state.last_contact < timeout:
            return False
        state.leader = ""
        return state.may_stand


# --- AppendEntries ------------------------------------------------------------------


def append_entries(
    state: RaftState, request: AppendEntries, source: Any, now: float
) -> None:
    """Take the entries of the leader of this term, and its commit index."""
    last_log = state.log.last_index
    try:
        accepted = _accept(state, request)
    except WireError as error:
        state.refuse(source, str(error))
        return
    response = AppendEntriesResponse(
        protocol_version=VERSION,
        term=state.term,
        last_log=last_log,
        success=accepted,
        no_retry_backoff=not accepted,
    )
    if accepted:
        state.last_contact = now
    if request.entries or not state.is_term_saved:
        state.reply_after_persist(source, response)
    else:
        # Heartbeats do not wait behind log writes.
        state.reply(source, response)


def refuse_append(state: RaftState, source: Any) -> None:
    """Refuse a request of an older term, or one that cannot be taken now."""
    response = AppendEntriesResponse(
        protocol_version=VERSION, term=state.term, last_log=state.log.last_index
    )
    state.reply_after_persist(source, response)


def _accept(state: RaftState, request: AppendEntries) -> bool:
    entries = request.entries or []
    previous = request.prev_log_entry
    _check_order(entries, previous, request.term)
    if not _has_previous(state, previous, request.prev_log_term):
        return False
    fresh = _without_known(state, entries)
    if fresh:
        if fresh[0].index <= state.log.last_index:
            state.truncate(fresh[0].index - 1)
        state.append(fresh)
    # What lies beyond the entries of this request was not compared with the leader's.
    known = previous + len(entries)
    state.advance_commit(min(request.leader_commit_index, known))
    return True


def _check_order(entries: list[Entry], previous: int, term: int) -> None:
    for index, entry in enumerate(entries, previous + 1):
        if entry.index != index or entry.term > term:
            raise WireError("raft: entries are out of order")
        if entry.type == LogType.CONFIGURATION:
            Configuration.unpack(entry.data or b"\xc0").check()


def _has_previous(state: RaftState, index: int, term: int) -> bool:
    log = state.log
    if index <= log.commit_index:
        # Committed entries are the same on every server that could lead.
        return True
    return log.matches(index, term)


def _without_known(state: RaftState, entries: list[Entry]) -> list[Entry]:
    """Return the entries from the first one on that this log lacks."""
    log = state.log
    for position, entry in enumerate(entries):
        if entry.index > log.last_index:
            return entries[position:]
        if entry.index <= log.commit_index:
            continue
        if not log.matches(entry.index, entry.term):
            return entries[position:]
    return []


# --- votes --------------------------------------------------------------------------


def sender(state: RaftState, request: Request, address: bytes) -> Server | None:
    """Return the server that sent a request, as far as it says who it is."""
    if request.id is not None:
        return state.configuration.find(_text(request.id))
    return state.configuration.at(_text(address))


def knows_other_leader(state: RaftState, request: Request, address: bytes) -> bool:
    """Tell whether a leader is known that is not the candidate."""
    if not state.leader:
        return False
    return state.leader != _text(request.addr if request.addr is not None else address)


def request_vote(
    state: RaftState, request: RequestVote, source: Any, now: float
) -> None:
    """Vote for a candidate of this term, at most for one, and not for an old log."""
    candidate = _text(request.candidate)
    if not _may_have_vote(state, request, candidate):
        answer_vote(state, source, granted=False)
        return
    if not state.vote:
        state.set_term(state.term, candidate)
    state.last_contact = now
    answer_vote(state, source, granted=True)


def _may_have_vote(state: RaftState, request: RequestVote, candidate: str) -> bool:
    if state.vote not in ("", candidate):
        return False
    if request.id is not None and _is_known_nonvoter(state, request):
        return False
    return state.log.is_up_to_date(request.last_log_index, request.last_log_term)


def _is_known_nonvoter(state: RaftState, request: Request) -> bool:
    # Only newer peers give their id; a candidate that is not in the configuration, or
    # may not vote, was removed and does not know it yet.
    if not state.configuration.servers:
        return False
    server = sender(state, request, b"")
    return server is None or not server.is_voter


def answer_vote(state: RaftState, source: Any, *, granted: bool) -> None:
    """Answer a vote request when term and vote are durable."""
    response = RequestVoteResponse(
        protocol_version=VERSION, term=state.term, granted=granted
    )
    state.reply_after_persist(source, response)


def request_pre_vote(state: RaftState, request: RequestPreVote, source: Any) -> None:
    """Tell whether a candidate could win; nothing changes here."""
    granted = (
        not _is_known_nonvoter(state, request)
        and not knows_other_leader(state, request, b"")
        and request.term >= state.term
        and state.log.is_up_to_date(request.last_log_index, request.last_log_term)
    )
    response = RequestPreVoteResponse(
        protocol_version=VERSION,
        term=max(state.term, request.term),
        granted=granted,
        id=state.server_id.encode(),
        addr=state.address.encode(),
    )
    state.reply(source, response)


# --- InstallSnapshot ----------------------------------------------------------------


def install_snapshot(state: RaftState, request: InstallSnapshot, source: Any) -> bool:
    """Ask for a received snapshot to be put in place; tell whether it is wanted."""
    configuration = _snapshot_configuration(request)
    if request.last_log_index <= state.log.commit_index:
        # All of it is here already: an answer was lost, or the leader is behind.
        answer_snapshot(state, source, success=True)
        return False
    state.actions.append(RestoreSnapshot(source, request, configuration))
    return True


def check_snapshot(request: InstallSnapshot) -> str:
    """Return why a snapshot cannot be read, or nothing."""
    if request.snapshot_version not in (0, SNAPSHOT_VERSION):
        return f"unsupported snapshot version {request.snapshot_version}"
    if request.last_log_index < 1 or request.last_log_term < 1:
        return "raft: a snapshot without an index"
    try:
        _snapshot_configuration(request)
    except WireError as error:
        return str(error)
    return ""


def answer_snapshot(state: RaftState, source: Any, *, success: bool) -> None:
    """Answer InstallSnapshot; the version is 0 as in captured answers."""
    response = InstallSnapshotResponse(term=state.term, success=success)
    state.reply_after_persist(source, response)


def _snapshot_configuration(request: InstallSnapshot) -> Configuration:
    if request.snapshot_version == SNAPSHOT_VERSION:
        return Configuration.unpack(request.configuration)
    addresses = msgpack.unpack(request.peers)
    if not isinstance(addresses, list):
        raise WireError("raft: the peers of a snapshot are no list")
    texts = [_text(address) for address in addresses]
    return Configuration(servers=[Server(id=text, address=text) for text in texts])


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        raise WireError("raft: an address is no text")
    return value.decode("utf-8", "surrogateescape")
