"""Where the log goes, and its files."""

import io
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel

from consultwist.config.runtime import LoggingConfig
from consultwist.errors import ConfigError
from consultwist.tap.log_file import RotatingLogFile
from consultwist.tap.logging import AgentLog, LineObserver
from consultwist.telemetry.log_lines import threshold


def event(level=LogLevel.info, namespace="consultwist.agent.agent", **fields):
    return {
        "log_time": 1795514400.1239,
        "log_level": level,
        "log_namespace": namespace,
        "log_format": "joined {name}",
        "name": "a",
        **fields,
    }


def test_level_filters_and_may_change():
    """Only events from the level on are written."""
    lines: list[str] = []
    observer = LineObserver(lines.append, lambda: None, threshold("WARN"))
    log = Logger(namespace="agent", observer=observer)
    log.info("no")
    log.warn("yes")
    observer.threshold = threshold("debug")
    log.debug("now")
    assert [line.split("agent: ")[1] for line in lines] == ["yes\n", "now\n"]
    assert all(line.startswith("    ") for line in lines)


def test_reader_that_went_away_does_not_stop_the_agent():
    """A closed pipe is no reason to die."""

    def write(text):
        raise BrokenPipeError

    LineObserver(write, lambda: None, threshold("info"))(event())


def settings(**changes):
    values: dict[str, Any] = {
        "enable_syslog": False,
        "log_file_path": "",
        "log_json": False,
        "log_level": "INFO",
        "log_rotate_bytes": 0,
        "log_rotate_duration": 0.0,
        "log_rotate_max_files": 0,
        "syslog_facility": "LOCAL0",
    }
    return LoggingConfig(**(values | changes))


def test_log_goes_to_all_places_and_level_changes(tmp_path):
    """Standard output and a file get the same lines."""
    stdout = io.StringIO()
    log = AgentLog(settings(log_file_path=f"{tmp_path}/x"), stdout, lambda: 1.0)
    log.set_level("error")
    for observer in log._observers:
        observer(event())
        observer(event(LogLevel.error))
    log.close()
    (file,) = tmp_path.iterdir()
    assert file.name == "x-1000000000.log"
    assert file.read_text() == stdout.getvalue()
    assert stdout.getvalue().count("\n") == 1


def test_log_file_that_cannot_be_made(tmp_path):
    """A mistake in the path is told before the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Failed to setup logging"):
        AgentLog(settings(log_file_path=f"{tmp_path}/file/x"), None, lambda: 1.0)


def test_unknown_syslog_facility():
    """So is an unknown facility."""
    with pytest.raises(ConfigError, match="invalid syslog facility: zz"):
        AgentLog(settings(enable_syslog=True, syslog_facility="zz"), None, lambda: 1.0)


class Wall:
    """A wall clock to be set."""

    now = 1.0

    def __call__(self):
        return self.now


def rotating(tmp_path, wall, **limits):
    values = {"size_max": 0, "duration_s": 0.0, "files_max": 0, **limits}
    return RotatingLogFile(f"{tmp_path}/", wall=wall, **values)


def test_large_file_is_followed_by_another(tmp_path):
    """No file grows beyond the limit."""
    wall = Wall()
    log = rotating(tmp_path, wall, size_max=10)
    for text in ("12345678\n", "a\n", "b\n"):
        wall.now += 1
        log.write(text)
    log.close()
    texts = [file.read_text() for file in sorted(tmp_path.iterdir())]
    assert texts == ["12345678\n", "a\nb\n"]


def test_old_file_is_followed_by_another(tmp_path):
    """By default a file is written to for a day."""
    wall = Wall()
    log = rotating(tmp_path, wall)
    log.write("a")
    wall.now += 24 * 3600
    log.write("b")
    log.close()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("files_max", "left"), [(0, 4), (2, 3), (-1, 1)])
def test_only_so_many_older_files_stay(tmp_path, files_max, left):
    """0 keeps all, -1 keeps none but the current one."""
    wall = Wall()
    log = rotating(tmp_path, wall, size_max=1, files_max=files_max)
    for _ in range(4):
        wall.now += 1
        log.write("xx")
    log.close()
    assert len(list(tmp_path.iterdir())) == left
