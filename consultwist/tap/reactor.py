"""AgentReactor: Twisted's epoll reactor with a shorter way from an event to its reader.

Twisted calls each reader within a context that names it in the old log. Nothing here
logs that way, and the context costs a quarter of all that a small request costs. The
clock is one that is never set back: when the wall clock is set back by an hour, timers
would stand still for an hour.
"""

import select
import sys
import time

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

log = Logger()


class AgentReactor(EPollReactor):
    """An epoll reactor that calls its readers and writers directly."""

    seconds = staticmethod(time.monotonic)

    def doPoll(self, timeout: float | None) -> None:  # noqa: N802 - Twisted's
        """Wait for events, for so many seconds, and see to each."""
        selectables = self._selectables
        if timeout is None:
            timeout = -1
        try:
            events = self._poller.poll(timeout, len(selectables))
        except InterruptedError:
            return
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue
            if event != select.EPOLLIN:
                self._doReadOrWrite(selectable, descriptor, event)
                continue
            try:
                gone = selectable.doRead()
            except Exception as error:
                log.failure("a reader failed: {reader}", reader=selectable)
                gone = error
            if gone is not None:
                self._disconnectSelectable(selectable, gone, True)

    doIteration = doPoll  # noqa: N815 - Twisted's


def install_reactor() -> None:
    """Install an AgentReactor, unless the user has chosen another (``twistd -r``)."""
    if "twisted.internet.reactor" not in sys.modules:
        installReactor(AgentReactor())
