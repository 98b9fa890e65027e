"""Majority arithmetic against brute force."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from consultwist.raft import quorum

SERVERS = st.lists(st.integers(0, 20), min_size=1, max_size=7)


@given(values=SERVERS)
def test_what_is_reached_is_the_best_that_some_majority_has(values: list[int]) -> None:
    """Over all majorities, the greatest of what all in it have."""
    least = len(values) // 2 + 1
    best = max(
        min(chosen)
        for size in range(least, len(values) + 1)
        for chosen in combinations(values, size)
    )
    assert quorum.reached(values) == best


@given(values=SERVERS, index=st.integers(0, 20))
def test_any_two_majorities_share_a_server(values: list[int], index: int) -> None:
    """An index is reached exactly when more than half have it."""
    have = sum(1 for value in values if value >= index)
    assert (quorum.reached(values) >= index) == (have > len(values) / 2)


@given(voters=st.integers(0, 9), granted=st.integers(0, 9))
def test_an_election_is_won_by_more_than_half(voters: int, granted: int) -> None:
    """And by nobody where there are no voters."""
    assert quorum.is_won(granted, voters) == (voters > 0 and granted * 2 > voters)
