"""The leader's view of one peer."""

import enum
import math
from typing import Final

import attrs

from consultwist.raft.configuration import Server

#: After failures the next try waits so long, doubling from the third failure on, up to
#: a twelfth (raft.md section 4: at most 10.24 s).
_BACKOFF_S: Final = 0.01
_BACKOFF_ROUNDS_MAX: Final = 12


class Mode(enum.Enum):
    """How entries are sent to a peer."""

    PROBE = "probe"  # where its log agrees is not known: one request at a time
    REPLICATE = "replicate"  # entries are sent before the earlier ones are answered
    SNAPSHOT = "snapshot"  # it needs entries that are gone: a snapshot is under way


@attrs.define
class Progress:
    """How far a peer is, and what is under way to it.

    Attributes:
        server: the peer in the present configuration.
        next: the index of the next entry to send.
        match: everything up to here is durable on the peer.
        mode: how entries are sent.
        in_flight: unanswered AppendEntries with entries or commit index.
        epoch: answers to requests of an earlier epoch do not move `next`.
        acked_at: when the newest request was sent that the peer answered.
        heard_at: when the peer answered last.
        verified_round: the newest verification that it confirmed.
        is_heartbeat_in_flight: whether a heartbeat is unanswered.
        failures: tries since the last success.
        retry_at: nothing is sent before, but heartbeats.
        told_commit: the commit index that the peer was told.
        leaving_at: the entry that removes the peer; it is told, then forgotten.
    """

    server: Server
    next: int
    match: int = 0
    mode: Mode = Mode.PROBE
    in_flight: int = 0
    epoch: int = 0
    acked_at: float = -math.inf
    heard_at: float = -math.inf
    verified_round: int = 0
    is_heartbeat_in_flight: bool = False
    failures: int = 0
    retry_at: float = 0.0
    told_commit: int = 0
    leaving_at: int = 0

    def answered(self, sent_at: float, now: float) -> None:
        """Note that the peer follows, as of when the request was sent."""
        self.acked_at = max(self.acked_at, sent_at)
        self.heard_at = now

    def succeeded(self) -> None:
        """Forget failures: the peer took what it was sent."""
        self.failures = 0
        self.retry_at = 0.0

    def failed(self, now: float) -> None:
        """Count a failure; the next try waits the longer the more there were."""
        self.failures += 1
        doublings = max(0, min(self.failures, _BACKOFF_ROUNDS_MAX) - 2)
        self.retry_at = now + _BACKOFF_S * 2**doublings

    def probe_from(self, index: int) -> None:
        """Leave what is under way alone and find anew where the logs agree."""
        self.mode = Mode.PROBE
        self.next = index
        self.in_flight = 0
        self.told_commit = 0
        self.epoch += 1

    def matched(self, index: int) -> None:
        """Note what the peer has; send the next entries without waiting."""
        self.match = max(self.match, index)
        self.next = max(self.next, index + 1)
        self.mode = Mode.REPLICATE

    @property
    def is_waiting(self) -> bool:
        """Tell whether nothing is under way because of failures."""
        is_idle = not self.in_flight and self.mode is not Mode.SNAPSHOT
        return is_idle and self.retry_at > 0

    @property
    def has_left(self) -> bool:
        """Tell whether the peer was removed and knows it."""
        return 0 < self.leaving_at <= min(self.match, self.told_commit)

    def describe(self) -> str:
        """Return one line for traces."""
        return (
            f"{self.server.id}: {self.mode.value} match={self.match} next={self.next} "
            f"in_flight={self.in_flight}"
        )
