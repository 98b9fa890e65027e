"""Voters and non-voters."""

import pytest

from consultwist.errors import BadRequest
from consultwist.raft.configuration import (
    Configuration,
    Configurations,
    Server,
    Suffrage,
)

A, B = Server(id="a", address="1:1"), Server(id="b", address="2:1")
C = Server(id="c", address="3:1", suffrage=Suffrage.NONVOTER)


def test_a_nonvoter_becomes_a_voter_in_its_place() -> None:
    """The order of the servers stays."""
    changed = Configuration.of([A, C, B]).with_voter("c", "3:1")
    assert [(s.id, s.is_voter) for s in changed.servers] == [
        ("a", True),
        ("c", True),
        ("b", True),
    ]


def test_a_voter_keeps_its_vote_when_it_is_added_as_nonvoter() -> None:
    """Only its address is brought up to date."""
    changed = Configuration.of([A, B]).with_nonvoter("b", "2:2")
    assert changed.find("b") == Server(id="b", address="2:2")


def test_a_demoted_server_stays_without_a_vote() -> None:
    """Demoting one that is not there changes nothing."""
    both = Configuration.of([A, B])
    assert not both.demoted("b").has_vote("b")
    assert both.demoted("x") == both


@pytest.mark.parametrize(
    ("servers", "text"),
    [
        ([Server(id="", address="1:1")], "empty id"),
        ([Server(id="a", address="")], "empty address"),
        ([A, Server(id="a", address="9:1")], "duplicate id"),
        ([A, Server(id="z", address="1:1")], "duplicate address"),
        ([C], "at least one voter"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    servers: list[Server], text: str
) -> None:
    """The text says what is wrong."""
    with pytest.raises(BadRequest, match=text):
        Configuration.of(servers)


def test_the_last_voter_cannot_be_removed() -> None:
    """Nobody could ever change anything again."""
    with pytest.raises(BadRequest):
        Configuration.of([A, C]).without("a")


def test_a_truncated_configuration_falls_back_to_the_committed_one() -> None:
    """The latest is in force at once, but only as long as its entry stays."""
    configurations = Configurations()
    one, two = Configuration.of([A]), Configuration.of([A, B])
    configurations.append(one, 1)
    configurations.append(two, 5)
    assert (configurations.latest, configurations.committed) == (two, one)
    configurations.truncate(4)
    assert (configurations.latest, configurations.latest_index) == (one, 1)


def test_a_configuration_is_committed_with_its_entry() -> None:
    """Not before."""
    configurations = Configurations()
    configurations.append(Configuration.of([A]), 3)
    assert not configurations.commit(2)
    assert configurations.commit(3)
    assert configurations.committed_index == 3
