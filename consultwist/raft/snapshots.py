"""When to take a snapshot, how far to compact the log, how to install one.

Section 7 of the paper. A snapshot is due when enough entries were applied since the
last one; it is looked after at random intervals, so that the servers of a cluster do
not take theirs at the same time. Behind a snapshot some entries are kept, so that a
follower that lags a little need not be sent the whole state.
"""

from typing import Any

import attrs

from consultwist.errors import NothingToSnapshot, RaftError
from consultwist.raft import follower
from consultwist.raft.actions import TakeSnapshot
from consultwist.raft.configuration import Configuration
from consultwist.raft.log import SnapshotPoint
from consultwist.raft.messages import InstallSnapshot
from consultwist.raft.state import RaftState


@attrs.frozen
class SnapshotBasis:
    """What a snapshot of the present state stands for."""

    index: int
    term: int
    configuration: Configuration
    configuration_index: int


class Snapshots:
    """The snapshots of one server: when they are due, and the one being installed."""

    def __init__(self, state: RaftState, now: float) -> None:
        self._state = state
        self._installing: Any = None
        self.is_taking = False
        self.due_at = now + state.random_timeout(state.settings.snapshot_interval_s)

    @property
    def is_installing(self) -> bool:
        """Tell whether a received snapshot is being put in place."""
        return self._installing is not None

    def handle_timer(self, now: float) -> None:
        """Ask for a snapshot if enough was applied since the last one."""
        state = self._state
        self.due_at = now + state.random_timeout(state.settings.snapshot_interval_s)
        applied = state.log.applied_index - state.log.snapshot.index
        is_busy = self.is_taking or self.is_installing
        if applied >= state.settings.snapshot_threshold and not is_busy:
            state.actions.append(TakeSnapshot())

    def begin(self) -> SnapshotBasis:
        """Return what a snapshot taken now stands for.

        Raises:
            NothingToSnapshot: where nothing was applied since the last one.
            RaftError: where the configuration of that index is not known for sure.
        """
        state = self._state
        index = state.log.applied_index
        if index <= state.log.snapshot.index:
            raise NothingToSnapshot
        configurations = state.configurations
        if configurations.committed_index > index or self.is_taking:
            raise RaftError(
                "cannot take snapshot now, wait until the configuration entry at "
                f"{configurations.committed_index} has been applied"
            )
        self.is_taking = True
        return SnapshotBasis(
            index,
            state.log.term(index) or 0,
            configurations.committed,
            configurations.committed_index,
        )

    def end(self, basis: SnapshotBasis | None) -> None:
        """Note that a snapshot is durable, and compact the log; or that it failed."""
        self.is_taking = False
        state = self._state
        if basis is None or basis.index <= state.log.snapshot.index:
            return
        state.log.snapshot = SnapshotPoint(basis.index, basis.term)
        trailing = state.log.last_index - state.settings.trailing_logs
        state.compact(min(basis.index, trailing))

    def receive(self, request: InstallSnapshot, source: Any, now: float) -> None:
        """Take a snapshot that arrived whole from the leader of this term."""
        if self.is_installing or self.is_taking:
            follower.answer_snapshot(self._state, source, success=False)
            return
        self._state.last_contact = now
        if follower.install_snapshot(self._state, request, source):
            self._installing = source
            self._state.is_applying_held = True

    def installed(
        self, request: InstallSnapshot, configuration: Configuration, *, success: bool
    ) -> None:
        """Note that the state machine holds a received snapshot, or refused it."""
        state = self._state
        source, self._installing = self._installing, None
        state.is_applying_held = False
        if success:
            self._replace(request, configuration)
        state.apply_more()
        follower.answer_snapshot(state, source, success=success)

    def _replace(self, request: InstallSnapshot, configuration: Configuration) -> None:
        state = self._state
        point = SnapshotPoint(request.last_log_index, request.last_log_term)
        if state.log.matches(point.index, point.term):
            # What follows the snapshot in the log agrees with it and may stay.
            state.log.snapshot = point
            state.skip_to(point.index)
            if request.configuration_index > state.configurations.latest_index:
                state.use_snapshot(configuration, request.configuration_index)
            trailing = state.log.last_index - state.settings.trailing_logs
            state.compact(min(point.index, trailing))
            return
        state.reset(point)
        state.use_snapshot(configuration, request.configuration_index)
