"""A host whose time moves only when the test says so, and whose threads are none."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from consultwist.host import Host
from consultwist.testing.clock import ReactorClock


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


def make_host(seed: int = 1) -> Host:
    """Return a host over a fresh test reactor; `host.reactor.advance` moves time."""
    reactor = TestReactor()
    return Host(reactor, ReactorClock(reactor), random.Random(seed))  # noqa: S311
