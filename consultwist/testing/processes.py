"""Real agents in processes of their own, for tests from outside.

Every agent gets a loopback address to itself, so that all can use the usual ports and
nothing collides. Whoever starts one stops it: use it as a context manager.
"""

import http.client
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

#: Addresses 127.BLOCK.x.y are taken from here; the process number keeps parallel test
#: runs apart.
_BLOCKS: Final = range(80, 120)

#: How long an agent may take to start or to stop.
READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.02


def _addresses() -> Iterator[str]:
    rng = random.Random(os.getpid())  # noqa: S311
    block = _BLOCKS[os.getpid() % len(_BLOCKS)]
    third = rng.randrange(1, 250)
    for number in itertools.count():
        yield f"127.{block}.{(third + number // 250) % 250 + 1}.{number % 250 + 1}"


_free = _addresses()


def free_address(*ports: int) -> str:
    """Return a loopback address on which nobody listens on some ports."""
    for address in itertools.islice(_free, 1000):
        if all(_is_free(address, port) for port in ports or (8500, 8300, 8301, 8600)):
            return address
    raise RuntimeError("no free loopback address was found")


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def wait_until(
    condition: Callable[[], Any], timeout_s: float = READY_TIMEOUT_S, what: str = ""
) -> Any:
    """Return the first true answer of a condition that is asked again and again.

    Raises:
        TimeoutError: where none came in time.
    """
    deadline = time.monotonic() + timeout_s  # noqa: TID251 - the world's own time
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:  # noqa: TID251
            raise TimeoutError(f"not within {timeout_s} s: {what or condition}")
        time.sleep(_POLL_S)


class Answer:
    """An HTTP answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class RunningAgent:
    """One agent, started with the configuration that a test gives.

    Args:
        folder: where its configuration, data and log go; kept between starts.
        config: more configuration, over what every test agent has.
        server: whether it is a server; the first of its datacenter unless the
            configuration says otherwise.
        command: the program and its first arguments; ours unless given.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any] | None = None,
        *,
        server: bool = True,
        command: list[str] | None = None,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = (config or {}).get("bind_addr") or free_address()
        self.config = self._config(config or {}, server=server)
        self._config_file = folder / "config.json"
        self.log_file = folder / "agent.log"
        self._command = command or our_command("server" if server else "client")
        self.process: subprocess.Popen[bytes] | None = None

    def _config(self, more: dict[str, Any], *, server: bool) -> dict[str, Any]:
        base: dict[str, Any] = {
            "datacenter": "dc1",
            "node_name": f"node-{self.address.rpartition('.')[2]}",
            "data_dir": str(self.folder / "data"),
            "bind_addr": self.address,
            "client_addr": self.address,
            "log_level": "debug",
            "disable_update_check": True,
            "server": server,
            "performance": {"raft_multiplier": 1},
            "limits": {"http_max_conns_per_client": 4000},
        }
        if server and "bootstrap_expect" not in more and "retry_join" not in more:
            base["bootstrap_expect"] = 1
        return base | more

    def start(self) -> Self:
        """Start the process; its interfaces may not answer yet."""
        self._config_file.write_text(json.dumps(self.config))
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, f"-config-file={self._config_file}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        return self

    def wait_ready(self) -> Self:
        """Wait until the agent knows a leader and answers for it."""
        wait_until(self.is_ready, what=f"agent ready, see {self.log_file}")
        return self

    def is_ready(self) -> bool:
        """Tell whether HTTP answers and a leader is known."""
        self.check_running()
        try:
            answer = self.http("GET", "/v1/status/leader")
        except OSError:
            return False
        return answer.status == 200 and answer.body not in (b"", b'""', b'""\n')

    def check_running(self) -> None:
        """Fail with the end of the log where the process has ended."""
        if self.process is None or self.process.poll() is not None:
            tail = self.log_file.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the agent is not running; its log ends:\n{tail}")

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """End the process in good order; returns its exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0 if self.process is None else self.process.returncode
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the process; returns its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self) -> Self:
        return self.start().wait_ready()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def http(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 15.0,
    ) -> Answer:
        """Ask the HTTP API; a body that is neither bytes nor text is sent as JSON."""
        if isinstance(body, str):
            body = body.encode()
        elif body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        port = self.config.get("ports", {}).get("http", 8500)
        connection = http.client.HTTPConnection(self.address, port, timeout=timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()


def our_command(mode: str) -> list[str]:
    """Return the command that starts our agent in a mode, in the foreground."""
    twistd = Path(sys.executable).with_name("twistd")
    return [str(twistd), "-n", "--pidfile=", f"consul-{mode}"]


def find_consul() -> str | None:
    """Return the path of a stock Consul, or None where there is none.

    ``$CONSUL_BINARY`` names one; else the usual cache folder and the PATH are tried.
    """
    cached = Path.home() / ".cache" / "consultwist" / "peers" / "consul"
    candidates = [os.environ.get("CONSUL_BINARY", ""), str(cached)]
    candidates += [
        str(Path(folder) / "consul") for folder in os.get_exec_path() if folder
    ]
    return next((path for path in candidates if os.access(path, os.X_OK)), None)
