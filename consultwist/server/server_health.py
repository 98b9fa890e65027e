"""How the servers of Raft stand, judged by what they tell and what the pool knows.

Healthy is who is alive in the pool, hears the leader, is in its term and close behind
its log (autopilot's configuration says how close).
"""

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from consultwist import durations
from consultwist.gossip.consul import ServerTags
from consultwist.gossip.serf.members import MemberStatus
from consultwist.raft.configuration import Configuration, Server
from consultwist.server.raft_members import raft_id
from consultwist.structs.operator import (
    AutopilotConfig,
    OperatorHealthReply,
    ServerHealth,
)
from consultwist.structs.status import ServerStats
from consultwist.wire.time import ZERO_TIME, Time

#: Shown for a server that was not reached, or that never heard a leader.
_NO_CONTACT: Final = -1
_NEVER: Final = "never"


@attrs.frozen(kw_only=True)
class Round:
    """What one round of polling has brought, for all servers.

    Attributes:
        configuration: of Raft, in force.
        leader: the leader's address.
        term: the term of the last entry of the leader's log.
        last_index: the index of that entry, before the round.
        members: the servers of the LAN pool that have not left.
        stats: what servers answered, by id; those that did not are missing.
        config: says what healthy means.
        now: monotonic seconds.
        wall: seconds since the epoch.
    """

    configuration: Configuration
    leader: str
    term: int
    last_index: int
    members: Iterable[ServerTags]
    stats: Mapping[str, ServerStats]
    config: AutopilotConfig
    now: float
    wall: float


@attrs.frozen
class Standing:
    """One server's health and since when, in monotonic seconds, it is so."""

    health: ServerHealth
    since: float

    def goes_on(self, is_healthy: bool) -> bool:
        """Tell whether a server that was reached stands as it did before."""
        was_reached = not self.health.stable_since.is_zero
        return was_reached and self.health.healthy == is_healthy


def judge(past: Mapping[str, Standing], found: Round) -> dict[str, Standing]:
    """Return how each server of the configuration stands now, by id.

    Args:
        past: how they stood after the round before.
        found: what this round has brought.
    """
    members = {raft_id(member): member for member in found.members}
    return {
        server.id: _judge_one(
            past.get(server.id), server, members.get(server.id), found
        )
        for server in found.configuration.servers
    }


def stable_ids(
    standings: Mapping[str, Standing], now: float, stable_s: float
) -> list[str]:
    """Return the ids of the servers that have been healthy for so long."""
    return [
        server_id
        for server_id, standing in standings.items()
        if standing.health.healthy and now - standing.since >= stable_s
    ]


def summarize(standings: Mapping[str, Standing]) -> OperatorHealthReply:
    """Return the health of the whole: how many more voters may fail."""
    servers = [standing.health for standing in standings.values()]
    voters = [server for server in servers if server.voter]
    healthy_voters = sum(server.healthy for server in voters)
    quorum = len(voters) // 2 + 1
    return OperatorHealthReply(
        healthy=bool(servers) and all(server.healthy for server in servers),
        failure_tolerance=max(0, healthy_voters - quorum),
        servers=servers,
    )


def _judge_one(
    past: Standing | None, server: Server, member: ServerTags | None, found: Round
) -> Standing:
    stats = found.stats.get(server.id)
    contact = _contact_ns(stats)
    is_healthy = (
        member is not None
        and member.status == MemberStatus.ALIVE
        and stats is not None
        and _keeps_up(stats, contact, found)
    )
    since, since_wall = found.now, Time.from_wall(found.wall)
    if stats is None:
        since_wall = ZERO_TIME  # as a stock server tells of one it has not reached
    elif past is not None and past.goes_on(is_healthy):
        since, since_wall = past.since, past.health.stable_since
    health = ServerHealth(
        id=server.id,
        name="" if member is None else member.name,
        address=server.address,
        serf_status=MemberStatus.NONE if member is None else member.status,
        version="" if member is None else ".".join(map(str, member.build)),
        leader=server.address == found.leader,
        last_contact=contact,
        last_term=0 if stats is None else stats.last_term,
        last_index=0 if stats is None else stats.last_index,
        healthy=is_healthy,
        voter=server.is_voter,
        stable_since=since_wall,
    )
    return Standing(health, since)


def _contact_ns(stats: ServerStats | None) -> int:
    if stats is None or stats.last_contact == _NEVER:
        return _NO_CONTACT
    try:
        return durations.parse(stats.last_contact)
    except ValueError:
        return _NO_CONTACT


def _keeps_up(stats: ServerStats, contact: int, found: Round) -> bool:
    config = found.config
    return (
        0 <= contact <= config.last_contact_threshold
        and stats.last_term == found.term
        and stats.last_index >= found.last_index - config.max_trailing_logs
    )
