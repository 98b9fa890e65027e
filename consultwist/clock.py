"""Time as an argument: nothing else in the package asks the system for it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a component gets its time from."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards; for intervals."""

    def wall(self) -> float:
        """Return seconds since the Unix epoch; only for what users see."""


class SystemClock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the wall time in seconds since the epoch."""
        return time.time()
