"""TurnMonitor: reports turns of the reactor that keep everybody waiting.

The reactor has one thread, so one long turn is a pause for all clients. A turn is what
lies between two questions to the kernel for events: reads, writes, timers. The monitor
therefore stands in front of the poller's ``poll``: it looks at the time when that is
called and when it returns. This costs two looks at the clock for each turn, some
0.4 microseconds, and nothing while the agent is idle: there is no timer.

The poller is an attribute of the epoll and poll reactors that Twisted does not promise
to keep, so it is looked for with care; with another reactor there is no monitor.
"""

import math
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from consultwist.clock import Clock
from consultwist.telemetry.metrics import Metrics

log = Logger()

#: A turn above this is a fault: the bar of the performance goals.
TURN_MAX_S = 0.050

#: Shorter turns are not even looked at.
_NOTEWORTHY_S = 0.005


class TurnMonitor:
    """Measures the turns of one reactor."""

    def __init__(
        self, clock: Clock, metrics: Metrics, turn_max_s: float = TURN_MAX_S
    ) -> None:
        self._clock = clock
        self._turn_max_s = turn_max_s
        self._slow = metrics.sample_series("runtime.slow_turn")
        #: The longest turn so far, in seconds, where there was a noteworthy one.
        self.longest_s = 0.0

    def install(self, reactor: Any) -> Callable[[], None]:
        """Begin to measure; returns what ends it.

        A reactor that has no poller is left alone, with a line in the log.
        """
        poller = getattr(reactor, "_poller", None)
        if not callable(getattr(poller, "poll", None)):
            log.info("turns of {kind} are not measured", kind=type(reactor).__name__)
            return lambda: None
        reactor._poller = _TimedPoller(poller, self._clock.monotonic, self._turned)

        def remove() -> None:
            reactor._poller = poller

        return remove

    def _turned(self, turn_s: float) -> None:
        self.longest_s = max(self.longest_s, turn_s)
        if turn_s > self._turn_max_s:
            turn_ms = turn_s * 1000
            self._slow.add(turn_ms)
            log.warn("a turn of the reactor took {turn_ms:.0f} ms", turn_ms=turn_ms)


class _TimedPoller:
    """A poller that tells how long its caller was away."""

    def __init__(
        self,
        poller: Any,
        monotonic: Callable[[], float],
        turned: Callable[[float], None],
    ) -> None:
        self._poll = poller.poll
        self._poller = poller
        self._monotonic = monotonic
        self._turned = turned
        # The first turn is the start of the agent, which may take its time.
        self._begin = math.inf

    def __getattr__(self, name: str) -> Any:
        """Give what else a poller has: register, modify, unregister, close."""
        value = getattr(self._poller, name)
        # Kept, so that the next question for it costs nothing.
        self.__dict__[name] = value
        return value

    def poll(self, *args: Any) -> Any:
        """Wait for events, and time what happened since the last ones."""
        turn_s = self._monotonic() - self._begin
        if turn_s > _NOTEWORTHY_S:
            self._turned(turn_s)
        events = self._poll(*args)
        self._begin = self._monotonic()
        return events
