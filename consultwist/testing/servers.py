"""Servers by their numbers, as the gossip pool and as Raft know them."""

from collections.abc import Iterable
from typing import Any

import attrs

from consultwist.gossip.consul import ServerTags
from consultwist.gossip.serf.members import MemberStatus
from consultwist.raft.configuration import Configuration, Server, Suffrage


def server_member(
    number: int, status: MemberStatus = MemberStatus.ALIVE, **changes: Any
) -> ServerTags:
    """Return a server of the pool; its id and address follow from its number."""
    tags = ServerTags(
        name=f"n{number}",
        datacenter="dc1",
        segment="",
        id=f"id{number}",
        host=f"10.0.0.{number}",
        port=8300,
        build=(1, 8, 7),
        is_bootstrap=False,
        expect=0,
        is_voter=True,
        uses_tls=False,
        acls="0",
        raft_version=3,
        wan_join_port=0,
        status=status,
    )
    return attrs.evolve(tags, **changes)


def raft_servers(*voters: int, nonvoters: Iterable[int] = ()) -> Configuration:
    """Return a configuration of the same servers, voters first."""
    suffrages = [(number, Suffrage.VOTER) for number in voters]
    suffrages += [(number, Suffrage.NONVOTER) for number in nonvoters]
    return Configuration(
        servers=[
            Server(id=f"id{n}", address=f"10.0.0.{n}:8300", suffrage=suffrage)
            for n, suffrage in suffrages
        ]
    )
