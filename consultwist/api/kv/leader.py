"""What the leader does for the key/value store: it has old tombstones reaped.

Tombstones made at about the same time share a bin: only the highest index of a bin and
its end are remembered, so that there are no more bins than fit into a lifetime.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.api.kv.table import TOMBSTONES, TombstoneSet
from consultwist.clock import Clock
from consultwist.interfaces import ILeaderRoutine, IServer
from consultwist.structs.kv import TombstoneRequest
from consultwist.structs.message_type import MessageType

#: How long a tombstone lives (Consul: 15 min).
TTL_S: Final = 15 * 60.0

#: Ends of bins are rounded up to this (Consul: 30 s).
GRANULARITY_S: Final = 30.0

#: After a failed attempt, the next one.
RETRY_S: Final = GRANULARITY_S

#: Has all tombstones up to an index reaped, through Raft.
Reap = Callable[[int], Deferred[Any]]


class TombstoneBins:
    """Which tombstones are to be reaped when, under one timer."""

    log = Logger()

    def __init__(self, reactor: IReactorTime, clock: Clock, reap: Reap) -> None:
        self._reactor = reactor
        self._clock = clock
        self._reap = reap
        #: (when it is due, highest index), oldest first.
        self._bins: deque[tuple[float, int]] = deque()
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self._bins)

    def observe(self, note: object) -> None:
        """Take the notes of committed transactions, of any kind."""
        if isinstance(note, TombstoneSet):
            self.add(note.index)

    def add(self, index: int) -> None:
        """Remember that there is a tombstone with an index."""
        now = self._clock.monotonic()
        due = (now + TTL_S) // GRANULARITY_S * GRANULARITY_S + GRANULARITY_S
        if self._bins and self._bins[-1][0] >= due:
            # Time is that of the clock, so only the newest bin can be meant.
            due, highest = self._bins.pop()
            index = max(index, highest)
        self._bins.append((due, index))
        self._arm()

    def stop(self) -> None:
        """Forget all bins."""
        self._stopped = True
        self._bins.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and self._bins:
            delay_s = max(0.0, self._bins[0][0] - self._clock.monotonic())
            self._timer = self._reactor.callLater(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        index = 0
        while self._bins and self._bins[0][0] <= now:
            index = max(index, self._bins.popleft()[1])
        self._arm()
        if index:
            self._reap(index).addErrback(self._failed, index)

    def _failed(self, failure: Failure, index: int) -> None:
        if self._stopped:
            return  # leadership was lost; the next leader begins anew
        self.log.warn("failed to reap tombstones: {e}", e=failure.getErrorMessage())
        due = self._clock.monotonic() + RETRY_S
        if self._bins and self._bins[0][0] <= due:
            return  # the next bin comes sooner, and its higher index reaps these too
        self._bins.appendleft((due, index))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._arm()


@implementer(IPlugin, ILeaderRoutine)
class TombstoneCollector:
    """Has tombstones reaped when they are older than any reader waits."""

    name = "tombstone-collection"
    rank = 0

    def start(self, server: IServer) -> Callable[[], None]:
        """Begin, with a full lifetime for the tombstones that are there."""

        def reap(index: int) -> Deferred[Any]:
            request = TombstoneRequest(
                datacenter=server.config.datacenter, op="reap", reap_index=index
            )
            done: Deferred[Any] = server.raft_apply(MessageType.TOMBSTONE, request)
            return done

        bins = TombstoneBins(server.reactor, server.clock, reap)
        existing = server.store.table(TOMBSTONES).rows()
        highest = max((row.modify_index for row in existing), default=0)
        if highest:
            bins.add(highest)
        unsubscribe = server.store.subscribe(bins.observe)

        def stop() -> None:
            unsubscribe()
            bins.stop()

        return stop
