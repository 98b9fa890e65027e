"""The servers of other datacenters, as the WAN pool tells them."""

import math
import random
from collections.abc import Sequence
from typing import Protocol

from consultwist.errors import DatacenterUnavailable, NoPathToDatacenter
from consultwist.gossip.consul import ServerTags
from consultwist.gossip.serf.coordinate import Coordinate, distance_s
from consultwist.gossip.serf.members import PoolMember
from consultwist.rpc.servers import ServerList, servers_of


class WANMembers(Protocol):
    """The WAN pool, as far as it matters here."""

    def wan_members(self) -> Sequence[PoolMember]:
        """Return its members; none where this server is not in it."""

    def wan_position(self, name: str) -> Coordinate | None:
        """Return where a member is, None where that is not known."""


class WANRoutes:
    """Finds servers by datacenter."""

    def __init__(
        self, members: WANMembers, rng: random.Random, datacenter: str, own_name: str
    ) -> None:
        self._members = members
        self._rng = rng
        self._datacenter = datacenter
        self._own_name = own_name
        self._lists: dict[str, ServerList] = {}

    def find(self, datacenter: str) -> ServerTags:
        """Return the server of a datacenter to ask.

        Raises:
            NoPathToDatacenter: where none of its servers was ever seen.
            DatacenterUnavailable: where all have failed.
        """
        known = self.servers(datacenter)
        if not known:
            self._lists.pop(datacenter, None)
            raise NoPathToDatacenter
        servers = self._lists.setdefault(datacenter, ServerList(self._rng))
        servers.update(known)
        first = servers.first()
        if first is None:
            raise DatacenterUnavailable
        return first

    def failed(self, server: ServerTags) -> None:
        """Note that a server did not answer well; another one is asked next."""
        servers = self._lists.get(server.datacenter)
        if servers is not None:
            servers.failed(server)

    def servers(self, datacenter: str) -> list[ServerTags]:
        """Return the known servers of a datacenter, failed ones too."""
        known = servers_of(self._members.wan_members())
        return [server for server in known if server.datacenter == datacenter]

    def datacenters(self) -> list[str]:
        """Return all known datacenters, the nearest first, this one among them."""
        distances: dict[str, list[float]] = {self._datacenter: [0.0]}
        for server in servers_of(self._members.wan_members()):
            if server.datacenter != self._datacenter:
                found = distances.setdefault(server.datacenter, [])
                found.append(self._distance_s(server))
        return sorted(distances, key=lambda name: (_median(distances[name]), name))

    def position(self, server: ServerTags) -> Coordinate | None:
        """Return where a server is in the network, None where that is not known."""
        return self._members.wan_position(server.name)

    def _distance_s(self, server: ServerTags) -> float:
        here = self._members.wan_position(self._own_name)
        there = self.position(server)
        return math.inf if here is None or there is None else distance_s(here, there)


def _median(distances: list[float]) -> float:
    return sorted(distances)[len(distances) // 2]
