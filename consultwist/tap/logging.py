"""Where the log goes: standard output, files, the system's log."""

import sys
import syslog
from collections.abc import Callable
from typing import TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from zope.interface import implementer

from consultwist.config.runtime import LoggingConfig
from consultwist.errors import ConfigError
from consultwist.tap.log_file import RotatingLogFile
from consultwist.telemetry.log_lines import (
    format_json,
    format_line,
    message,
    origin,
    threshold,
    weight,
)

_SYSLOG_LEVELS = (
    syslog.LOG_DEBUG,
    syslog.LOG_DEBUG,
    syslog.LOG_INFO,
    syslog.LOG_WARNING,
    syslog.LOG_ERR,
)


@implementer(ILogObserver)
class LineObserver:
    """Writes events from a level on as lines to somewhere."""

    def __init__(
        self,
        write: Callable[[str], object],
        flush: Callable[[], object],
        threshold: int,
        *,
        as_json: bool = False,
    ) -> None:
        self._write = write
        self._flush = flush
        self.threshold = threshold
        self._as_json = as_json

    def __call__(self, event: LogEvent) -> None:
        """Write an event, if it is important enough."""
        if weight(event) < self.threshold:
            return
        line = format_json(event) if self._as_json else f"    {format_line(event)}"
        try:
            self._write(line + "\n")
            self._flush()
        except (OSError, ValueError):
            # Nobody reads any more; an agent does not end for want of a listener.
            return


@implementer(ILogObserver)
class SyslogObserver:
    """Sends events from a level on to the system's log."""

    def __init__(self, facility: str, threshold: int) -> None:
        number = getattr(syslog, f"LOG_{facility.upper()}", None)
        if not isinstance(number, int):
            raise ConfigError(f"invalid syslog facility: {facility}")
        syslog.openlog("consultwist", syslog.LOG_PID, number)
        self.threshold = threshold

    def __call__(self, event: LogEvent) -> None:
        """Send an event, if it is important enough."""
        level = weight(event)
        if level >= self.threshold:
            line = f"{origin(event)}: {message(event)}".replace("\0", "")
            syslog.syslog(_SYSLOG_LEVELS[level], line)


class AgentLog:
    """Where the agent's log goes; its level may change while the agent runs."""

    def __init__(
        self, config: LoggingConfig, stdout: TextIO | None, wall: Callable[[], float]
    ) -> None:
        """Open what the configuration names.

        Args:
            config: the settings.
            stdout: where lines go, too, if anywhere.
            wall: the wall clock.

        Raises:
            ConfigError: where a log file cannot be written.
        """
        level = threshold(config.log_level)
        self._observers: list[LineObserver | SyslogObserver] = []
        self._file: RotatingLogFile | None = None
        if stdout is not None:
            self._add_lines(stdout.write, stdout.flush, level, config)
        if config.log_file_path:
            self._file = file = _open_log_file(config, wall)
            self._add_lines(file.write, file.flush, level, config)
        if config.enable_syslog:
            self._observers.append(SyslogObserver(config.syslog_facility, level))

    def _add_lines(
        self,
        write: Callable[[str], object],
        flush: Callable[[], object],
        level: int,
        config: LoggingConfig,
    ) -> None:
        self._observers.append(
            LineObserver(write, flush, level, as_json=config.log_json)
        )

    def begin(self) -> None:
        """Take over the log of the whole program."""
        globalLogBeginner.beginLoggingTo(
            self._observers, redirectStandardIO=False, discardBuffer=True
        )

    def join(self) -> None:
        """Write beside the log that the program has already."""
        for observer in self._observers:
            globalLogPublisher.addObserver(observer)

    def close(self) -> None:
        """Close the log file; lines that come later are lost."""
        if self._file is not None:
            self._file.close()

    def set_level(self, level: str) -> None:
        """Change from which level on events are written."""
        for observer in self._observers:
            observer.threshold = threshold(level)


def _open_log_file(config: LoggingConfig, wall: Callable[[], float]) -> RotatingLogFile:
    try:
        return RotatingLogFile(
            config.log_file_path,
            size_max=config.log_rotate_bytes,
            duration_s=config.log_rotate_duration,
            files_max=config.log_rotate_max_files,
            wall=wall,
        )
    except OSError as error:
        raise ConfigError(f"Failed to setup logging: {error}") from None


def announce(text: str, stream: TextIO = sys.stdout) -> None:
    """Tell whoever started the agent how far it is, outside the log."""
    print(text, file=stream, flush=True)
