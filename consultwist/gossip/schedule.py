"""Schedule: what a core has to do later, behind the one timer of its driver."""

import heapq
from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class Alarm:
    """Something to do at a certain time, unless cancelled before."""

    due: float
    call: Callable[[float], None] | None

    def cancel(self) -> None:
        """Make sure that this is not done."""
        self.call = None


class Schedule:
    """Alarms in the order of their time; equal times keep the order of setting."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._count = 0

    def at(self, due: float, call: Callable[[float], None]) -> Alarm:
        """Arrange for `call(now)` to be done at `due`."""
        alarm = Alarm(due, call)
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, alarm))
        return alarm

    def next_due(self) -> float | None:
        """Return when the first alarm is due, or None where there is none."""
        heap = self._heap
        while heap and heap[0][2].call is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: float) -> None:
        """Do everything that is due at `now`, once."""
        heap = self._heap
        last = self._count
        while heap and heap[0][0] <= now and heap[0][1] <= last:
            alarm = heapq.heappop(heap)[2]
            call, alarm.call = alarm.call, None
            if call is not None:
                call(now)
