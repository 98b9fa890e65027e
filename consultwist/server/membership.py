"""Membership: who is in this datacenter's LAN pool, as the server half sees it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from consultwist.gossip.serf.keys import KeySurvey
from consultwist.gossip.serf.members import PoolMember


class Membership(Protocol):
    """The members of the pool and word of their changes."""

    @property
    def has_wan(self) -> bool:
        """Whether this agent is a member of the WAN pool, too."""

    def members(self) -> Sequence[PoolMember]:
        """Return all members, this agent's own among them."""

    def fire_event(self, name: str, payload: bytes) -> None:
        """Tell all members something; raises where it is too large."""

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""

    def keyring(
        self, operation: str, key: bytes, relay_factor: int
    ) -> list[tuple[str, str, Deferred[KeySurvey]]]:
        """Change or list the keys of all members, pool by pool."""
