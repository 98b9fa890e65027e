"""Times and sizes of Raft."""

import pytest

from consultwist.errors import ConfigError
from consultwist.raft.settings import RaftSettings


def test_the_multiplier_scales_what_depends_on_the_network() -> None:
    """The defaults are those of Consul."""
    scaled = RaftSettings.scaled(5)
    assert scaled.heartbeat_timeout_s == scaled.election_timeout_s == 5.0
    assert scaled.leader_lease_timeout_s == 2.5
    assert scaled.commit_timeout_s == RaftSettings().commit_timeout_s == 0.05


@pytest.mark.parametrize(
    ("lease_s", "heartbeat_s", "election_s"),
    [(2.0, 1.0, 1.0), (0.5, 2.0, 1.0), (0.001, 1.0, 1.0)],
)
def test_timeouts_that_cannot_work_are_refused(
    lease_s: float, heartbeat_s: float, election_s: float
) -> None:
    """A lease must end before a follower gives its leader up."""
    with pytest.raises(ConfigError, match="lease"):
        RaftSettings(
            leader_lease_timeout_s=lease_s,
            heartbeat_timeout_s=heartbeat_s,
            election_timeout_s=election_s,
        )
