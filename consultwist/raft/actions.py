"""What the Raft core asks its driver for.

The driver performs actions in the order in which they come. Writes are numbered:
``sequence`` grows by one with each, and the driver reports back with
``Raft.persisted(sequence)`` what is durable. What must wait for the disk is an action
of its own (`SendAfterPersist`, `ReplyAfterPersist`), so that no driver can get the
order wrong.
"""

import enum
from typing import Any

import attrs

from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.messages import Entry, InstallSnapshot, Message, Request


class RoleName(enum.Enum):
    """The roles of the paper; the texts are those of ``consul info``."""

    FOLLOWER = "Follower"
    CANDIDATE = "Candidate"
    LEADER = "Leader"


@attrs.frozen
class PersistState:
    """Write the term and the vote of that term, durably."""

    sequence: int
    term: int
    vote: str

    def describe(self) -> str:
        """Return one line for traces."""
        return f"persist #{self.sequence} term={self.term} vote={self.vote or '-'}"


@attrs.frozen
class PersistEntries:
    """Append entries to the log, durably, with the commit index known so far."""

    sequence: int
    entries: list[Entry]
    commit_index: int

    def describe(self) -> str:
        """Return one line for traces."""
        entries = ", ".join(entry.describe() for entry in self.entries)
        return f"persist #{self.sequence} entries [{entries}]"


@attrs.frozen
class TruncateLog:
    """Remove the entries above an index, durably."""

    sequence: int
    last_index: int

    def describe(self) -> str:
        """Return one line for traces."""
        return f"persist #{self.sequence} truncate after {self.last_index}"


@attrs.frozen
class ResetLog:
    """Forget all entries; the next one appended has the given index.

    The durable snapshot reaches up to the index before.
    """

    sequence: int
    next_index: int

    def describe(self) -> str:
        """Return one line for traces."""
        return f"persist #{self.sequence} reset, next {self.next_index}"


@attrs.frozen
class CompactLog:
    """Drop entries up to an index, which a durable snapshot covers."""

    sequence: int
    last_index: int

    def describe(self) -> str:
        """Return one line for traces."""
        return f"persist #{self.sequence} compact through {self.last_index}"


Write = PersistState | PersistEntries | TruncateLog | ResetLog | CompactLog


@attrs.frozen
class Send:
    """Send a request to a peer; report the outcome under the ticket."""

    ticket: int
    peer: Server
    request: Request

    def describe(self) -> str:
        """Return one line for traces."""
        return f"send {self.peer.id} <- {self.request.describe()}"


@attrs.frozen
class SendAfterPersist:
    """Send a request to a peer once all writes asked for before are durable."""

    ticket: int
    peer: Server
    request: Request
    sequence: int

    def describe(self) -> str:
        """Return one line for traces."""
        return (
            f"send after #{self.sequence} {self.peer.id} <- {self.request.describe()}"
        )


@attrs.frozen
class SendSnapshot:
    """Send a peer a snapshot from disk; report the outcome under the ticket.

    The driver completes the request: configuration, peers and size are the snapshot's.
    """

    ticket: int
    peer: Server
    request: InstallSnapshot

    def describe(self) -> str:
        """Return one line for traces."""
        return f"send {self.peer.id} <- {self.request.describe()}"


@attrs.frozen
class Reply:
    """Answer a request; `source` is what the request came with."""

    source: Any
    response: Message | None
    error: str = ""

    def describe(self) -> str:
        """Return one line for traces."""
        return f"reply {_answer(self.response, self.error)}"


@attrs.frozen
class ReplyAfterPersist:
    """Answer a request once all writes asked for before are durable."""

    source: Any
    response: Message
    sequence: int

    def describe(self) -> str:
        """Return one line for traces."""
        return f"reply after #{self.sequence} {_answer(self.response, '')}"


def _answer(response: Message | None, error: str) -> str:
    if response is None:
        return f"error {error!r}"
    return response.describe()


@attrs.frozen
class Apply:
    """Hand committed entries to the state machine, then call ``Raft.applied``."""

    entries: list[Entry]

    def describe(self) -> str:
        """Return one line for traces."""
        return "apply [" + ", ".join(entry.describe() for entry in self.entries) + "]"


@attrs.frozen
class RestoreSnapshot:
    """Put a received snapshot, which is complete, in place of the state.

    Then call ``Raft.snapshot_installed``, which also answers the leader. A received
    snapshot whose `source` gets a Reply without this before is not wanted.
    """

    source: Any
    request: InstallSnapshot
    configuration: Configuration

    def describe(self) -> str:
        """Return one line for traces."""
        request = self.request
        return f"restore snapshot {request.last_log_index}/{request.last_log_term}"


@attrs.frozen
class TakeSnapshot:
    """Enough was applied since the last snapshot: take one."""

    def describe(self) -> str:
        """Return one line for traces."""
        return "take snapshot"


@attrs.frozen
class RoleChanged:
    """This server's role, its term, or the leader that it knows, changed."""

    role: RoleName
    term: int
    leader: str

    def describe(self) -> str:
        """Return one line for traces."""
        role = self.role.value.lower()
        return f"role {role} term={self.term} leader={self.leader or '-'}"


@attrs.frozen
class ConfigurationChanged:
    """Another configuration is in force."""

    configuration: Configuration
    index: int

    def describe(self) -> str:
        """Return one line for traces."""
        servers = ", ".join(
            f"{server.id}{'' if server.is_voter else ' (non-voter)'}"
            for server in self.configuration.servers
        )
        return f"configuration {self.index}: {servers}"


@attrs.frozen
class LeaderVerified:
    """A quorum confirmed, after they were asked, that this server leads."""

    requests: list[int]

    def describe(self) -> str:
        """Return one line for traces."""
        return f"verified {self.requests}"


@attrs.frozen
class TransferEnded:
    """A leadership transfer came to its end; `error` is empty if it succeeded."""

    error: str

    def describe(self) -> str:
        """Return one line for traces."""
        return f"transfer ended {self.error!r}"


Action = (
    PersistState
    | PersistEntries
    | TruncateLog
    | ResetLog
    | CompactLog
    | Send
    | SendAfterPersist
    | SendSnapshot
    | Reply
    | ReplyAfterPersist
    | Apply
    | RestoreSnapshot
    | TakeSnapshot
    | RoleChanged
    | ConfigurationChanged
    | LeaderVerified
    | TransferEnded
)
