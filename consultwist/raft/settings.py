"""Times and sizes of Raft, with the defaults of Consul 1.8.7."""

from typing import Final, Self

import attrs

from consultwist.errors import ConfigError

#: The version of the Raft protocol that is spoken, and the range that is understood.
PROTOCOL_VERSION: Final = 3
PROTOCOL_VERSION_MIN: Final = 2

#: The version of the snapshot format in messages and metadata.
SNAPSHOT_VERSION: Final = 1

#: No timeout may be shorter (the check of the library that Consul uses).
_TIMEOUT_MIN_S: Final = 0.005


@attrs.frozen(kw_only=True)
class RaftSettings:
    """Times and sizes; a multiplier scales those that depend on the network.

    Attributes:
        heartbeat_timeout_s: how long a follower waits for its leader.
        election_timeout_s: how long a candidate waits for votes.
        leader_lease_timeout_s: how long a leader lasts without a quorum's answers.
        commit_timeout_s: how soon an idle follower is told of a new commit index.
        append_entries_max: entries in one AppendEntries.
        in_flight_max: unanswered AppendEntries to one follower.
        snapshot_interval_s: how often it is looked whether to take a snapshot.
        snapshot_threshold: entries since the last one that make a snapshot due.
        trailing_logs: entries kept behind a snapshot, for slow followers.
    """

    heartbeat_timeout_s: float = 1.0
    election_timeout_s: float = 1.0
    leader_lease_timeout_s: float = 0.5
    commit_timeout_s: float = 0.05
    append_entries_max: int = 64
    in_flight_max: int = 2
    snapshot_interval_s: float = 30.0
    snapshot_threshold: int = 16384
    trailing_logs: int = 10240

    def __attrs_post_init__(self) -> None:
        lease, heartbeat = self.leader_lease_timeout_s, self.heartbeat_timeout_s
        if not _TIMEOUT_MIN_S <= lease <= heartbeat <= self.election_timeout_s:
            raise ConfigError(
                "raft: the leader lease timeout must not exceed the heartbeat timeout, "
                "nor that the election timeout, and all be at least 5ms"
            )

    @classmethod
    def scaled(cls, multiplier: float) -> Self:
        """Return the defaults under ``performance.raft_multiplier``."""
        return cls(
            heartbeat_timeout_s=1.0 * multiplier,
            election_timeout_s=1.0 * multiplier,
            leader_lease_timeout_s=0.5 * multiplier,
        )
