"""How servers are judged: by the pool, by what they tell, and since when."""

import attrs
import msgspec.structs
import pytest

from consultwist.gossip.serf.members import MemberStatus
from consultwist.raft.configuration import Configuration, Server
from consultwist.server.server_health import Round, judge, stable_ids, summarize
from consultwist.structs.operator import AutopilotConfig
from consultwist.structs.status import ServerStats
from consultwist.testing.servers import raft_servers
from consultwist.testing.servers import server_member as member

CONFIG = AutopilotConfig(last_contact_threshold=200_000_000, max_trailing_logs=250)
GOOD = ServerStats(last_contact="12.5ms", last_term=2, last_index=900)


def found(stats, *, now=100.0, members=None, nonvoters=()):
    """Return a round over the servers that `stats` names; server 1 leads."""
    numbers = sorted(stats)
    return Round(
        configuration=raft_servers(
            *(n for n in numbers if n not in nonvoters), nonvoters=nonvoters
        ),
        leader="10.0.0.1:8300",
        term=2,
        last_index=1000,
        members=[member(n) for n in numbers] if members is None else members,
        stats={f"id{n}": each for n, each in stats.items() if each is not None},
        config=CONFIG,
        now=now,
        wall=1_700_000_000.0 + now,
    )


def health_of(stats, **options):
    """Return how one server of the round stands."""
    return judge({}, found({1: stats}, **options))["id1"].health


def test_a_server_that_keeps_up_is_healthy():
    """All that is known of it is told."""
    health = health_of(GOOD)
    assert health.healthy
    assert (health.name, health.address) == ("n1", "10.0.0.1:8300")
    assert (health.version, health.serf_status) == ("1.8.7", 1)
    assert (health.last_contact, health.last_term) == (12_500_000, 2)
    assert (health.last_index, health.leader, health.voter) == (900, True, True)
    assert health.stable_since.wall() == 1_700_000_100.0


@pytest.mark.parametrize(
    ("changes", "is_healthy"),
    [
        ({"last_contact": "0"}, True),
        ({"last_contact": "200ms"}, True),
        ({"last_contact": "201ms"}, False),
        ({"last_contact": "never"}, False),
        ({"last_contact": "nonsense"}, False),
        ({"last_term": 1}, False),
        ({"last_term": 3}, False),
        ({"last_index": 750}, True),
        ({"last_index": 749}, False),
    ],
)
def test_a_server_that_does_not_keep_up_is_not_healthy(changes, is_healthy):
    """Contact, term and log each have their limit."""
    stats = msgspec.structs.replace(GOOD, **changes)
    assert health_of(stats).healthy == is_healthy


def test_a_server_that_never_heard_a_leader_shows_it():
    """There is no time since then; -1 stands for it."""
    stats = msgspec.structs.replace(GOOD, last_contact="never")
    assert health_of(stats).last_contact == -1


@pytest.mark.parametrize("status", [MemberStatus.FAILED, MemberStatus.LEAVING])
def test_who_is_not_alive_in_the_pool_is_not_healthy(status):
    """Whatever its Raft says."""
    health = health_of(GOOD, members=[member(1, status)])
    assert not health.healthy
    assert health.serf_status == status


def test_a_server_that_the_pool_does_not_know():
    """It has no name and no release."""
    health = health_of(GOOD, members=[])
    assert (health.healthy, health.name, health.version) == (False, "", "")
    assert health.serf_status == 0


def test_a_server_that_was_not_reached():
    """It has no time since which it is so."""
    health = health_of(None)
    assert not health.healthy
    assert health.last_contact == -1
    assert health.stable_since.is_zero


def test_stability_begins_anew_with_each_change():
    """Stable is who stays healthy from round to round."""
    bad = msgspec.structs.replace(GOOD, last_term=1)
    past = judge({}, found({1: GOOD}, now=100.0))
    past = judge(past, found({1: GOOD}, now=110.0))
    assert past["id1"].since == 100.0
    assert stable_ids(past, 110.0, 10.0) == ["id1"]
    assert stable_ids(past, 109.0, 10.0) == []
    past = judge(past, found({1: bad}, now=112.0))
    assert stable_ids(past, 200.0, 10.0) == []
    past = judge(past, found({1: GOOD}, now=114.0))
    assert past["id1"].since == 114.0
    assert past["id1"].health.stable_since.wall() == 1_700_000_114.0
    past = judge(past, found({1: None}, now=116.0))
    past = judge(past, found({1: bad}, now=118.0))
    assert past["id1"].since == 118.0


def test_a_server_that_is_gone_is_forgotten():
    """Should it come back, it must prove stable again."""
    past = judge({}, found({1: GOOD, 2: GOOD}))
    past = judge(past, found({1: GOOD}))
    assert list(past) == ["id1"]


@pytest.mark.parametrize(
    ("stats", "nonvoters", "healthy", "tolerance"),
    [
        ({1: GOOD}, (), True, 0),
        ({1: GOOD, 2: GOOD, 3: GOOD}, (), True, 1),
        ({1: GOOD, 2: GOOD, 3: None}, (), False, 0),
        ({1: GOOD, 2: None, 3: None}, (), False, 0),
        ({1: GOOD, 2: GOOD, 3: GOOD, 4: GOOD}, (4,), True, 1),
        ({1: GOOD, 2: GOOD, 3: GOOD, 4: None}, (4,), False, 1),
        ({}, (), False, 0),
    ],
)
def test_the_whole_tells_how_many_may_fail(stats, nonvoters, healthy, tolerance):
    """Only healthy voters beyond the quorum count."""
    reply = summarize(judge({}, found(stats, nonvoters=nonvoters)))
    assert (reply.healthy, reply.failure_tolerance) == (healthy, tolerance)
    assert [server.id for server in reply.servers or []] == [f"id{n}" for n in stats]


def test_a_server_of_an_old_protocol_goes_by_its_address():
    """There its id in Raft is the address."""
    old = attrs.evolve(member(1), raft_version=2)
    round_ = found({}, members=[old])
    address = old.address
    configuration = Configuration(servers=[Server(id=address, address=address)])
    round_ = attrs.evolve(round_, configuration=configuration, stats={address: GOOD})
    assert judge({}, round_)[address].health.name == "n1"
