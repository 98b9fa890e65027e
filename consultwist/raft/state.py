"""What the roles of one Raft server share: term, vote, log, configurations, actions."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from consultwist.raft.actions import (
    Action,
    Apply,
    CompactLog,
    ConfigurationChanged,
    PersistEntries,
    PersistState,
    Reply,
    ReplyAfterPersist,
    ResetLog,
    Send,
    SendAfterPersist,
    TruncateLog,
)
from consultwist.raft.configuration import Configuration, Configurations, Server
from consultwist.raft.log import RaftLog, SnapshotPoint
from consultwist.raft.messages import Entry, LogType, Message, Request
from consultwist.raft.settings import RaftSettings

#: Entries in one Apply: a few milliseconds of work for the state machine.
APPLY_ENTRIES_MAX: Final = 512
APPLY_SIZE_MAX: Final = 1024 * 1024


@attrs.frozen
class Recovered:
    """What a server finds on its disk when it starts.

    Attributes:
        term: the current term.
        vote: whom this server voted for in that term.
        first_index: of the oldest entry in the log.
        last_index: of the newest.
        terms: the first index and the term of each run of entries of one term.
        configurations: the configuration entries in the log.
        commit_index: a commit index that was known once; later ones may exist.
        snapshot: up to where the newest snapshot reaches.
        snapshot_configuration: the configuration in it.
        snapshot_configuration_index: the index of that configuration's entry.
    """

    term: int = 0
    vote: str = ""
    first_index: int = 1
    last_index: int = 0
    terms: Sequence[tuple[int, int]] = ()
    configurations: Sequence[Entry] = ()
    commit_index: int = 0
    snapshot: SnapshotPoint = attrs.field(factory=SnapshotPoint)
    snapshot_configuration: Configuration = attrs.field(factory=Configuration)
    snapshot_configuration_index: int = 0


@attrs.frozen
class Call:
    """A request under way: to whom, when it was sent, and what the sender noted."""

    peer: Server
    request: Request
    sent_at: float
    note: int = 0


@attrs.frozen
class _Unsaved:
    sequence: int
    index: int
    term: int


class RaftState:
    """The state of one server that outlives its roles, and the actions it asks for.

    Attributes:
        server_id: this server's id in the configuration.
        address: this server's address, by which peers know leaders and candidates.
        term: the current term.
        vote: the address voted for in this term, or empty.
        leader: the address of the leader, or empty where none is known.
        last_contact: when the leader was last heard, or None.
        log: the log.
        configurations: the committed and the latest configuration.
        calls: the requests under way, by ticket.
    """

    def __init__(
        self,
        server_id: str,
        address: str,
        settings: RaftSettings,
        rng: random.Random,
        recovered: Recovered,
        read: Callable[[int, int, int], Sequence[Entry]],
    ) -> None:
        self.server_id = server_id
        self.address = address
        self.settings = settings
        self.rng = rng
        self.term = recovered.term
        self.vote = recovered.vote
        self.leader = ""
        self.last_contact: float | None = None
        self.log = RaftLog(
            read,
            first_index=recovered.first_index,
            last_index=recovered.last_index,
            terms=recovered.terms,
            snapshot=recovered.snapshot,
        )
        self.configurations = Configurations()
        self._recover_configurations(recovered)
        self.calls: dict[int, Call] = {}
        self.actions: list[Action] = []
        self.sequence = 0
        self.saved_sequence = 0
        self._term_sequence = 0
        self._unsaved: deque[_Unsaved] = deque()
        self._last_ticket = 0
        self._applying = False
        #: Set while a received snapshot replaces the state machine's state.
        self.is_applying_held = False
        self.advance_commit(min(recovered.commit_index, recovered.last_index))

    def _recover_configurations(self, recovered: Recovered) -> None:
        configurations = self.configurations
        configurations.install(
            recovered.snapshot_configuration, recovered.snapshot_configuration_index
        )
        for entry in recovered.configurations:
            if entry.index > configurations.latest_index:
                configurations.append(
                    Configuration.unpack(entry.data or b"\xc0"), entry.index
                )

    # --- who is who -----------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.configurations.latest

    @property
    def other_voters(self) -> list[Server]:
        """The voters but for this server."""
        return [s for s in self.configuration.voters if s.id != self.server_id]

    @property
    def is_voter(self) -> bool:
        """Tell whether this server votes."""
        return self.configuration.has_vote(self.server_id)

    @property
    def may_stand(self) -> bool:
        """Tell whether this server may become a candidate."""
        configurations = self.configurations
        if not configurations.latest.servers:
            return False
        is_settled = configurations.latest_index == configurations.committed_index
        return self.is_voter or not is_settled

    def random_timeout(self, least_s: float) -> float:
        """Return a random time between so many seconds and twice as many."""
        return least_s + self.rng.random() * least_s

    # --- writes ---------------------------------------------------------------------

    def _next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def set_term(self, term: int, vote: str = "") -> None:
        """Enter a term, or vote in the present one; ask for it to be written."""
        assert term >= self.term
        self.term = term
        self.vote = vote
        self._term_sequence = self._next_sequence()
        self.actions.append(PersistState(self._term_sequence, term, vote))

    @property
    def is_term_saved(self) -> bool:
        """Tell whether term and vote are durable as they stand."""
        return self.saved_sequence >= self._term_sequence

    def append(self, entries: list[Entry]) -> None:
        """Append entries to the log and ask for them to be written."""
        self.log.append(entries)
        last = entries[-1]
        sequence = self._next_sequence()
        self._unsaved.append(_Unsaved(sequence, last.index, last.term))
        commit_index = self.log.commit_index
        self.actions.append(PersistEntries(sequence, entries, commit_index))
        for entry in entries:
            if entry.type == LogType.CONFIGURATION:
                self._use_configuration(entry)

    def _use_configuration(self, entry: Entry) -> None:
        configuration = Configuration.unpack(entry.data or b"\xc0")
        self.configurations.append(configuration, entry.index)
        self.actions.append(ConfigurationChanged(configuration, entry.index))

    def truncate(self, last_index: int) -> None:
        """Remove the entries above an index, in memory and on disk."""
        self.log.truncate(last_index)
        self.actions.append(TruncateLog(self._next_sequence(), last_index))
        before = self.configurations.latest_index
        self.configurations.truncate(last_index)
        now = self.configurations
        if now.latest_index != before:
            self.actions.append(ConfigurationChanged(now.latest, now.latest_index))

    def compact(self, last_index: int) -> None:
        """Drop entries that the snapshot covers, in memory and on disk."""
        if last_index >= self.log.first_index:
            self.log.compact(last_index)
            self.actions.append(CompactLog(self._next_sequence(), last_index))

    def reset(self, snapshot: SnapshotPoint) -> None:
        """Put a snapshot, which is durable, in the place of the whole log."""
        self.log.reset(snapshot)
        self._applying = False
        self._unsaved.clear()
        self.actions.append(ResetLog(self._next_sequence(), snapshot.index + 1))

    def persisted(self, sequence: int) -> None:
        """Note that all writes up to a number are durable."""
        self.saved_sequence = max(self.saved_sequence, sequence)
        log = self.log
        while self._unsaved and self._unsaved[0].sequence <= sequence:
            saved = self._unsaved.popleft()
            # A write of entries that were removed since proves nothing.
            if saved.index <= log.last_index and log.matches(saved.index, saved.term):
                log.stable_index = max(log.stable_index, saved.index)

    # --- messages -------------------------------------------------------------------

    def send(self, peer: Server, request: Request, now: float, note: int = 0) -> int:
        """Ask for a request to be sent at once; return its ticket."""
        ticket = self.open_call(peer, request, now, note)
        self.actions.append(Send(ticket, peer, request))
        return ticket

    def send_after_persist(self, peer: Server, request: Request, now: float) -> None:
        """Ask for a request to be sent when all writes so far are durable."""
        ticket = self.open_call(peer, request, now, 0)
        self.actions.append(SendAfterPersist(ticket, peer, request, self.sequence))

    def open_call(self, peer: Server, request: Request, now: float, note: int) -> int:
        """Note a request as being under way; return its ticket."""
        self._last_ticket += 1
        self.calls[self._last_ticket] = Call(peer, request, now, note)
        return self._last_ticket

    def reply(self, source: Any, response: Message) -> None:
        """Ask for an answer to be sent at once."""
        self.actions.append(Reply(source, response))

    def reply_after_persist(self, source: Any, response: Message) -> None:
        """Ask for an answer to be sent when all writes so far are durable."""
        if self.saved_sequence >= self.sequence:
            self.actions.append(Reply(source, response))
        else:
            self.actions.append(ReplyAfterPersist(source, response, self.sequence))

    def refuse(self, source: Any, error: str) -> None:
        """Ask for an error to be sent as the answer."""
        self.actions.append(Reply(source, None, error))

    # --- commit and apply -----------------------------------------------------------

    def advance_commit(self, commit_index: int) -> None:
        """Note a higher commit index and go on applying."""
        if commit_index > self.log.commit_index:
            self.log.commit_index = commit_index
            self.configurations.commit(commit_index)
            self.apply_more()

    def skip_to(self, index: int) -> None:
        """Count everything up to an index as applied: a snapshot of it was restored."""
        self.log.commit_index = max(self.log.commit_index, index)
        self.configurations.commit(self.log.commit_index)
        self.log.applied_index = index
        self._applying = False
        self.apply_more()

    def use_snapshot(self, configuration: Configuration, index: int) -> None:
        """Put the configuration of a snapshot into force."""
        self.configurations.install(configuration, index)
        self.actions.append(ConfigurationChanged(configuration, index))

    def applied(self, index: int) -> None:
        """Note how far the state machine has come; go on."""
        self.log.applied_index = index
        self._applying = False
        self.apply_more()

    def apply_more(self) -> None:
        """Ask for the next committed entries to be applied, one batch at a time."""
        log = self.log
        first = log.applied_index + 1
        if self._applying or self.is_applying_held or first > log.commit_index:
            return
        last = min(log.commit_index, log.applied_index + APPLY_ENTRIES_MAX)
        self._applying = True
        self.actions.append(Apply(list(log.entries(first, last, APPLY_SIZE_MAX))))
