"""What all comparisons share: two agents side by side, load on them, their CPU time.

A measurement is a function of a running agent that yields rows. `compare` runs it
against our agent and, where one is found, against a stock Consul, one after the other
and again in the reverse order, so that both see the same machine. It prints medians
and the ratio of ours to the stock agent's.

The first figure is the CPU time of the server's process for one operation: on a small
machine that others use too, it stays meaningful where throughput does not.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY

from consultwist.testing.processes import RunningAgent, find_consul

OURS, STOCK = "ours", "stock"

#: What the rows of a measurement are: a name, and figures by their name.
Row = tuple[str, dict[str, float]]
Measure = Callable[["Agent"], Iterator[Row]]

VALUE = "v" * 100

#: How long an agent is loaded for one row, after a second to warm up.
LOAD_S = 2

_PAGE = os.sysconf("SC_PAGE_SIZE")

#: Wrk's script: requests are made by the function that is put in, percentiles and
#: failures are told on the last line.
_SCRIPT = """
local n = 0
{request}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("@@ %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Agent(RunningAgent):
    """An agent whose use of the machine can be measured."""

    name = ""
    _kept: HTTPConnection | None = None

    @property
    def pid(self) -> int:
        """The process."""
        assert self.process is not None
        return self.process.pid

    def cpu_s(self) -> float:
        """Return the CPU seconds of all threads, those that ended too."""
        # The CPU clock of another process: see clock_getcpuclockid(3).
        return time.clock_gettime_ns((~self.pid << 3) | 2) / 1e9

    def rss_mb(self) -> float:
        """Return the resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * _PAGE / 1e6

    def ask(self, method: str, path: str, body: object = b"") -> bytes:
        """Ask over a connection that is kept; the answer must be a success."""
        if self._kept is None:
            self._kept = HTTPConnection(self.address, 8500, timeout=60)
            self._kept.connect()
            self._kept.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        sent = body if isinstance(body, bytes | str) else json.dumps(body)
        self._kept.request(method, path, sent)
        answer = self._kept.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
        return content

    def put(self, path: str, body: object = b"") -> None:
        """Write something, which must succeed."""
        self.ask("PUT", path, body)

    def index(self, path: str) -> int:
        """Return the index of an answer."""
        return int(self.http("GET", path).headers["x-consul-index"])


class Meter:
    """CPU time and wall time of a stretch of work."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def __enter__(self) -> "Meter":
        self._cpu_s = self._agent.cpu_s()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.monotonic() - self._began
        self.cpu_s = self._agent.cpu_s() - self._cpu_s

    def row(self, operations: int, **more: float) -> dict[str, float]:
        """Return the figures for so many operations."""
        operations = max(operations, 1)
        return {
            "cpu_us": self.cpu_s / operations * 1e6,
            "per_s": operations / self.wall_s,
            **more,
        }


def wrk(
    agent: Agent,
    path: str,
    *,
    connections: int = 64,
    seconds: int = LOAD_S,
    request: str = "",
    port: int = 8500,
) -> dict[str, float]:
    """Load an agent with wrk; `request` is a Lua function that makes the requests."""
    scheme = "https" if port == 8501 else "http"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.replace("{request}", request))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", "--timeout", "20s"]
        command += ["-s", script.name, f"{scheme}://{agent.address}:{port}{path}"]
        run([*command, "-d1s"])
        with Meter(agent) as meter:
            output = run([*command, f"-d{seconds}s"])
    figures = output.rpartition("@@ ")[2].split()
    count, duration_us, failed, p50_us, p99_us = map(int, figures)
    if failed:
        raise RuntimeError(f"{failed} of {count} requests failed: {path}")
    row = meter.row(count, p50_ms=p50_us / 1e3, p99_ms=p99_us / 1e3)
    return row | {"per_s": count / duration_us * 1e6}


