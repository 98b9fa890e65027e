"""The stream of the agent's log: ``/v1/agent/monitor``."""

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from consultwist.errors import BadRequest
from consultwist.http.messages import Request, Sink, Stream
from consultwist.telemetry.log_lines import (
    THRESHOLDS,
    format_json,
    format_line,
    weight,
)


def monitor(request: Request) -> Stream:
    """Return the stream of log lines at or above a level.

    A client that reads too slowly misses lines; how many is told in the stream once it
    reads again.

    Raises:
        BadRequest: where the level is unknown.
    """
    name = request.query.get("loglevel", "info").lower()
    threshold = THRESHOLDS.get(name)
    if threshold is None:
        raise BadRequest(f"Bad request: Unknown log level: {name}")
    line_of = format_json if "logjson" in request.query else format_line

    def start(sink: Sink) -> Callable[[], None]:
        observer = _Feed(sink, line_of, threshold)
        globalLogPublisher.addObserver(observer)
        return lambda: globalLogPublisher.removeObserver(observer)

    return Stream(start)


@implementer(ILogObserver)
class _Feed:
    """Writes events to one client."""

    def __init__(
        self, sink: Sink, line_of: Callable[[LogEvent], str], threshold: int
    ) -> None:
        self._sink = sink
        self._line_of = line_of
        self._threshold = threshold
        self._dropped = 0

    def __call__(self, event: LogEvent) -> None:
        """Write an event, or count it where the client is behind."""
        if weight(event) < self._threshold:
            return
        if self._sink.blocked:
            self._dropped += 1
            return
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            self._sink.write(f"{lost} log lines were dropped\n".encode())
        self._sink.write(f"{self._line_of(event)}\n".encode("utf-8", "replace"))
