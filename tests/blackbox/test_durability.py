"""What was acknowledged is there after the process was killed."""

import contextlib
import http.client
import os
import random
import threading
import time
from pathlib import Path

import pytest

from consultwist.testing.processes import RunningAgent, wait_until

pytestmark = pytest.mark.blackbox

#: How often the agent is killed; CONSULTWIST_KILLS asks for more.
KILLS = int(os.environ.get("CONSULTWIST_KILLS", "100"))
WRITERS = 4
SEED = 20261124


class Writer(threading.Thread):
    """Writes numbered values and remembers which were acknowledged."""

    def __init__(self, agent, number, first):
        super().__init__(daemon=True)
        self.agent = agent
        self.key = f"durable/{number}"
        self.next = first
        self.acknowledged = None
        self.stopped = threading.Event()

    def run(self):
        # The kill ends the loop: the connection breaks.
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not self.stopped.is_set():
                value = self.next
                answer = self.agent.http("PUT", f"/v1/kv/{self.key}", str(value))
                if answer.status == 200 and answer.body.startswith(b"true"):
                    self.acknowledged = value
                    self.next = value + 1


def kill_under_load(agent, rng, acknowledged, pause_s):
    """Write for a moment, kill, and note what was acknowledged until then."""
    writers = [Writer(agent, n, acknowledged.get(n, -1) + 1) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(rng.uniform(*pause_s))
    agent.kill()
    for number, writer in enumerate(writers):
        writer.stopped.set()
        writer.join(10)
        if writer.acknowledged is not None:
            acknowledged[number] = writer.acknowledged


def test_no_acknowledged_write_is_lost_when_the_process_is_killed(tmp_path):
    """Killed again and again under write load, the agent loses nothing."""
    rng = random.Random(SEED)
    acknowledged: dict[int, int] = {}
    agent = RunningAgent(
        tmp_path,
        # Small numbers, so that snapshots and compaction are hit as well.
        {"raft_snapshot_threshold": 200, "raft_snapshot_interval": "1s"},
    )
    with agent:
        for kill in range(KILLS):
            kill_under_load(agent, rng, acknowledged, (0.02, 0.3))
            agent.start().wait_ready()
            for number, value in acknowledged.items():
                answer = agent.http("GET", f"/v1/kv/durable/{number}?raw&consistent")
                assert answer.status == 200, f"kill {kill}: key {number} is lost"
                # One write more may have reached the disk than was acknowledged.
                assert int(answer.body) in (value, value + 1), f"kill {kill}"
    assert sum(acknowledged.values()) > KILLS


def test_what_was_registered_over_http_survives_a_restart(tmp_path):
    """Services and checks come back with the agent, in the catalog too."""
    definition = {
        "Name": "web",
        "ID": "web-1",
        "Port": 80,
        "Tags": ["v1"],
        "Check": {"TTL": "300s", "Status": "passing"},
    }
    agent = RunningAgent(tmp_path)
    with agent:
        answer = agent.http("PUT", "/v1/agent/service/register", definition)
        assert answer.status == 200, answer.text
        agent.http("PUT", "/v1/agent/check/pass/service:web-1?note=well")
        agent.kill()
        agent.start().wait_ready()
        services = agent.http("GET", "/v1/agent/services").json
        assert services["web-1"]["Tags"] == ["v1"]
        checks = agent.http("GET", "/v1/agent/checks").json
        assert checks["service:web-1"]["Status"] == "passing"
        wait_until(lambda: healthy(agent, "web") == ["web-1"])


def healthy(agent, service):
    """Return the ids of the instances of a service that pass."""
    found = agent.http("GET", f"/v1/health/service/{service}?passing").json
    return [instance["Service"]["ID"] for instance in found]


def test_a_second_agent_may_not_use_the_same_data(tmp_path):
    """The data directory is locked: two agents in it would destroy it."""
    agent = RunningAgent(tmp_path)
    with agent:
        other = RunningAgent(tmp_path / "other", {"data_dir": agent.config["data_dir"]})
        other.start()
        assert other.wait() == 1
        log = other.log_file.read_text()
        assert "Traceback" not in log
        assert "in use" in log


def test_the_data_directory_is_closed_to_others(tmp_path):
    """Folders have permissions 0700, files 0600."""
    agent = RunningAgent(tmp_path)
    with agent:
        agent.http("PUT", "/v1/agent/service/register", {"Name": "web"})
        wrong = [
            (str(path), oct(path.stat().st_mode & 0o777))
            for path in Path(agent.config["data_dir"]).rglob("*")
            if path.stat().st_mode & 0o777 != (0o700 if path.is_dir() else 0o600)
        ]
        assert not wrong


def test_a_corrupted_log_entry_stops_the_start(tmp_path):
    """A damaged entry in the middle of the log is reported, never skipped."""
    agent = RunningAgent(tmp_path)
    with agent:
        for number in range(20):
            agent.http("PUT", f"/v1/kv/key/{number}", "value-to-be-damaged" * 3)
        agent.kill()
    files = [p for p in Path(agent.config["data_dir"]).rglob("*") if p.is_file()]
    (log,) = [path for path in files if b"value-to-be-damaged" in path.read_bytes()]
    log.write_bytes(log.read_bytes().replace(b"value-to-be", b"VALUE-TO-BE", 1))
    agent.start()
    assert agent.wait() == 1
    text = agent.log_file.read_text()
    assert "Traceback" not in text
    assert f"{log}: entry " in text
