"""Membership: who is in this datacenter's LAN pool, as the server half sees it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from consultwist.gossip.serf.coordinate import Coordinate
from consultwist.gossip.serf.keys import KeySurvey
from consultwist.gossip.serf.members import PoolMember


class Membership(Protocol):
    """The members of the pool and word of their changes."""

    @property
    def has_wan(self) -> bool:
        """Whether this agent is a member of the WAN pool, too."""

    def members(self) -> Sequence[PoolMember]:
        """Return all members, this agent's own among them."""

    def wan_members(self) -> Sequence[PoolMember]:
        """Return the members of the WAN pool; none where this agent is not in it."""

    def wan_position(self, name: str) -> Coordinate | None:
        """Return where a member of the WAN pool is, None where that is not known."""

    def fire_event(self, name: str, payload: bytes) -> None:
        """Tell all members something; raises where it is too large."""

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""

    def force_leave(self, name: str) -> None:
        """Have a failed member taken as left, in all pools; raises for an unknown."""

    def keyring(
        self, operation: str, key: bytes, relay_factor: int
    ) -> list[tuple[str, str, Deferred[KeySurvey]]]:
        """Change or list the keys of all members, pool by pool."""
