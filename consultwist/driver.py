"""CoreDriver: what every protocol core needs done for it.

A core (gossip, Raft) is rules without I/O. Its driver feeds it events, performs the
actions that it asks for, in order, and keeps one timer armed for it.
"""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from consultwist.clock import Clock

Action_co = TypeVar("Action_co", covariant=True)
Action = TypeVar("Action")


class Core(Protocol[Action_co]):
    """The part of the core contract that the driver uses."""

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called next, in clock seconds."""

    def take_actions(self) -> Sequence[Action_co]:
        """Return the actions asked for since the last call, and forget them."""


class CoreDriver(Generic[Action]):
    """Feeds one core, performs its actions, and keeps its one timer armed.

    Call `flush` after every event that was fed to the core. Performing an action may
    feed the core again and flush: the inner flush is deferred to the outer loop, so
    actions are performed in the order in which the core asked for them.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        clock: Clock,
        core: Core[Action],
        perform: Callable[[Action], None],
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._core = core
        self._perform = perform
        self._timer: IDelayedCall | None = None
        self._armed_for: float | None = None
        self._flushing = False
        self._stopped = False

    def flush(self) -> None:
        """Perform all pending actions, then re-arm the timer if it has moved."""
        if self._flushing or self._stopped:
            return
        self._flushing = True
        try:
            while actions := self._core.take_actions():
                for action in actions:
                    self._perform(action)
        finally:
            self._flushing = False
        self._arm()

    def stop(self) -> None:
        """Stop the timer; nothing is performed from now on."""
        self._stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _arm(self) -> None:
        due = self._core.next_timer()
        if due == self._armed_for and self._timer is not None:
            return
        if self._stopped:
            return
        self._armed_for = due
        if due is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        delay_s = max(0.0, due - self._clock.monotonic())
        if self._timer is not None:
            self._timer.reset(delay_s)
        else:
            self._timer = self._reactor.callLater(delay_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._armed_for = None
        self._core.handle_timer(self._clock.monotonic())
        self.flush()
