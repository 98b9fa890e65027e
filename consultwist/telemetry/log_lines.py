"""Log events as lines, in the two forms that Consul writes.

Text: ``2026-11-24T10:00:00.000Z [INFO]  agent.http: message``. JSON: an object a line
with ``@level``, ``@message``, ``@module`` and ``@timestamp``.
"""

import datetime as dt
from typing import Final

from twisted.logger import LogEvent, LogLevel, formatEvent

from consultwist.wire import json

_PACKAGE: Final = "consultwist."

#: Consul's names of levels, most talkative first. Twisted has no trace: what is only
#: for tracing is a debug event behind a flag.
LEVELS: Final = {
    "trace": LogLevel.debug,
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "err": LogLevel.error,
}
_NAMES: Final = {
    LogLevel.debug: "debug",
    LogLevel.info: "info",
    LogLevel.warn: "warn",
    LogLevel.error: "error",
    LogLevel.critical: "error",
}
#: The column behind the level is padded so that modules line up.
_LEVEL_WIDTH: Final = 8


def module_name(event: LogEvent) -> str:
    """Return where an event comes from, in Consul's manner: ``agent.http``."""
    name = str(event.get("log_namespace") or "").removeprefix(_PACKAGE)
    return name if name.partition(".")[0] == "agent" else f"agent.{name}"


def message(event: LogEvent) -> str:
    """Return the text of an event; a failure adds its traceback."""
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        text = f"{text}\n{failure.getTraceback()}" if text else failure.getTraceback()
    return text


def text_line(event: LogEvent) -> str:
    """Return an event as a line of text, with its newline; empty for no text."""
    text = message(event)
    if not text:
        return ""
    level = f"[{_NAMES[_level(event)].upper()}]"
    return f"{_time(event)} {level:{_LEVEL_WIDTH}}{module_name(event)}: {text}\n"


def json_line(event: LogEvent) -> str:
    """Return an event as a JSON object, with its newline; empty for no text."""
    text = message(event)
    if not text:
        return ""
    shape = {
        "@level": _NAMES[_level(event)],
        "@message": text,
        "@module": module_name(event),
        "@timestamp": _time(event),
    }
    return json.encode(shape).decode() + "\n"


def _level(event: LogEvent) -> LogLevel:
    level: LogLevel = event.get("log_level") or LogLevel.info
    return level


def _time(event: LogEvent) -> str:
    when = dt.datetime.fromtimestamp(event.get("log_time") or 0.0, tz=dt.UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"
