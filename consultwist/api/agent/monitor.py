"""The stream of the agent's log: ``/v1/agent/monitor``."""

from collections.abc import Callable

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevelFilterPredicate,
    globalLogPublisher,
)
from zope.interface import implementer

from consultwist.errors import BadRequest
from consultwist.http.messages import Request, Sink, Stream
from consultwist.telemetry.log_lines import LEVELS, json_line, text_line


def monitor(request: Request) -> Stream:
    """Return the stream of log lines at or above a level.

    A client that reads too slowly misses lines; how many is told in the stream once it
    reads again.

    Raises:
        BadRequest: where the level is unknown.
    """
    name = request.query.get("loglevel", "info").lower()
    level = LEVELS.get(name)
    if level is None:
        raise BadRequest(f"Bad request: Unknown log level: {name}")
    line_of = json_line if "logjson" in request.query else text_line

    def start(sink: Sink) -> Callable[[], None]:
        predicate = LogLevelFilterPredicate(defaultLogLevel=level)
        observer = FilteringLogObserver(_Feed(sink, line_of), (predicate,))
        globalLogPublisher.addObserver(observer)
        return lambda: globalLogPublisher.removeObserver(observer)

    return Stream(start)


@implementer(ILogObserver)
class _Feed:
    """Writes events to one client."""

    def __init__(self, sink: Sink, line_of: Callable[[LogEvent], str]) -> None:
        self._sink = sink
        self._line_of = line_of
        self._dropped = 0

    def __call__(self, event: LogEvent) -> None:
        """Write an event, or count it where the client is behind."""
        if self._sink.blocked:
            self._dropped += 1
            return
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            self._sink.write(f"{lost} log lines were dropped\n".encode())
        line = self._line_of(event)
        if line:
            self._sink.write(line.encode("utf-8", "replace"))
