"""The examples in ``etc/consultwist`` do what they promise, with a real web server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import pytest

from consultwist.testing.processes import RunningAgent, free_address, wait_until

pytestmark = pytest.mark.blackbox

EXAMPLES = Path(__file__).parents[2] / "etc" / "consultwist"
DIG = shutil.which("dig")

WEB_PORT = 8080
#: What the service definition says, and how soon after it an answer has changed.
INTERVAL_S = 5.0
GRACE_S = 1.0

RETRY_JOIN = 'retry_join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]'


def example(folder, name, *changes):
    """Copy an example, with what must be other on a test machine changed."""
    text = (EXAMPLES / name).read_text()
    for old, new in changes:
        assert old in text, f"{name} has no {old}"
        text = text.replace(old, new)
    copy = folder / name
    copy.write_text(text)
    return f"-config-file={copy}"


def example_agent(folder, address, files, **options):
    """Make an agent of examples; addresses and folders are set by one more file."""
    command = [sys.executable, "-m", "consultwist.cli.main", "agent", *files]
    config = {"bind_addr": address}
    return RunningAgent(folder, config, command=command, **options)


@pytest.fixture
def server(tmp_path):
    """An agent of the server example and the service definition."""
    address = free_address(8500, 8300, 8301, 8302, 8600, WEB_PORT)
    files = [
        example(tmp_path, "server.hcl", (RETRY_JOIN, "")),
        example(tmp_path, "web.hcl", ("127.0.0.1:8080", f"{address}:{WEB_PORT}")),
    ]
    with example_agent(tmp_path / "server", address, files) as agent:
        yield agent


class WebServer:
    """A real web server that is started and killed."""

    def __init__(self, address, folder):
        self.command = [
            *(sys.executable, "-m", "http.server", str(WEB_PORT)),
            *("--bind", address, "--directory", str(folder)),
        ]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __exit__(self, *failure):
        self.process.kill()
        self.process.wait()


def resolve(agent, name, kind):
    """Return the answers for a name: with dig, or dnspython where there is no dig."""
    if DIG is None:
        question = dns.message.make_query(name, kind)
        reply = dns.query.udp(question, agent.address, timeout=5, port=8600)
        return sorted(data.to_text() for each in reply.answer for data in each)
    done = subprocess.run(
        [DIG, f"@{agent.address}", "-p", "8600", "+short", name, kind],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return sorted(done.stdout.splitlines())


def wait_for_answer(agent, answers):
    """Wait until the name of the service resolves to something, not too long."""

    def is_there():
        return resolve(agent, "web.service.consul", "A") == answers

    wait_until(is_there, INTERVAL_S + GRACE_S, f"web.service.consul is {answers}")


def test_name_of_a_service_follows_its_health(server, tmp_path):
    """The name resolves while the web server answers, and only then."""
    node = server.config["node_name"]
    assert resolve(server, "web.service.consul", "A") == []
    with WebServer(server.address, tmp_path):
        wait_for_answer(server, [server.address])
        (answer,) = resolve(server, "_web._tcp.service.consul", "SRV")
        assert answer == f"1 1 {WEB_PORT} {node}.node.dc1.consul."
    wait_for_answer(server, [])
    (check,) = server.http("GET", "/v1/health/checks/web").json
    assert (check["Name"], check["Status"]) == ("web answers", "critical")
    assert "connection refused" in check["Output"]
    with WebServer(server.address, tmp_path):
        wait_for_answer(server, [server.address])


def test_client_joins_the_server(server, tmp_path):
    """The client example finds the server, and its services are known there."""
    files = [example(tmp_path, "client.hcl", (RETRY_JOIN, _join(server.address)))]
    client = example_agent(
        tmp_path / "client", free_address(), files, server=False
    ).start()
    try:
        names = {server.config["node_name"], client.config["node_name"]}
        wait_until(lambda: _alive(server) == names, what="the pool at the server")
        wait_until(lambda: _alive(client) == names, what="the pool at the client")
        client.http("PUT", "/v1/agent/service/register", {"Name": "far", "Port": 1})
        here = [client.address]
        wait_until(lambda: resolve(server, "far.service.consul", "A") == here)
        assert client.stop() == 0
        wait_until(lambda: _alive(server) == {server.config["node_name"]})
    finally:
        client.__exit__(None, None, None)


def _join(address):
    return f'retry_join = ["{address}"]'


def _alive(agent):
    agent.check_running()
    try:
        members = agent.http("GET", "/v1/agent/members").json
    except OSError:
        return set()
    return {member["Name"] for member in members if member["Status"] == 1}


def test_examples_are_valid_and_complete():
    """Each file is a valid configuration, and names the interval tested here."""
    names = sorted(path.name for path in EXAMPLES.iterdir())
    assert names == ["client.hcl", "server.hcl", "web.hcl"]
    for name in ("client.hcl", "server.hcl"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "consultwist.cli.main", "validate"),
                *(str(EXAMPLES / name), str(EXAMPLES / "web.hcl")),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("Configuration is valid!\n")
    interval = re.search(r'interval = "(\d+)s"', (EXAMPLES / "web.hcl").read_text())
    assert interval is not None
    assert float(interval[1]) == INTERVAL_S
