"""Coordinates that agents told the leader, on their way into the log in batches.

Every agent tells its coordinate every few seconds to minutes; an entry for each would
drown the log. The leader keeps the newest one of each node and segment and proposes
them every period. What is pending is lost with the leadership, and told again.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.structs.coordinate import Coordinate, CoordinateBatch

#: Proposes one batch.
Propose = Callable[[CoordinateBatch], Deferred[Any]]


@attrs.frozen(kw_only=True)
class Pace:
    """How much goes into the log.

    Attributes:
        period_s: how often (Consul: 5 s).
        batch_size: how many coordinates one entry holds (Consul: 128).
        batches_max: how many entries a period has; more is dropped (Consul: 5).
    """

    period_s: float
    batch_size: int
    batches_max: int

    @property
    def pending_max(self) -> int:
        """How many coordinates a period has."""
        return self.batch_size * self.batches_max


#: Until the first start nothing is kept.
_STANDSTILL: Final = Pace(period_s=0.0, batch_size=0, batches_max=0)


class CoordinateUpdates:
    """The newest coordinate of each node that told one since the last batch.

    Idle until `start`; between `stop` and `start` nothing is kept.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._pace = _STANDSTILL
        self._propose: Propose | None = None
        self._pending: dict[tuple[str, str], Coordinate] = {}
        self._dropped = 0
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return how many coordinates wait for the next batch."""
        return len(self._pending)

    def start(self, propose: Propose, pace: Pace) -> None:
        """Begin to propose batches, at a pace."""
        self._propose = propose
        self._pace = pace

    def stop(self) -> None:
        """Forget what is pending."""
        self._propose = None
        self._pace = _STANDSTILL
        self._pending.clear()
        self._dropped = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, coordinate: Coordinate) -> None:
        """Take a coordinate in place of an older one of the same node and segment."""
        key = (coordinate.node, coordinate.segment)
        if key not in self._pending and len(self._pending) >= self._pace.pending_max:
            self._dropped += 1
            return
        self._pending[key] = coordinate
        # A timer only while something is pending: an idle leader does not wake for it.
        if self._timer is None:
            self._timer = self._reactor.callLater(self._pace.period_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        assert self._propose is not None
        if self._dropped:
            self.log.warn("Discarded coordinate updates: {count}", count=self._dropped)
            self._dropped = 0
        pending, self._pending = list(self._pending.values()), {}
        size = self._pace.batch_size
        for at in range(0, len(pending), size):
            batch = CoordinateBatch(coordinates=pending[at : at + size])
            self._propose(batch).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self.log.warn(
            "failed to store coordinates: {error}", error=failure.getErrorMessage()
        )
