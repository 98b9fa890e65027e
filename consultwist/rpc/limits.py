"""Limits: how many requests an agent sends, how many connections a client may have."""

import math
from typing import Final

from consultwist.clock import Clock

#: Sources with connections that are counted; each has at least one connection, so
#: that file descriptors end long before.
_SOURCES_MAX: Final = 65536


class RateLimit:
    """A bucket of tokens: so many calls a second on average, a burst at once."""

    def __init__(self, clock: Clock, rate: float, burst: int) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._then = clock.monotonic()

    def set(self, rate: float, burst: int) -> None:
        """Take other limits, after a reload."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = min(self._tokens, self._burst)

    def allows(self) -> bool:
        """Take a token; False where there is none."""
        if math.isinf(self._rate) or self._rate < 0:
            return True
        now = self._clock.monotonic()
        gained = (now - self._then) * self._rate
        self._tokens = min(self._burst, self._tokens + gained)
        self._then = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def reserve(self) -> float:
        """Take a token, if need be one to come; returns in how many seconds it does."""
        if self.allows():
            return 0.0
        self._tokens -= 1
        return -self._tokens / self._rate


class ConnectionLimit:
    """Counts the connections of each source address.

    Attributes:
        most: how many one source may have; 0 for any number.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._counts: dict[str, int] = {}

    def enter(self, source: str) -> bool:
        """Count a connection; False where it is one too many."""
        count = self._counts.get(source, 0)
        if self.most and count >= self.most:
            return False
        if not count and len(self._counts) >= _SOURCES_MAX:
            return False
        self._counts[source] = count + 1
        return True

    def leave(self, source: str) -> None:
        """Note that a counted connection is gone."""
        left = self._counts.get(source, 0) - 1
        if left > 0:
            self._counts[source] = left
        else:
            self._counts.pop(source, None)
