"""Which changes of the Raft configuration follow from the members of the LAN pool.

Pure decisions of a leader; `server.autopilot` makes the changes, one at a time. New
servers come in as non-voters, which autopilot promotes once they have proved stable.
Servers that left go; servers that failed stay, until autopilot finds that they may go.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs

from consultwist.gossip.consul import ServerTags
from consultwist.gossip.serf.members import MemberStatus
from consultwist.raft.configuration import Configuration, Server

#: The first Raft protocol with ids and non-voters.
_NONVOTER_PROTOCOL: Final = 3

#: With fewer servers a leader does not mend its own entry: it would have to remove
#: itself first, and nobody could take over.
_MEND_ITSELF_MIN: Final = 3


@attrs.frozen
class AddVoter:
    """A server comes in, or is promoted."""

    server_id: str
    address: str


@attrs.frozen
class AddNonvoter:
    """A server comes in without a vote."""

    server_id: str
    address: str


@attrs.frozen
class Remove:
    """A server goes."""

    server_id: str


Change = AddVoter | AddNonvoter | Remove


@attrs.frozen
class DeadServers:
    """Servers that may be removed.

    Attributes:
        failed: names of members that failed and are to be taken as left; they then
            leave Raft, too.
        unknown: servers of Raft whose address no member has.
    """

    failed: tuple[str, ...] = ()
    unknown: tuple[Server, ...] = ()


def next_change(
    configuration: Configuration,
    servers: Sequence[ServerTags],
    gone: Iterable[ServerTags],
    own_name: str,
) -> Change | None:
    """Return the first change that brings Raft closer to the pool, or None.

    Args:
        configuration: in force.
        servers: the members of the pool that are servers, in any status.
        gone: servers that were members and that the pool has forgotten.
        own_name: this leader's name.
    """
    for server in servers:
        if server.status == MemberStatus.ALIVE:
            change = _joined(configuration, server, servers, own_name)
        elif server.status == MemberStatus.LEFT:
            change = _left(configuration, server, own_name)
        else:
            change = None
        if change is not None:
            return change
    changes = (_left(configuration, server, own_name) for server in gone)
    return next((change for change in changes if change is not None), None)


def bootstrap_conflict(servers: Sequence[ServerTags]) -> tuple[str, ...]:
    """Return the names of the servers in bootstrap mode where there are several."""
    names = tuple(server.name for server in servers if server.is_bootstrap)
    return names if len(names) > 1 else ()


def _joined(
    configuration: Configuration,
    server: ServerTags,
    servers: Sequence[ServerTags],
    own_name: str,
) -> Change | None:
    if server.is_bootstrap and bootstrap_conflict(servers):
        return None
    is_self = server.name == own_name
    if is_self and len(configuration.servers) < _MEND_ITSELF_MIN:
        return None
    server_id, address = raft_id(server), server.address
    for entry in configuration.servers:
        if entry.id == server_id and entry.address == address:
            return None
        if server_id == entry.id or address == entry.address:
            return Remove(entry.id)
    alive = [each for each in servers if each.status == MemberStatus.ALIVE]
    if min(each.raft_version for each in alive) >= _NONVOTER_PROTOCOL:
        return AddNonvoter(server_id, address)
    return AddVoter(server_id, address)


def raft_id(server: ServerTags) -> str:
    """Return a server's id in Raft; before protocol 3 that is its address."""
    if server.raft_version < _NONVOTER_PROTOCOL or not server.id:
        return server.address
    return server.id


def _left(
    configuration: Configuration, server: ServerTags, own_name: str
) -> Change | None:
    # A leader that leaves is removed by the next one.
    if server.name == own_name:
        return None
    entry = configuration.find(raft_id(server)) or configuration.at(server.address)
    return None if entry is None else Remove(entry.id)


def find_dead(
    configuration: Configuration, servers: Sequence[ServerTags], min_quorum: int
) -> DeadServers:
    """Return the servers that may be removed because they are dead.

    Never so many that the rest would be no quorum, or fewer than `min_quorum`; but
    failed non-voters, which count for nothing, may always go.
    """
    unknown = {server.address: server for server in configuration.servers}
    failed: list[str] = []
    nonvoters: list[str] = []
    for member in servers:
        entry = unknown.pop(member.address, None)
        if member.status == MemberStatus.FAILED:
            is_nonvoter = entry is not None and not entry.is_voter
            (nonvoters if is_nonvoter else failed).append(member.name)
    voters = len(configuration.voters)
    count = len(failed) + len(unknown)
    if voters - count < min_quorum or count > (voters - 1) // 2:
        return DeadServers(tuple(nonvoters))
    return DeadServers((*nonvoters, *failed), tuple(unknown.values()))


def stable_nonvoters(
    configuration: Configuration, stable: Iterable[str]
) -> Iterator[AddVoter]:
    """Yield the promotions of the non-voters that are stable, by id."""
    ids = frozenset(stable)
    for server in configuration.servers:
        if not server.is_voter and server.id in ids:
            yield AddVoter(server.id, server.address)