def dnsperf(
    agent: Agent, questions: list[str], seconds: int = LOAD_S
) -> dict[str, float]:
    """Load an agent with questions of DNS over UDP, 100 of them under way."""
    with tempfile.NamedTemporaryFile("w", suffix=".dns") as file:
        file.write("".join(f"{question}\n" for question in questions))
        file.flush()
        command = ["dnsperf", "-s", agent.address, "-p", "8600", "-d", file.name]
        command += ["-c8", "-q100", "-T1"]
        run([*command, "-l1"])
        with Meter(agent) as meter:
            output = run([*command, f"-l{seconds}"])
    done, lost, duration_s, average_s = (
        float(_found(pattern, output))
        for pattern in (
            r"Queries completed:\s+(\d+)",
            r"Queries lost:\s+(\d+)",
            r"Run time \(s\):\s+([\d.]+)",
            r"Average Latency \(s\):\s+([\d.]+)",
        )
    )
    if lost:
        raise RuntimeError(f"{lost:.0f} questions were not answered")
    row = meter.row(int(done), mean_ms=average_s * 1e3)
    return row | {"per_s": done / duration_s}


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text
    return found[1]


def run(command: list[str]) -> str:
    """Run a program and return what it printed."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def register_instances(agent: Agent, service: str, count: int) -> None:
    """Put a service into the catalog, each instance on a node of its own."""
    for number in range(count):
        node = f"ext-{service}-{number}"
        check = {"Name": "http", "Status": "passing", "ServiceID": node}
        body = {
            "Node": node,
            "Address": f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
            "NodeMeta": {"external-node": "true"},
            "Service": {
                "ID": node,
                "Service": service,
                "Port": 8000,
                "Tags": ["v1", "http"],
                "Meta": {"build": "17"},
            },
            "Check": check | {"CheckID": f"c-{node}", "Output": "HTTP GET: 200 OK"},
        }
        agent.put("/v1/catalog/register", body)


def commands() -> dict[str, list[str]]:
    """Return how each agent is started."""
    ours = Path(sys.executable).with_name("consultwist")
    found = {OURS: [str(ours), "agent"]}
    consul = find_consul()
    if consul is not None:
        found[STOCK] = [consul, "agent"]
    return found


def compare(
    measure: Measure,
    config: Mapping[str, object] | None = None,
    *,
    started: bool = True,
) -> None:
    """Measure both agents as the command line says, and print the table.

    Args:
        measure: what to do with one agent.
        config: more configuration.
        started: whether the agent is to be started before.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--root", default="/var/tmp", help="on the disk that counts")
    parser.add_argument("--json", type=Path, help="where to add the figures")
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for repeat in range(options.repeat):
        targets = list(commands().items())
        for name, command in targets[:: -1 if repeat % 2 else 1]:
            rows = _measure_one(measure, command, name, config, options.root, started)
            for row, figures in rows:
                kept = results.setdefault(row, {}).setdefault(name, {})
                for figure, value in figures.items():
                    kept.setdefault(figure, []).append(value)
    medians = {
        row: {
            name: {figure: statistics.median(v) for figure, v in figures.items()}
            for name, figures in by_name.items()
        }
        for row, by_name in results.items()
    }
    _print(medians)
    if options.json is not None:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(known | medians, indent=1))


def _measure_one(
    measure: Measure,
    command: list[str],
    name: str,
    config: Mapping[str, object] | None,
    root: str,
    started: bool,
) -> list[Row]:
    folder = Path(tempfile.mkdtemp(prefix="side-by-side-", dir=root))
    more = {"log_level": "warn", **(config or {})}
    agent = Agent(folder, more, command=command)
    agent.name = name
    try:
        if started:
            agent.start().wait_ready()
            agent.put("/v1/kv/ready", "1")
            time.sleep(1)
        return list(measure(agent))
    finally:
        if agent.process is not None and agent.process.poll() is None:
            agent.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _print(medians: dict[str, dict[str, dict[str, float]]]) -> None:
    for row, by_name in medians.items():
        print(row)
        for name, figures in by_name.items():
            shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
            print(f"    {name:6} {shown}")
        if len(by_name) == 2:
            ours, stock = by_name[OURS], by_name[STOCK]
            ratios = "  ".join(
                f"{key} {ours[key] / stock[key]:.3g}"
                for key in ours
                if stock.get(key) and key in ours
            )
            print(f"    ratio  {ratios}")
