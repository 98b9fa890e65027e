"""A host whose time moves only when the test says so, and whose threads are none."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from consultwist.host import Host

#: The wall clock at the start of every test: 2026-01-01 00:00:00 UTC.
EPOCH_S = 1767225600.0


class InlineThreadPool:
    """A thread pool that does the work at once, in the calling thread."""

    def callInThreadWithCallback(  # noqa: N802 - Twisted's name
        self, done: Callable[[bool, Any], None], work: Callable[..., Any], *args: Any
    ) -> None:
        """Do the work and tell what came of it."""
        try:
            result = work(*args)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)


class TestReactor(MemoryReactorClock):
    """Twisted's in-memory reactor, with threads that are none."""

    __test__ = False

    def getThreadPool(self) -> InlineThreadPool:
        """Return the pool that does its work at once."""
        return InlineThreadPool()

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        """Call at once: this is the only thread."""
        function(*args)


class ReactorClock:
    """The time of a test reactor as a `Clock`."""

    def __init__(self, reactor: TestReactor) -> None:
        self._reactor = reactor

    def monotonic(self) -> float:
        """Return the reactor's seconds."""
        return float(self._reactor.seconds())

    def wall(self) -> float:
        """Return the reactor's seconds, counted from a fixed date."""
        return EPOCH_S + self.monotonic()


def make_host(seed: int = 1) -> Host:
    """Return a host over a fresh test reactor; `host.reactor.advance` moves time."""
    reactor = TestReactor()
    return Host(reactor, ReactorClock(reactor), random.Random(seed))  # noqa: S311
