"""Membership: who is in this datacenter's LAN pool, as the server half sees it."""

from collections.abc import Callable, Sequence
from typing import Protocol


class Member(Protocol):
    """One member of the pool."""

    @property
    def name(self) -> str:
        """The member's name, which is its node's."""

    @property
    def host(self) -> str:
        """The address that others dial."""

    @property
    def tags(self) -> dict[str, str]:
        """What the member tells about itself."""

    @property
    def status(self) -> str:
        """One of ``alive``, ``leaving``, ``left``, ``failed``."""


class Membership(Protocol):
    """The members of the pool and word of their changes."""

    def members(self) -> Sequence[Member]:
        """Return all members, this agent's own among them."""

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after members changed; returns what ends that."""
