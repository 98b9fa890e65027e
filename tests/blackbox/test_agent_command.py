"""The agent command as a shell or an init system drives it."""

import json
import signal
import subprocess
import sys

import pytest

from consultwist.testing.processes import RunningAgent, our_command, wait_until

pytestmark = pytest.mark.blackbox

COMMAND = [sys.executable, "-m", "consultwist.cli.main", "agent"]


def log_of(agent):
    return agent.log_file.read_text(errors="replace")


def wait_for_log(agent, text):
    """Wait until the agent has said something."""

    def said():
        agent.check_running()
        return text in log_of(agent)

    wait_until(said, what=text)


def test_server_announces_reloads_and_stops(tmp_path):
    """A server says when it runs, follows its file on SIGHUP, and stops when told."""
    with RunningAgent(tmp_path, command=COMMAND) as agent:
        wait_for_log(agent, "==> Consul agent running!")
        assert log_of(agent).startswith("==> Starting Consul agent...\n")
        assert agent.http("GET", "/v1/agent/services").json == {}
        agent.config["services"] = [{"name": "web", "port": 80}]
        (tmp_path / "config.json").write_text(json.dumps(agent.config))
        agent.signal(signal.SIGHUP)
        wait_until(lambda: "web" in agent.http("GET", "/v1/agent/services").json)
        assert agent.stop() == 1
    assert "Caught: signal=terminated" in log_of(agent)


@pytest.mark.parametrize("command", [COMMAND, our_command("client")])
def test_client_leaves_when_terminated(tmp_path, command):
    """A client says goodbye, whichever command runs it."""
    agent = RunningAgent(tmp_path, server=False, command=command).start()
    try:
        wait_until(lambda: _answers(agent), what=f"agent ready, see {agent.log_file}")
        assert agent.stop() == 0
    finally:
        agent.__exit__(None, None, None)
    assert "Graceful exit completed" in log_of(agent)


def _answers(agent):
    agent.check_running()
    try:
        return agent.http("GET", "/v1/agent/self").status == 200
    except OSError:
        return False


def test_second_agent_on_one_data_directory_is_refused(tmp_path):
    """The second one says why, and the first goes on."""
    with RunningAgent(tmp_path, command=COMMAND) as agent:
        second = subprocess.run(
            [*COMMAND, f"-config-file={tmp_path / 'config.json'}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 1
        assert second.stdout == ""
        folder = tmp_path / "data"
        assert second.stderr == f'==> data_dir "{folder}" is in use by another agent\n'
        assert agent.is_ready()
