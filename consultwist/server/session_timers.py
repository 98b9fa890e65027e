"""Sessions that end unless they are renewed: the leader's deadlines.

A session with a TTL ends when nobody has renewed it for twice the TTL, so that a
renewal sent at the TTL still counts after a change of leadership or a slow network.
The deadlines are no part of the replicated state: a new leader gives every session its
full time again.
"""

import heapq
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist import durations
from consultwist.clock import Clock
from consultwist.structs.session import Session, session_key

#: A session lives this many times its TTL without renewal (Consul's multiplier).
TTL_MULTIPLIER: Final = 2

#: After a failed attempt to end a session, the next one (Consul: 10 s, doubled).
RETRY_S: Final = 10.0

#: Dead entries of the heap are swept out when they outnumber the live ones by this.
_SLACK: Final = 1024

#: Ends one session, through Raft.
Expire = Callable[[str], Deferred[Any]]


class SessionTimers:
    """Deadlines of all sessions with a TTL, under one timer.

    Idle until `start`; between `stop` and `start` nothing is kept.
    """

    log = Logger()

    def __init__(self, reactor: IReactorTime, clock: Clock) -> None:
        self._reactor = reactor
        self._clock = clock
        self._expire: Expire | None = None
        #: By session key: when it ends, and its id.
        self._deadlines: dict[str, tuple[float, str]] = {}
        # One entry for each session; a renewal moves only the deadline above, and the
        # entry is put back when it comes up too early.
        self._heap: list[tuple[float, str]] = []
        self._timer: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return how many sessions have a deadline."""
        return len(self._deadlines)

    def start(self, sessions: Iterable[Session], expire: Expire) -> None:
        """Begin, with a full lifetime for every session that has a TTL."""
        self._expire = expire
        for session in sessions:
            self.renew(session)

    def stop(self) -> None:
        """Forget all deadlines."""
        self._expire = None
        self._deadlines.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def renew(self, session: Session) -> None:
        """Give a session its full lifetime from now on; one without TTL has no end."""
        lifetime_s = _lifetime_s(session)
        if self._expire is not None and lifetime_s > 0:
            self._set(session.id, self._clock.monotonic() + lifetime_s)

    def forget(self, session_id: str) -> None:
        """Drop a session's deadline, because it was destroyed."""
        self._deadlines.pop(session_key(session_id), None)
        if len(self._heap) > 2 * len(self._deadlines) + _SLACK:
            self._heap = [
                (deadline, key) for key, (deadline, _) in self._deadlines.items()
            ]
            heapq.heapify(self._heap)

    def _set(self, session_id: str, deadline: float) -> None:
        key = session_key(session_id)
        known = key in self._deadlines
        self._deadlines[key] = (deadline, session_id)
        if not known:
            heapq.heappush(self._heap, (deadline, key))
            self._arm()

    def _arm(self) -> None:
        if not self._heap:
            return
        delay_s = max(0.0, self._heap[0][0] - self._clock.monotonic())
        if self._timer is None:
            self._timer = self._reactor.callLater(delay_s, self._fire)
        else:
            self._timer.reset(delay_s)

    def _fire(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            _, key = heapq.heappop(self._heap)
            deadline, session_id = self._deadlines.get(key, (None, ""))
            if deadline is None:
                continue
            if deadline > now:
                heapq.heappush(self._heap, (deadline, key))
            else:
                del self._deadlines[key]
                self._end(session_id)
        self._arm()

    def _end(self, session_id: str) -> None:
        assert self._expire is not None
        self.log.debug("session {session} has reached its TTL", session=session_id)
        self._expire(session_id).addErrback(self._failed, session_id)

    def _failed(self, failure: Failure, session_id: str) -> None:
        if self._expire is None:
            return  # leadership was lost, and with it the deadlines
        self.log.warn(
            "failed to end session {session}: {error}",
            session=session_id,
            error=failure.getErrorMessage(),
        )
        self._set(session_id, self._clock.monotonic() + RETRY_S)


def _lifetime_s(session: Session) -> float:
    if not session.ttl:
        return 0.0
    try:
        return TTL_MULTIPLIER * durations.parse_seconds(session.ttl)
    except ValueError:
        # The endpoint refuses such a TTL; one that came another way never ends.
        return 0.0
