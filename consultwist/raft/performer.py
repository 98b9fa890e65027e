"""Performer: does what the Raft core asks for, in its order.

Writes go to the storage, messages to the transport, committed entries to the state
machine, and results to those who wait for them.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.errors import ConsultwistError, LeadershipLost, NotLeader, RaftError
from consultwist.raft import actions
from consultwist.raft.core import Raft
from consultwist.raft.interfaces import IRaftStorage, IRaftTransport
from consultwist.raft.messages import Entry, LogType
from consultwist.raft.proposals import Proposals
from consultwist.raft.snapshot_work import SnapshotWork
from consultwist.raft.state import APPLY_ENTRIES_MAX

if TYPE_CHECKING:
    from consultwist.raft.node import RaftNode

log = Logger()

Observer = Callable[[], None]


class Performer:
    """The actions of one core, and who waits for what comes of them.

    Attributes:
        proposals: the proposals under way.
        verifications: who waits for a verification of leadership, by number.
        transfer: who waits for the end of a leadership transfer.
    """

    def __init__(
        self,
        node: "RaftNode",
        core: Raft,
        reactor: Any,
        storage: IRaftStorage,
        transport: IRaftTransport,
        fsm: Any,
        work: SnapshotWork,
    ) -> None:
        self._node = node
        self._core = core
        self._reactor = reactor
        self._transport = transport
        self._fsm = fsm
        self._work = work
        self.proposals = Proposals()
        self.verifications: dict[int, Deferred[None]] = {}
        self.transfer: Deferred[None] | None = None
        self._applying: tuple[IDelayedCall, list[Entry]] | None = None
        self._durable = 0
        self._held: deque[tuple[int, Observer]] = deque()
        self._was_leader = False
        self._is_stopped = False
        self._performers = self._table(storage.write)

    def _table(
        self, write: Callable[[actions.Write], None]
    ) -> dict[type, Callable[[Any], None]]:
        return {
            actions.PersistState: write,
            actions.PersistEntries: write,
            actions.TruncateLog: write,
            actions.ResetLog: write,
            actions.CompactLog: write,
            actions.Send: self._send,
            actions.SendAfterPersist: self._send_after_persist,
            actions.SendSnapshot: self._send_snapshot,
            actions.Reply: self._reply,
            actions.ReplyAfterPersist: self._reply_after_persist,
            actions.Apply: self._apply,
            actions.RestoreSnapshot: self._restore_snapshot,
            actions.TakeSnapshot: self._take_snapshot,
            actions.RoleChanged: self._role_changed,
            actions.ConfigurationChanged: self._configuration_changed,
            actions.LeaderVerified: self._leader_verified,
            actions.TransferEnded: self._transfer_ended,
        }

    def perform(self, action: actions.Action) -> None:
        """Do what the core asks for."""
        if not self._is_stopped:
            self._performers[type(action)](action)

    def stop(self, error: RaftError) -> None:
        """Do nothing more; fail whoever waits."""
        self._is_stopped = True
        if self._applying is not None and self._applying[0].active():
            self._applying[0].cancel()
        self._applying = None
        self._held.clear()
        self.proposals.fail_after(-1, error)
        self._fail_verifications(error)
        self._end_transfer(error)

    @property
    def pending(self) -> int:
        """How many committed entries wait for the state machine's turn."""
        return 0 if self._applying is None else len(self._applying[1])

    # --- what waits for the disk --------------------------------------------------

    def release(self, sequence: int) -> None:
        """Send what waited for the writes up to a sequence number."""
        self._durable = sequence
        while self._held and self._held[0][0] <= sequence:
            self._held.popleft()[1]()

    def _hold(self, sequence: int, perform: Callable[[], None]) -> None:
        if sequence <= self._durable:
            perform()
        else:
            self._held.append((sequence, perform))

    # --- messages -----------------------------------------------------------------

    def _send(self, action: actions.Send) -> None:
        self._transport.send(action.ticket, action.peer, action.request)

    def _send_after_persist(self, action: actions.SendAfterPersist) -> None:
        ticket, peer, request = action.ticket, action.peer, action.request
        self._hold(action.sequence, lambda: self._transport.send(ticket, peer, request))

    def _send_snapshot(self, action: actions.SendSnapshot) -> None:
        self._work.send(self._transport, self._node, action)

    def _reply(self, action: actions.Reply) -> None:
        self._work.discard(action.source)
        action.source.answer(action.response, action.error)

    def _reply_after_persist(self, action: actions.ReplyAfterPersist) -> None:
        self._work.discard(action.source)
        source, response = action.source, action.response
        self._hold(action.sequence, lambda: source.answer(response, ""))

    # --- entries and snapshots ----------------------------------------------------

    def _apply(self, action: actions.Apply) -> None:
        if len(action.entries) < APPLY_ENTRIES_MAX:
            self._apply_now(action.entries)
            return
        # There is a backlog: let others have their turn between its batches.
        call = self._reactor.callLater(0, self._apply_pending)
        self._applying = (call, action.entries)

    def _apply_pending(self) -> None:
        if self._applying is not None:
            call, entries = self._applying
            if call.active():
                call.cancel()
            self._applying = None
            self._apply_now(entries)
            self._node.flush()

    def _apply_now(self, entries: list[Entry]) -> None:
        commands = [entry for entry in entries if entry.type == LogType.COMMAND]
        try:
            results = self._fsm.apply_batch(commands) if commands else []
        except Exception:
            self._node.fail_for_good(Failure())
            return
        self._core.applied(entries[-1].index)
        answer = self.proposals.answer
        for entry, result in zip(commands, results, strict=True):
            answer(entry.index, result)
        if len(commands) < len(entries):
            for entry in entries:
                if entry.type != LogType.COMMAND:
                    answer(entry.index, None)

    def _restore_snapshot(self, action: actions.RestoreSnapshot) -> None:
        self._apply_pending()
        installed = self._work.install(action.source)
        request, configuration = action.request, action.configuration

        def end(success: bool) -> None:
            if not self._is_stopped:
                self._core.snapshot_installed(request, configuration, success=success)
                self._node.flush()

        def failed(failure: Failure) -> None:
            # The state machine holds what the disk does not.
            if not self._is_stopped:
                self._node.fail_for_good(failure)

        installed.addCallbacks(end, failed)

    def _take_snapshot(self, _: actions.TakeSnapshot) -> None:
        self._node.take_snapshot().addErrback(
            lambda failure: log.warn(
                "raft: no snapshot was taken: {error}", error=failure.value
            )
        )

    # --- leadership ---------------------------------------------------------------

    def _role_changed(self, action: actions.RoleChanged) -> None:
        is_leader = action.role is actions.RoleName.LEADER
        log.info(
            "raft: {role} in term {term}, the leader is {leader}",
            role=action.role.value.lower(),
            term=action.term,
            leader=action.leader or "unknown",
        )
        if self._was_leader and not is_leader:
            self._was_leader = False
            self._lead_lost()
        elif is_leader and not self._was_leader:
            self._was_leader = True
            self._node.leadership_changed(gained=True)

    def _lead_lost(self) -> None:
        commit_index = self._core.state.log.commit_index
        self.proposals.fail_after(commit_index, LeadershipLost())
        self._fail_verifications(NotLeader())
        self._node.leadership_changed(gained=False)

    def _fail_verifications(self, error: ConsultwistError) -> None:
        failed, self.verifications = self.verifications, {}
        for done in failed.values():
            done.errback(error)

    def _leader_verified(self, action: actions.LeaderVerified) -> None:
        for number in action.requests:
            done = self.verifications.pop(number, None)
            if done is not None:
                done.callback(None)

    def _transfer_ended(self, action: actions.TransferEnded) -> None:
        self._end_transfer(RaftError(action.error) if action.error else None)

    def _end_transfer(self, error: RaftError | None) -> None:
        done, self.transfer = self.transfer, None
        if done is not None and error is None:
            done.callback(None)
        elif done is not None:
            done.errback(error)

    def _configuration_changed(self, action: actions.ConfigurationChanged) -> None:
        log.info("raft: {change}", change=action.describe())
        servers = action.configuration.servers
        self._transport.keep([server.address for server in servers])
