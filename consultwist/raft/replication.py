"""What to send a peer next, and what its answers mean.

Section 5.3 of the paper. Requests are pipelined: entries go out while earlier ones are
unanswered, at most two requests to a peer. Any refusal or failure goes back to one
request at a time, from where the logs are known, or guessed, to agree.
"""

from typing import Final

from consultwist.raft.actions import SendSnapshot
from consultwist.raft.messages import (
    VERSION,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshot,
)
from consultwist.raft.progress import Mode, Progress
from consultwist.raft.settings import SNAPSHOT_VERSION
from consultwist.raft.state import Call, RaftState

#: Bytes of entries in one AppendEntries, unless a single entry is larger.
APPEND_SIZE_MAX: Final = 4 * 1024 * 1024


def send_entries(state: RaftState, progress: Progress, now: float) -> None:
    """Send a peer what it lacks, as far as it may be sent now."""
    log = state.log
    while progress.next <= log.last_index and may_send(state, progress, now):
        previous_term = log.term(progress.next - 1)
        if progress.next < log.first_index or previous_term is None:
            _send_snapshot(state, progress, now)
            return
        count = state.settings.append_entries_max
        last = min(log.last_index, progress.next + count - 1)
        entries = list(log.entries(progress.next, last, APPEND_SIZE_MAX))
        request = _append(state, progress.next - 1, previous_term, entries)
        _send(state, progress, request, now)
        if progress.mode is Mode.REPLICATE:
            progress.next = entries[-1].index + 1


def may_send(state: RaftState, progress: Progress, now: float) -> bool:
    """Tell whether one more request may be under way to a peer."""
    if progress.retry_at > now or progress.mode is Mode.SNAPSHOT:
        return False
    if progress.mode is Mode.PROBE:
        return progress.in_flight == 0
    return progress.in_flight < state.settings.in_flight_max


def send_commit_index(state: RaftState, progress: Progress, now: float) -> None:
    """Tell a peer the commit index, without entries."""
    previous_term = state.log.term(progress.next - 1)
    if previous_term is not None and may_send(state, progress, now):
        request = _append(state, progress.next - 1, previous_term, [])
        _send(state, progress, request, now)


def send_heartbeat(
    state: RaftState, progress: Progress, now: float, verify_round: int
) -> None:
    """Tell a peer that its leader lives."""
    progress.is_heartbeat_in_flight = True
    request = AppendEntries(
        protocol_version=VERSION, term=state.term, leader=state.address.encode()
    )
    state.send(progress.server, request, now, verify_round)


def receive_append(
    progress: Progress, call: Call, response: AppendEntriesResponse, now: float
) -> None:
    """Learn from the answer to an AppendEntries that was no heartbeat."""
    request = call.request
    assert isinstance(request, AppendEntries)
    if response.success:
        progress.answered(call.sent_at, now)
        progress.succeeded()
        if request.entries:
            progress.matched(request.entries[-1].index)
    if call.note != progress.epoch:
        return
    progress.in_flight = max(0, progress.in_flight - 1)
    if response.success:
        return
    previous = request.prev_log_entry
    progress.probe_from(max(min(previous, response.last_log + 1), 1))
    if not response.no_retry_backoff:
        progress.failed(now)


def fail_append(progress: Progress, call: Call, now: float) -> None:
    """Learn that an AppendEntries was not answered."""
    request = call.request
    assert isinstance(request, AppendEntries)
    if call.note != progress.epoch:
        return
    # Of pipelined requests an earlier one may be lost, too.
    is_probe = progress.mode is Mode.PROBE
    progress.probe_from((request.prev_log_entry if is_probe else progress.match) + 1)
    progress.failed(now)


def receive_snapshot(
    progress: Progress, call: Call, now: float, *, success: bool
) -> None:
    """Learn what became of a snapshot."""
    request = call.request
    assert isinstance(request, InstallSnapshot)
    if call.note != progress.epoch:
        return
    if not success:
        progress.probe_from(progress.next)
        progress.failed(now)
        return
    progress.answered(call.sent_at, now)
    progress.succeeded()
    progress.probe_from(request.last_log_index + 1)
    progress.match = max(progress.match, request.last_log_index)


def _append(
    state: RaftState, previous: int, previous_term: int, entries: list[Entry]
) -> AppendEntries:
    return AppendEntries(
        protocol_version=VERSION,
        term=state.term,
        leader=state.address.encode(),
        prev_log_entry=previous,
        prev_log_term=previous_term,
        entries=entries,
        leader_commit_index=state.log.commit_index,
    )


def _send(
    state: RaftState, progress: Progress, request: AppendEntries, now: float
) -> None:
    progress.in_flight += 1
    progress.told_commit = request.leader_commit_index
    state.send(progress.server, request, now, progress.epoch)


def _send_snapshot(state: RaftState, progress: Progress, now: float) -> None:
    point = state.log.snapshot
    progress.mode = Mode.SNAPSHOT
    progress.epoch += 1
    request = InstallSnapshot(
        protocol_version=VERSION,
        snapshot_version=SNAPSHOT_VERSION,
        term=state.term,
        leader=state.address.encode(),
        last_log_index=point.index,
        last_log_term=point.term,
    )
    ticket = state.open_call(progress.server, request, now, progress.epoch)
    state.actions.append(SendSnapshot(ticket, progress.server, request))
