"""Series: one name with labels, and what was observed of it in the current interval."""

import math
from collections.abc import Callable, Mapping

import attrs

#: What passes an observation on: a method of a sink.
Send = Callable[[str, float, Mapping[str, str]], None]

NO_LABELS: Mapping[str, str] = {}


@attrs.frozen
class Aggregate:
    """What was observed of a counter or a sample in one interval."""

    name: str
    labels: Mapping[str, str]
    count: int
    sum: float
    sum_sq: float
    min: float
    max: float

    @property
    def mean(self) -> float:
        """The average of the observations."""
        return self.sum / self.count if self.count else 0.0

    @property
    def stddev(self) -> float:
        """The standard deviation of the observations, as of a sample."""
        if self.count < 2:
            return 0.0
        spread = self.count * self.sum_sq - self.sum**2
        return math.sqrt(max(spread, 0.0) / (self.count * (self.count - 1)))


class Series:
    """A counter or a sample.

    Hot paths keep the series itself and call `add`, which asks nobody for the time and
    looks nothing up.
    """

    __slots__ = ("_count", "_max", "_min", "_sum", "_sum_sq", "labels", "name", "sends")

    def __init__(self, name: str, labels: Mapping[str, str] = NO_LABELS) -> None:
        self.name = name
        self.labels = labels
        #: Where each observation goes, besides the aggregate.
        self.sends: tuple[Send, ...] = ()
        self._reset()

    def _reset(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._sum_sq = 0.0
        self._min = math.inf
        self._max = -math.inf

    def add(self, value: float = 1.0) -> None:
        """Take one observation: an increment of a counter, or a time in ms."""
        self._count += 1
        self._sum += value
        self._sum_sq += value * value
        # Twice as fast as min() and max(), and this is called for every request.
        self._min = min(self._min, value)
        self._max = max(self._max, value)
        for send in self.sends:
            send(self.name, value, self.labels)

    def look(self) -> Aggregate | None:
        """Return what was observed in this interval; None where nothing was."""
        if not self._count:
            return None
        return Aggregate(
            self.name,
            self.labels,
            self._count,
            self._sum,
            self._sum_sq,
            self._min,
            self._max,
        )

    def take(self) -> Aggregate | None:
        """Return what was observed, and begin the next interval."""
        aggregate = self.look()
        if aggregate is not None:
            self._reset()
        return aggregate
