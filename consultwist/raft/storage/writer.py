"""One thread that writes, one batch at a time, while the next one gathers.

Handing something to a thread and back costs more than writing an entry does, so it is
done once for a batch: everything that was asked for while the disk was busy.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

Item = TypeVar("Item")

#: Told to the thread in place of a batch.
_STOP: Final = None


class BatchWriter(Generic[Item]):
    """Gathers items and lets a thread of its own write them, batch by batch."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        write: Callable[[Sequence[Item]], None],
        on_written: Callable[[Sequence[Item]], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        """Set up, but do not start.

        Args:
            reactor: where results are told.
            write: called in the thread; returns when the batch is durable.
            on_written: called from the reactor once for each batch.
            on_failed: called from the reactor; nothing is written thereafter.
        """
        self._reactor = reactor
        self._write = write
        self._on_written = on_written
        self._on_failed = on_failed
        self._gathered: list[Item] = []
        self._is_failed = False
        self.is_busy = False
        self._batches: queue.SimpleQueue[list[Item] | None] = queue.SimpleQueue()
        self._closed: Deferred[None] | None = None
        self._thread = threading.Thread(target=self._run, name="raft-log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, item: Item) -> None:
        """Add to the batch that is being gathered."""
        self._gathered.append(item)

    def flush(self) -> None:
        """Hand the gathered batch over, unless the thread is busy: then later."""
        if self._gathered and not self.is_busy and not self._is_failed:
            batch, self._gathered = self._gathered, []
            self.is_busy = True
            self._batches.put(batch)

    def close(self) -> "Deferred[None]":
        """Write what was gathered, then end the thread."""
        if self._closed is None:
            self._closed = Deferred()
            self.flush()
            self._end_if_idle()
        return self._closed

    def _end_if_idle(self) -> None:
        if self._closed is not None and not self.is_busy:
            self._batches.put(_STOP)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not _STOP:
            try:
                self._write(batch)
            except BaseException as error:
                self._reactor.callFromThread(self._failed, error)
            else:
                self._reactor.callFromThread(self._written, batch)
        self._reactor.callFromThread(self._ended)

    def _written(self, batch: Sequence[Item]) -> None:
        self.is_busy = False
        self._on_written(batch)
        self.flush()
        self._end_if_idle()

    def _failed(self, error: BaseException) -> None:
        self.is_busy = False
        self._is_failed = True
        self._gathered = []
        self._on_failed(error)
        self._end_if_idle()

    def _ended(self) -> None:
        self._thread.join()
        assert self._closed is not None
        self._closed.callback(None)
