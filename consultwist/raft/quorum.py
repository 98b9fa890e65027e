"""Majority arithmetic, pure.

A majority of voters is more than half of them: any two majorities share a server,
which is what every safety argument of Raft rests on.
"""

from collections.abc import Iterable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def majority(voters: int) -> int:
    """Return how many of so many voters are more than half."""
    return voters // 2 + 1


def reached(values: Iterable[Number]) -> Number:
    """Return the greatest value that a majority has reached.

    With the matching index of each voter this is what is stored on a quorum; with the
    time of each voter's last answer it is since when a quorum is known to follow.

    Args:
        values: one for each voter, at least one.
    """
    ordered = sorted(values, reverse=True)
    return ordered[majority(len(ordered)) - 1]


def is_won(granted: int, voters: int) -> bool:
    """Tell whether so many grants elect a leader; nobody is elected by no voters."""
    return voters > 0 and granted >= majority(voters)
