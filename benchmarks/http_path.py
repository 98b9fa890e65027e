"""CPU of one request over the HTTP path, in microseconds.

Serves routes from a process of its own on the stock reactor: a constant answer, and
what a KV GET does without a store behind it. ``wrk`` loads them with 64 connections;
what is reported is the CPU time of the server, user and system, divided by the number
of requests. The last row is the memory of a parked request.

Usage: ``python benchmarks/http_path.py [--seconds 3] [--address 127.0.0.1]``
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from consultwist.clock import SystemClock
from consultwist.http.direct import listen_tcp
from consultwist.http.interface import HTTPFactory
from consultwist.http.messages import MaybeLater, Request, Response
from consultwist.http.params import query_options
from consultwist.http.responses import Read, index_headers, then
from consultwist.http.router import collect_routes, route
from consultwist.http.site import Site
from consultwist.structs.kv import DirEntry, IndexedDirEntries, KeyRequest
from consultwist.testing.http import HTTPAgent

ROUTES = {
    "constant": "/v1/constant",
    "KV GET, answer remembered": "/v1/kv/some/key",
    "KV GET, body remembered": "/v1/kv/some/key?consistent",
    "KV GET, encoded each time": "/v1/kv/fresh?consistent",
    "missing key": "/v1/missing/key",
}
PARKED = 1000

_ENTRY = DirEntry(key="some/key", value=b"x" * 64, create_index=7, modify_index=7)
_READ = Read("KVS.Get", lambda reply: reply.entries[0], lambda entry: [entry])


class Endpoints:
    """The routes that are measured."""

    def __init__(self, agent: HTTPAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/constant")
    def constant(self, request: Request) -> Response:  # noqa: ARG002 - as all routes
        """Answer 200 bytes."""
        return Response(b"x" * 200, content_type="application/json")

    @route("GET", "/v1/kv/")
    def get_key(self, request: Request) -> MaybeLater:
        """Answer as a KV GET."""
        query = KeyRequest(key=request.rest, **query_options(request, self.agent))
        return _READ.ask(self.agent, query)

    @route("GET", "/v1/missing/")
    def get_missing(self, request: Request) -> MaybeLater:
        """Answer as a KV GET of a key that is not there."""
        query = KeyRequest(key=request.rest, **query_options(request, self.agent))
        return then(
            self.agent.rpc("KVS.Get", query),
            lambda reply: Response(status=404, headers=index_headers(reply)),
        )

    @route("GET", "/v1/park")
    def park(self, request: Request) -> MaybeLater:  # noqa: ARG002 - as all routes
        """Never answer."""
        return Deferred()


class Agent(HTTPAgent):
    """An agent whose servers know one key."""

    def rpc(self, method: str, request: Any) -> IndexedDirEntries:  # noqa: ARG002
        """Answer with the entry, or with a copy that nobody has seen before."""
        entry = _ENTRY
        if request.key == "fresh":
            entry = DirEntry(key="fresh", value=_ENTRY.value, create_index=7)
        return IndexedDirEntries(index=7, known_leader=True, entries=[entry])


def serve(address: str, port: int) -> None:
    """Serve until killed."""
    from twisted.internet import reactor  # noqa: PLC0415 - only the server has one

    running: Any = reactor
    agent = Agent()
    agent.reactor = running
    agent.clock = SystemClock()
    agent.delegate = SimpleNamespace(read_version=lambda: 1)
    agent.config.http_max_conns_per_client = 0
    site = Site(agent, collect_routes(Endpoints(agent)))
    listen_tcp(running, address, port, HTTPFactory(site))
    running.run()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kb(pid: int) -> int:
    """Return the resident memory of a process in kB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def load(url: str, seconds: int, pid: int) -> tuple[float, float]:
    """Return microseconds of CPU per request, and requests per second."""
    before = cpu_s(pid)
    output = subprocess.run(
        ["wrk", "-t1", "-c64", f"-d{seconds}", url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"(\d+) requests in", output)
    assert found is not None, output
    count = int(found[1])
    return (cpu_s(pid) - before) / count * 1e6, count / seconds


def parked_kb(address: str, port: int, pid: int) -> float:
    """Return the memory of one parked request in kB."""
    before = rss_kb(pid)
    request = b"GET /v1/park?index=%d&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n"
    clients = []
    for number in range(PARKED):
        clients.append(socket.create_connection((address, port)))
        clients[-1].sendall(request % number)
    time.sleep(1)
    after = rss_kb(pid)
    for client in clients:
        client.close()
    return (after - before) / PARKED


def main() -> None:
    """Run all rows and print them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8598)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    address, port = options.address, options.port
    if options.serve:
        serve(address, port)
        return
    command = [sys.executable, __file__, "--serve", "--address", address]
    server = subprocess.Popen([*command, "--port", str(port)])
    try:
        time.sleep(1.5)
        for name, path in ROUTES.items():
            url = f"http://{address}:{port}{path}"
            cpu, rate = load(url, options.seconds, server.pid)
            print(f"{name:28} {cpu:6.1f} us/request {rate:9.0f}/s")
        print(f"{'parked request':28} {parked_kb(address, port, server.pid):6.1f} kB")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
