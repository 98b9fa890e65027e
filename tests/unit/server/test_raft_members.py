"""Which changes of the Raft configuration follow from the members of the pool."""

import pytest

from consultwist.gossip.serf.members import MemberStatus
from consultwist.server.raft_members import (
    AddNonvoter,
    AddVoter,
    DeadServers,
    Remove,
    bootstrap_conflict,
    find_dead,
    next_change,
    stable_nonvoters,
)
from consultwist.testing.servers import raft_servers as raft
from consultwist.testing.servers import server_member as member

ALIVE, LEFT, FAILED = MemberStatus.ALIVE, MemberStatus.LEFT, MemberStatus.FAILED


def change(configuration, members, gone=()):
    """Return the next change that server 1 makes as the leader."""
    return next_change(configuration, members, gone, "n1")


def test_nothing_changes_where_pool_and_raft_agree():
    """Also failed members stay."""
    members = [member(1), member(2), member(3, FAILED)]
    assert change(raft(1, 2, 3), members) is None


def test_a_new_server_comes_in_without_a_vote():
    """Autopilot gives it one when it has proved stable."""
    assert change(raft(1), [member(1), member(2)]) == AddNonvoter(
        "id2", "10.0.0.2:8300"
    )


def test_among_older_servers_a_new_one_votes_at_once():
    """They do not know servers without a vote; before ids addresses stood for them."""
    old = member(2, raft_version=2)
    assert change(raft(1), [member(1), old]) == AddVoter(
        "10.0.0.2:8300", "10.0.0.2:8300"
    )
    assert change(raft(1, 2), [member(1), member(3), member(4, raft_version=2)]) == (
        AddVoter("id3", "10.0.0.3:8300")
    )


@pytest.mark.parametrize("changes", [{"id": "other"}, {"host": "10.9.9.9"}])
def test_a_server_with_a_new_id_or_address_is_first_removed(changes):
    """Two entries with one id or one address must not be."""
    moved = member(2, **changes)
    assert change(raft(1, 2), [member(1), moved]) == Remove("id2")


def test_the_leader_mends_its_own_entry_only_among_three():
    """It would step down, and somebody must take over."""
    moved = member(1, host="10.9.9.9")
    assert change(raft(1, 2), [moved, member(2)]) is None
    others = [member(2), member(3)]
    assert change(raft(1, 2, 3), [moved, *others]) == Remove("id1")


def test_a_server_that_left_is_removed():
    """By its id, or by its address where that is all there is."""
    assert change(raft(1, 2), [member(1), member(2, LEFT)]) == Remove("id2")
    assert change(raft(1, 2), [member(1), member(2, LEFT, id="x")]) == Remove("id2")


def test_a_server_that_the_pool_has_forgotten_is_removed():
    """As one that left."""
    assert change(raft(1, 2), [member(1)], [member(2)]) == Remove("id2")
    assert change(raft(1), [member(1)], [member(2)]) is None


def test_a_leader_that_leaves_does_not_remove_itself():
    """The next leader does."""
    assert change(raft(1, 2), [member(1, LEFT), member(2)]) is None


def test_a_second_server_in_bootstrap_mode_stays_out():
    """Each may have begun a cluster of its own."""
    members = [member(1, is_bootstrap=True), member(2, is_bootstrap=True)]
    assert bootstrap_conflict(members) == ("n1", "n2")
    assert bootstrap_conflict(members[:1]) == ()
    assert change(raft(1), members) is None


def test_failed_servers_are_removed_while_a_quorum_is_left():
    """Of five two may go, three may not."""
    members = [member(n, FAILED if n > 3 else ALIVE) for n in range(1, 6)]
    assert find_dead(raft(1, 2, 3, 4, 5), members, 0) == DeadServers(("n4", "n5"))
    members = [member(n, FAILED if n > 2 else ALIVE) for n in range(1, 6)]
    assert find_dead(raft(1, 2, 3, 4, 5), members, 0) == DeadServers()


def test_servers_of_raft_that_no_member_is_are_dead():
    """They are removed from Raft directly."""
    dead = find_dead(raft(1, 2, 3), [member(1), member(2)], 0)
    assert [server.id for server in dead.unknown] == ["id3"]
    assert dead.failed == ()


def test_failed_and_unknown_servers_count_together():
    """One of each of three are too many."""
    dead = find_dead(raft(1, 2, 3), [member(1), member(2, FAILED)], 0)
    assert dead == DeadServers()


def test_as_many_servers_stay_as_the_configuration_says():
    """The least number is that of voters."""
    members = [member(1), member(2), member(3), member(4, FAILED)]
    assert find_dead(raft(1, 2, 3, 4), members, 4) == DeadServers()
    assert find_dead(raft(1, 2, 3, 4), members, 3) == DeadServers(("n4",))


def test_failed_servers_without_a_vote_always_go():
    """They count for nothing."""
    members = [member(1), member(2, FAILED), member(3, FAILED)]
    assert find_dead(raft(1, 2, nonvoters=[3]), members, 2) == DeadServers(("n3",))


def test_stable_servers_without_a_vote_are_promoted():
    """Voters need nothing, and unknown ids mean nothing."""
    promoted = stable_nonvoters(raft(1, nonvoters=[2, 3]), ["id1", "id3", "id9"])
    assert list(promoted) == [AddVoter("id3", "10.0.0.3:8300")]
