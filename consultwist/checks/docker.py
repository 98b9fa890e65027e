"""Docker checks: the exit code of a program inside a container tells the status.

The program is run by the Docker daemon, over the daemon's HTTP API at ``DOCKER_HOST``
or its local socket, in three calls: make an exec instance, start it and read its
output, ask for its exit code.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote as escape

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Factory
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import DialError, dial, split_host_port
from consultwist.checks.http_exchange import HTTPExchange
from consultwist.checks.http_response import ResponseError
from consultwist.checks.outcome import (
    CRITICAL,
    PASSING,
    WARNING,
    Outcome,
    OutputTail,
)
from consultwist.checks.runner import IntervalRunner
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

#: Where the daemon listens unless told otherwise (Docker's default).
SOCKET_DEFAULT: Final = "unix:///var/run/docker.sock"

#: Stock waits for ever where the check asks for no timeout; a container that hangs
#: must not hold a connection for longer than this.
TIMEOUT_DEFAULT: Final = 3600 * durations.SECOND

#: Answers of the daemon beside the program's output are small.
_ANSWER_MAX_BYTES: Final = 64 * 1024

_STATUS_BY_CODE: Final = {0: PASSING, 1: WARNING}


@implementer(ICheckType)
class DockerCheck:
    """Checks that run a program inside a container."""

    kind = "docker"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with a container and arguments."""
        return bool(definition.docker_container_id and definition.script_args)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what runs the program at its interval."""
        return IntervalRunner(definition, host, DockerProbe(definition, host).run)


class DockerError(Exception):
    """The daemon could not be asked, or refused; the text is the check's output."""


class DockerProbe:
    """Runs the program once.

    Args:
        definition: names the container and the arguments.
        host: has the reactor.
        environment: where ``DOCKER_HOST`` is looked for.
    """

    def __init__(
        self,
        definition: CheckType,
        host: ICheckHost,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._container = definition.docker_container_id
        self._args = list(definition.script_args or ())
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._output_size_max = definition.output_max_size
        self._reactor: Any = host.reactor
        address = environment.get("DOCKER_HOST") or SOCKET_DEFAULT
        self._daemon = Daemon(host.reactor, address, self._timeout_s)

    def run(self) -> Deferred[Outcome]:
        """Run the program to its end or the timeout."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        tail = OutputTail(self._output_size_max)
        try:
            ended = Deferred.fromCoroutine(self._execute(tail))
            code = await within(self._reactor, ended, self._timeout_s)
        except TimeoutError:
            text = f"no answer from Docker within {self._timeout_s:g} s"
            return Outcome(CRITICAL, text)
        except DockerError as error:
            return Outcome(CRITICAL, str(error))
        return Outcome(_STATUS_BY_CODE.get(code, CRITICAL), tail.text_with_size())

    async def _execute(self, output: OutputTail) -> int:
        exec_id = await self._create()
        await self._start(exec_id, output)
        return await self._inspect(exec_id)

    async def _create(self) -> str:
        wanted = {
            "AttachStdin": False,
            "AttachStdout": True,
            "AttachStderr": True,
            "Cmd": self._args,
        }
        path = f"/containers/{escape(self._container, safe='')}/exec"
        answer = await self._ask("create", "POST", path, wanted)
        if answer.status == 201:
            exec_id = answer.fields().get("Id")
            if isinstance(exec_id, str) and exec_id:
                return exec_id
            raise DockerError("create exec response for container has no Id")
        if answer.status == 404:
            text = f"create exec failed for unknown container {self._container}"
            raise DockerError(text)
        if answer.status == 409:
            raise DockerError(
                f"create exec failed since container {self._container} "
                "is paused or stopped"
            )
        raise self._refused("create", answer)

    async def _start(self, exec_id: str, output: OutputTail) -> None:
        # With a terminal the output comes as it is, without frames around its pieces.
        wanted = {"Detach": False, "Tty": True}
        path = f"/exec/{escape(exec_id, safe='')}/start"
        answer = await self._ask("start", "POST", path, wanted, output)
        if answer.status != 200:
            raise self._refused("start", answer)

    async def _inspect(self, exec_id: str) -> int:
        path = f"/exec/{escape(exec_id, safe='')}/json"
        answer = await self._ask("inspect", "GET", path)
        if answer.status != 200:
            raise self._refused("inspect", answer)
        code = answer.fields().get("ExitCode")
        if not isinstance(code, int):
            raise DockerError("inspect exec response has no ExitCode")
        return code

    async def _ask(
        self,
        step: str,
        method: str,
        path: str,
        body: object = None,
        output: OutputTail | None = None,
    ) -> "_Answer":
        tail = output or OutputTail(_ANSWER_MAX_BYTES)
        try:
            return await self._daemon.ask(method, path, body, tail)
        except DockerError as error:
            text = f"{step} exec failed for container {self._container}: {error}"
            raise DockerError(text) from error

    def _refused(self, step: str, answer: "_Answer") -> DockerError:
        return DockerError(
            f"{step} exec failed for container {self._container} "
            f"with status code {answer.status}: {answer.tail.text()}"
        )


@attrs.frozen
class _Answer:
    """The status of an answer, and its body."""

    status: int
    tail: OutputTail

    def fields(self) -> dict[str, Any]:
        """Return the JSON object of the body.

        Raises:
            DockerError: where it is none.
        """
        try:
            found = json.loads(self.tail.text())
        except (ValueError, RecursionError) as error:
            raise DockerError(f"Docker's answer is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise DockerError("Docker's answer is no JSON object")
        return found


class Daemon:
    """The Docker daemon at one address: ``unix:///path`` or ``tcp://host:port``."""

    def __init__(self, reactor: Any, address: str, timeout_s: float) -> None:
        self._reactor = reactor
        self._scheme, _, self._place = address.partition("://")
        self._timeout_s = timeout_s

    async def ask(
        self, method: str, path: str, body: object, tail: OutputTail
    ) -> _Answer:
        """Send one request on a connection of its own; the tail gets the body.

        Raises:
            DockerError: where no answer came; it begins like Go's.
        """
        host = escape(self._place, safe=":[]")
        verb = method[:1] + method[1:].lower()
        exchange = HTTPExchange(_request(method, path, body), tail, unpack=False)
        try:
            await self._connect(exchange)
            await exchange.head
            await exchange.body_end
        except (DialError, ResponseError, ConnectionClosed) as error:
            text = str(error) if not isinstance(error, ConnectionClosed) else "EOF"
            raise DockerError(f'{verb} "http://{host}{path}": {text}') from error
        finally:
            exchange.close()
        return _Answer(exchange.response.status, tail)

    async def _connect(self, exchange: HTTPExchange) -> None:
        if self._scheme == "unix":
            await self._connect_unix(exchange)
        elif self._scheme in ("tcp", "http"):
            target = split_host_port(self._place)
            await dial(self._reactor, target, lambda: exchange, self._timeout_s)
        else:
            raise DialError(f"unsupported DOCKER_HOST scheme {self._scheme}")

    async def _connect_unix(self, exchange: HTTPExchange) -> None:
        endpoint = UNIXClientEndpoint(self._reactor, self._place, self._timeout_s)
        try:
            await endpoint.connect(Factory.forProtocol(lambda: exchange))
        except ConnectError as error:
            number = error.osError
            reason = os.strerror(number).lower() if isinstance(number, int) else error
            raise DialError(f"dial unix {self._place}: connect: {reason}") from error


def _request(method: str, path: str, body: object) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: docker",
        "User-Agent: Consul Health Check",
        "Connection: close",
    ]
    if data:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data
