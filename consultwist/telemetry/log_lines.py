"""Log events as lines, with the names, levels and forms that Consul's users know.

Text: ``2026-11-24T10:00:00.000Z [INFO]  agent.http: message``. JSON: an object a line
with ``@level``, ``@message``, ``@module`` and ``@timestamp``.
"""

import json
from datetime import UTC, datetime

from twisted.logger import LogEvent, LogLevel, eventAsText, formatEvent

#: Twisted's levels by weight, under Consul's names. Trace is what Twisted itself says.
TRACE, DEBUG, INFO, WARN, ERROR = range(5)
_NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
_WEIGHTS = {
    LogLevel.debug: DEBUG,
    LogLevel.info: INFO,
    LogLevel.warn: WARN,
    LogLevel.error: ERROR,
    LogLevel.critical: ERROR,
}
#: Levels as users write them.
THRESHOLDS = {
    "trace": TRACE,
    "debug": DEBUG,
    "info": INFO,
    "warn": WARN,
    "err": ERROR,
    "error": ERROR,
}

#: How the names of Twisted's own loggers begin.
_TWISTED = ("twisted", "log_legacy")

#: Our packages under the names that Consul's parts have in its log.
_PARTS = {
    "agent": "agent",
    "agent.anti_entropy": "agent.anti_entropy",
    "api": "agent.http",
    "checks": "agent",
    "dns": "agent.dns",
    "gossip": "agent.serf",
    "http": "agent.http",
    "raft": "agent.server.raft",
    "server": "agent.server",
    "tap": "agent",
    "telemetry": "agent.telemetry",
}


def weight(event: LogEvent) -> int:
    """Return how important an event is, from `TRACE` to `ERROR`."""
    found = _WEIGHTS.get(event.get("log_level"), INFO)
    if found <= INFO and event.get("log_namespace", "").startswith(_TWISTED):
        return TRACE
    return found


def part_name(namespace: str) -> str:
    """Return the name of the part of the agent that a logger belongs to."""
    words = namespace.split(".")
    if words[0] != "consultwist" or len(words) == 1:
        return namespace
    module = ".".join(words[1:3])
    return _PARTS.get(module) or _PARTS.get(words[1]) or f"agent.{words[1]}"


def format_line(event: LogEvent) -> str:
    """Return an event as a line of text, without its end."""
    name = f"[{_NAMES[weight(event)]}]"
    return f"{_stamp(event)} {name:<7} {origin(event)}: {message(event)}"


def format_json(event: LogEvent) -> str:
    """Return an event as a JSON object on one line, as ``-log-json`` asks."""
    return json.dumps(
        {
            "@level": _NAMES[weight(event)].lower(),
            "@message": message(event),
            "@module": origin(event),
            "@timestamp": _stamp(event),
        }
    )


def origin(event: LogEvent) -> str:
    """Return the part of the agent that an event comes from."""
    return part_name(event.get("log_namespace", "agent"))


def message(event: LogEvent) -> str:
    """Return the text of an event; a failure adds its traceback."""
    if "log_failure" in event:
        return eventAsText(event, includeTimestamp=False, includeSystem=False)
    return formatEvent(event)


def _stamp(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def threshold(level: str) -> int:
    """Return the weight from which on a log level wants events."""
    return THRESHOLDS.get(level.lower(), INFO)
