"""Docker checks run a program inside a container, by way of the daemon."""

import json
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionDone, getConnectError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from consultwist.checks.docker import DockerCheck, DockerProbe
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.testing.deferred import no_result_of, result_of

SECOND = 10**9
SOCKET = "/var/run/docker.sock"


class Daemon:
    """A Docker daemon that gives one answer after the other."""

    def __init__(self, host: Any, *answers: tuple[str, str], unix: bool = True) -> None:
        self.reactor = host.reactor
        self.answers = list(answers)
        self.unix = unix
        self.requests: list[bytes] = []
        self._served = 0

    def serve(self) -> None:
        """Answer all connections; the last of them waits where no answer is left."""
        clients = self.reactor.unixClients if self.unix else self.reactor.tcpClients
        while self._served < len(clients) and self.answers:
            factory = clients[self._served][1 if self.unix else 2]
            self._served += 1
            status, body = self.answers.pop(0)
            self._answer(factory, status, body)

    def _answer(self, factory: Any, status: str, body: str) -> None:
        address: Any = (
            UNIXAddress(SOCKET) if self.unix else IPv4Address("TCP", "127.0.0.1", 1)
        )
        protocol = factory.buildProtocol(address)
        transport = StringTransport(hostAddress=address, peerAddress=address)
        protocol.makeConnection(transport)
        self.requests.append(transport.value())
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        protocol.dataReceived(head.encode() + body.encode())
        protocol.connectionLost(Failure(ConnectionDone()))


CREATED = ("201 Created", '{"Id": "e1"}')


def probe(host: Any, docker_host: str = "", **fields: Any) -> Any:
    """Run once."""
    definition = CheckType(
        docker_container_id="abc",
        script_args=["check", "it"],
        timeout=SECOND,
        **{"output_max_size": 4096, **fields},
    )
    environment = {"DOCKER_HOST": docker_host} if docker_host else {}
    return DockerProbe(definition, host, environment).run()


@pytest.mark.parametrize(
    ("code", "status"), [(0, "passing"), (1, "warning"), (2, "critical")]
)
def test_the_exit_code_tells_the_status(host, code, status):
    """As with scripts; what the program wrote is the output."""
    ended = ("200 OK", json.dumps({"ExitCode": code, "Running": False}))
    daemon = Daemon(host, CREATED, ("200 OK", "fine\r\n"), ended)
    outcome = probe(host)
    daemon.serve()
    found = result_of(outcome)
    assert (found.status, found.output) == (status, "fine\r\n")
    lines = [request.split(b"\r\n")[0] for request in daemon.requests]
    assert lines == [
        b"POST /containers/abc/exec HTTP/1.1",
        b"POST /exec/e1/start HTTP/1.1",
        b"GET /exec/e1/json HTTP/1.1",
    ]
    created = json.loads(daemon.requests[0].partition(b"\r\n\r\n")[2])
    assert created["Cmd"] == ["check", "it"]


def test_a_long_output_is_cut_to_its_end(host):
    """As with scripts, with how much was cut."""
    daemon = Daemon(host, CREATED, ("200 OK", "abcdef"), ("200 OK", '{"ExitCode": 0}'))
    outcome = probe(host, output_max_size=2)
    daemon.serve()
    assert result_of(outcome).output == "Captured 2 of 6 bytes\n...\nef"


def test_a_daemon_that_is_not_there_is_critical(host):
    """The words were captured from 1.8.7."""
    outcome = probe(host)
    factory = host.reactor.unixClients[0][1]
    failed = Failure(getConnectError((2, "No such file or directory")))
    factory.clientConnectionFailed(host.reactor.connectors[-1], failed)
    found = result_of(outcome)
    text = (
        "create exec failed for container abc: Post "
        '"http://%2Fvar%2Frun%2Fdocker.sock/containers/abc/exec": dial unix '
        "/var/run/docker.sock: connect: no such file or directory"
    )
    assert (found.status, found.output) == ("critical", text)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (
            [("404 Not Found", "")],
            "create exec failed for unknown container abc",
        ),
        (
            [("409 Conflict", "")],
            "create exec failed since container abc is paused or stopped",
        ),
        (
            [("500 Internal Server Error", "oh")],
            "create exec failed for container abc with status code 500: oh",
        ),
        ([("201 Created", "{}")], "create exec response for container has no Id"),
        ([("201 Created", "[]")], "Docker's answer is no JSON object"),
        ([("201 Created", "<")], "Docker's answer is not JSON"),
        (
            [CREATED, ("409 Conflict", "stopped")],
            "start exec failed for container abc with status code 409: stopped",
        ),
        (
            [CREATED, ("200 OK", ""), ("404 Not Found", "gone")],
            "inspect exec failed for container abc with status code 404: gone",
        ),
        (
            [CREATED, ("200 OK", ""), ("200 OK", '{"ExitCode": null}')],
            "inspect exec response has no ExitCode",
        ),
    ],
)
def test_whatever_the_daemon_refuses_is_critical(host, answers, text):
    """With the step that failed."""
    daemon = Daemon(host, *answers)
    outcome = probe(host)
    daemon.serve()
    found = result_of(outcome)
    assert found.status == "critical"
    assert found.output.startswith(text)


def test_a_program_that_does_not_end_is_critical(host):
    """When its timeout is over."""
    daemon = Daemon(host, CREATED)
    outcome = probe(host)
    daemon.serve()
    no_result_of(outcome)
    host.reactor.advance(1)
    assert result_of(outcome).output == "no answer from Docker within 1 s"


def test_the_environment_says_where_the_daemon_is(host):
    """``DOCKER_HOST`` names another socket or an address."""
    answers = (CREATED, ("200 OK", ""), ("200 OK", '{"ExitCode": 0}'))
    daemon = Daemon(host, *answers, unix=False)
    outcome = probe(host, "tcp://127.76.0.9:2375")
    daemon.serve()
    assert result_of(outcome).status == "passing"
    assert host.reactor.tcpClients[0][:2] == ("127.76.0.9", 2375)
    other = probe(host, "ssh://somewhere")
    assert "unsupported DOCKER_HOST scheme ssh" in result_of(other).output


def test_takes_definitions_with_a_container_and_arguments(host):
    """The type makes a runner of them."""
    check_type = DockerCheck()
    verifyObject(ICheckType, check_type)
    definition = CheckType(
        check_id="c", docker_container_id="abc", script_args=["x"], interval=SECOND
    )
    assert check_type.takes(definition)
    assert not check_type.takes(CheckType(script_args=["x"]))
    assert not check_type.takes(CheckType(docker_container_id="abc"))
    runner = check_type.make_runner(definition, host)
    runner.start()
    runner.stop()
    assert host.reports == []
