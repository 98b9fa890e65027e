"""Servers that this agent knows from gossip, and which of them is asked next.

The list is in an order of preference: calls go to its head, and a server that failed
goes to its end. From time to time the order is shuffled, so that load spreads over
servers that came later.
"""

import random
from collections.abc import Iterable
from typing import Final

from consultwist.gossip.consul import ServerTags, parse_server
from consultwist.gossip.serf.members import PoolMember

#: Rebalancing (rpc.md section 7.4): not more often than this, and in a large cluster
#: so seldom that each server sees so many agents a second.
_REBALANCE_MIN_S: Final = 120.0
_REBALANCE_SPREAD_S: Final = 60.0
_AGENTS_PER_SECOND: Final = 64


def servers_of(members: Iterable[PoolMember]) -> list[ServerTags]:
    """Return the servers among some members."""
    return [server for server in map(parse_server, members) if server is not None]


class ServerList:
    """The servers of one datacenter, in the order in which they are asked."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._servers: list[ServerTags] = []

    def __len__(self) -> int:
        """Count the servers."""
        return len(self._servers)

    def update(self, servers: Iterable[ServerTags]) -> None:
        """Take what is known now: the order of those that stay does not change.

        New ones come to a random place, so that agents do not all ask the same.
        """
        alive = {server.name: server for server in servers if server.is_alive}
        kept = [alive.pop(s.name) for s in self._servers if s.name in alive]
        for server in alive.values():
            kept.insert(self._rng.randrange(len(kept) + 1), server)
        self._servers = kept

    def first(self) -> ServerTags | None:
        """Return the server to ask, or None where none is known."""
        return self._servers[0] if self._servers else None

    def all(self) -> list[ServerTags]:
        """Return all servers in order."""
        return list(self._servers)

    def failed(self, server: ServerTags) -> None:
        """Put a server that failed to the end, unless another one is first by now."""
        if self._servers and self._servers[0].name == server.name:
            self._servers.append(self._servers.pop(0))

    def shuffled(self) -> list[ServerTags]:
        """Return the servers in a new order, which `prefer` may make the one in use."""
        return self._rng.sample(self._servers, len(self._servers))

    def prefer(self, order: list[ServerTags]) -> None:
        """Take an order; servers that came or went meanwhile stay so."""
        rank = {server.name: number for number, server in enumerate(order)}
        self._servers.sort(key=lambda server: rank.get(server.name, len(rank)))

    def rebalance_pause_s(self, members: int) -> float:
        """Return how long to wait until the next change of the order."""
        least_s = _REBALANCE_MIN_S + self._rng.random() * _REBALANCE_SPREAD_S
        return max(least_s, members / (_AGENTS_PER_SECOND * max(1, len(self))))
