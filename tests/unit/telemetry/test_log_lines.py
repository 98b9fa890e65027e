"""Log events as lines in Consul's form."""

import json

import pytest
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from consultwist.telemetry.log_lines import (
    format_json,
    format_line,
    part_name,
    threshold,
    weight,
)


def event(level=LogLevel.info, namespace="consultwist.agent.agent", **fields):
    return {
        "log_time": 1795514400.1239,
        "log_level": level,
        "log_namespace": namespace,
        "log_format": "joined {name}",
        "name": "a",
        **fields,
    }


def test_line():
    """Time in UTC with milliseconds, level, part, message."""
    assert format_line(event()) == ("2026-11-24T10:00:00.123Z [INFO]  agent: joined a")
    assert "[ERROR] agent.dns: " in format_line(
        event(LogLevel.critical, "consultwist.dns.interface")
    )


def test_json():
    """One object with hclog's names."""
    assert json.loads(format_json(event(LogLevel.warn))) == {
        "@level": "warn",
        "@message": "joined a",
        "@module": "agent",
        "@timestamp": "2026-11-24T10:00:00.123Z",
    }


def test_failure_is_logged_with_its_traceback():
    """A failure that was swallowed can be found."""
    try:
        raise ValueError("boom")
    except ValueError:
        line = format_line(event(LogLevel.critical, log_failure=Failure()))
    assert "boom" in line
    assert "Traceback" in line


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("consultwist.agent.anti_entropy", "agent.anti_entropy"),
        ("consultwist.server.server", "agent.server"),
        ("consultwist.raft.node", "agent.server.raft"),
        ("consultwist.mesh.leaf", "agent.mesh"),
        ("agent.auto_config", "agent.auto_config"),
        ("twisted.web", "twisted.web"),
    ],
)
def test_part_name(namespace, name):
    """Parts have the names that Consul's log gives them."""
    assert part_name(namespace) == name


def test_what_twisted_says_is_trace():
    """Factories that start are of no interest to users, errors are."""
    assert weight(event(namespace="twisted.internet")) == threshold("trace")
    assert weight(event(LogLevel.error, "twisted.internet")) == threshold("error")
