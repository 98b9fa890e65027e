"""Membership: who is in this datacenter's LAN pool, as the server half sees it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from consultwist.gossip.serf.members import PoolMember


class Membership(Protocol):
    """The members of the pool and word of their changes."""

    def members(self) -> Sequence[PoolMember]:
        """Return all members, this agent's own among them."""

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""
