"""What a server does while it leads, and when it may answer consistent reads."""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.errors import NotReadyForConsistentReads
from consultwist.interfaces import ILeaderRoutine, IServer


class LeaderRoutines:
    """Starts the leader routines once the server has caught up; stops them at loss.

    The barrier comes first: only when all entries of former leaders are applied does
    the state show what was acknowledged, and only then may routines act on it.
    """

    log = Logger()

    def __init__(
        self,
        server: IServer,
        routines: Iterable[ILeaderRoutine],
        barrier: Callable[[], Deferred[Any]],
    ) -> None:
        self._server = server
        self._routines = sorted(routines, key=lambda each: (each.rank, each.name))
        self._barrier = barrier
        self._stops: list[Callable[[], None]] = []
        self._reign = 0
        self._waiting: dict[Deferred[None], None] = {}
        #: Whether consistent reads may be answered.
        self.ready = False

    def gained(self) -> None:
        """This server has become leader."""
        self._reign += 1
        reign = self._reign
        done = self._barrier()
        done.addCallback(lambda _: self._start(reign))
        done.addErrback(self._failed)

    def wait_ready(self, reactor: IReactorTime, timeout_s: float) -> Deferred[None]:
        """Fire when consistent reads may be answered.

        Fails with NotReadyForConsistentReads after the timeout, or when leadership is
        lost before.
        """
        waiting: Deferred[None] = Deferred(self._forget)
        waiting.addTimeout(timeout_s, reactor, onTimeoutCancel=_not_ready)
        self._waiting[waiting] = None
        return waiting

    def lost(self) -> None:
        """This server leads no more; also called at shutdown."""
        self._reign += 1
        self.ready = False
        for waiting in self._take_waiting():
            waiting.errback(NotReadyForConsistentReads())
        while self._stops:
            stop = self._stops.pop()
            try:
                stop()
            except Exception:
                self.log.failure("stopping a leader routine failed")

    def _start(self, reign: int) -> None:
        if reign != self._reign:
            return
        for routine in self._routines:
            try:
                self._stops.append(routine.start(self._server))
            except Exception:
                # One feature's fault must not keep the others from being served.
                self.log.failure("leader routine {name} failed", name=routine.name)
        self.ready = True
        for waiting in self._take_waiting():
            waiting.callback(None)

    def _take_waiting(self) -> list[Deferred[None]]:
        waiting, self._waiting = list(self._waiting), {}
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._waiting.pop(waiting, None)

    def _failed(self, failure: Failure) -> None:
        # The usual reason is that leadership was lost again before the barrier.
        self.log.warn(
            "failed to take over leadership: {error}", error=failure.getErrorMessage()
        )


def _not_ready(_: object, __: float) -> Failure:
    return Failure(NotReadyForConsistentReads())
