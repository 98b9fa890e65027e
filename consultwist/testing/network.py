"""Network: what happens to packets and streams between simulated hosts.

Loss, delay, duplication and partitions are decided by one seeded source of randomness;
nothing else is random, so the same seed gives the same run.
"""

import random
from collections.abc import Callable
from typing import Any

import attrs

from consultwist.testing.clock import SimClock

Address = tuple[str, int]
PacketTaker = Callable[[bytes, Address], None]


@attrs.define
class Weather:
    """How packets fare.

    Attributes:
        loss: the share of packets that are lost.
        duplication: the share that come twice.
        delay_min_s: the shortest way.
        delay_max_s: the longest way.
    """

    loss: float = 0.0
    duplication: float = 0.0
    delay_min_s: float = 0.0002
    delay_max_s: float = 0.001


class Network:
    """Connects hosts by their addresses.

    Args:
        clock: the time of the world.
        rng: decides the fate of packets.
    """

    def __init__(self, clock: SimClock, rng: random.Random) -> None:
        self.clock = clock
        self.weather = Weather()
        self.packets_sent = 0
        self.bytes_sent = 0
        self.packets_lost = 0
        self._rng = rng
        #: Hosts that were plugged in, by address, for streams.
        self.hosts: dict[str, Any] = {}
        self._takers: dict[Address, PacketTaker] = {}
        self._groups: dict[str, int] = {}
        self._cuts: set[tuple[str, str]] = set()

    # --- topology ---------------------------------------------------------------

    def attach(self, address: Address, taker: PacketTaker) -> None:
        """Deliver packets for an address to a function."""
        self._takers[address] = taker

    def detach(self, address: Address) -> None:
        """Deliver nothing to an address any more."""
        self._takers.pop(address, None)

    def partition(self, *groups: list[str]) -> None:
        """Let hosts reach only those of their own group; the rest is a group, too."""
        self._groups = {
            host: number + 1 for number, group in enumerate(groups) for host in group
        }

    def cut(self, source: str, target: str) -> None:
        """Lose everything from one host to another; not the way back."""
        self._cuts.add((source, target))

    def heal(self) -> None:
        """End all partitions and cuts."""
        self._groups = {}
        self._cuts = set()

    def connects(self, source: str, target: str) -> bool:
        """Return whether packets can come through."""
        groups = self._groups
        if groups and groups.get(source, 0) != groups.get(target, 0):
            return False
        return not self._cuts or (source, target) not in self._cuts

    # --- traffic ----------------------------------------------------------------

    def delay_s(self) -> float:
        """Return how long one packet is under way."""
        weather = self.weather
        spread_s = weather.delay_max_s - weather.delay_min_s
        return weather.delay_min_s + spread_s * self._rng.random()

    def send(self, data: bytes, source: Address, target: Address) -> None:
        """Put a packet on its way."""
        self.packets_sent += 1
        self.bytes_sent += len(data)
        weather = self.weather
        if (weather.loss and self._rng.random() < weather.loss) or not self.connects(
            source[0], target[0]
        ):
            self.packets_lost += 1
            return
        now = self.clock.seconds()
        self.clock.at(now + self.delay_s(), self._deliver, data, source, target)
        if weather.duplication and self._rng.random() < weather.duplication:
            self.clock.at(now + self.delay_s(), self._deliver, data, source, target)

    def _deliver(self, data: bytes, source: Address, target: Address) -> None:
        taker = self._takers.get(target)
        if taker is not None:
            taker(data, source)

    def later(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function after one way through the network, for streams."""
        self.clock.at(self.clock.seconds() + self.delay_s(), function, *arguments)
