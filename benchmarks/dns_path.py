"""What a DNS question costs, from datagram to datagram, without a server behind it.

    python benchmarks/dns_path.py [--seconds 3] [--address 127.0.0.1] [--uncached]

A process answers from a small catalog over real sockets; dnsperf asks it. The figure is
the CPU time of that process, user and system, for each question. With `--uncached` all
replies have new payloads, so that every answer is built anew.
"""

import argparse
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from twisted.internet import reactor

from consultwist.clock import SystemClock
from consultwist.config.runtime import ListenAddress, SOAConfig
from consultwist.dns.forms.node import NodeForm
from consultwist.dns.forms.service import ServiceForm
from consultwist.dns.interface import DNSService
from consultwist.structs.catalog import Node, NodeService
from consultwist.testing.agent import RecordedMetrics, RecordingAgent
from consultwist.testing.catalog import CatalogFake

PORT = 18600
NAMES = 1000
QUESTIONS = {
    "A, 3 instances": ["web.service.consul A"],
    "SRV, 3 instances": ["web.service.consul SRV"],
    "A, 1000 names": [f"s{i}.service.consul A" for i in range(NAMES)],
    "node": ["n1.node.consul A"],
    "absent name": ["nope.service.consul A"],
}


class SilentMetrics(RecordedMetrics):
    """Metrics that cost next to nothing."""

    def sample(self, name: str, value: float, labels: Any = None) -> None:
        """Forget a sample."""

    def counter(self, name: str, value: float = 1, labels: Any = None) -> None:
        """Forget a count."""


class LeanAgent(RecordingAgent):
    """An agent that remembers no calls."""

    def rpc(self, method: str, request: Any) -> Any:
        """Answer."""
        return self.methods[method](request)


def make_config(address: str) -> Any:
    """Return what the interface reads of a configuration."""
    return SimpleNamespace(
        dns_addrs=(ListenAddress("udp", address, PORT),),
        dns_domain="consul.",
        dns_alt_domain="",
        datacenter="dc1",
        node_name="bench",
        segment_name="",
        translate_wan_addrs=False,
        dns_node_ttl=0.0,
        dns_service_ttl={},
        dns_soa=SOAConfig(expire=86400, minttl=0, refresh=3600, retry=600),
        dns_allow_stale=True,
        dns_max_stale=87600 * 3600.0,
        dns_use_cache=False,
        dns_cache_max_age=0.0,
        dns_only_passing=False,
        dns_a_record_limit=0,
        dns_udp_answer_limit=3,
        dns_enable_truncate=False,
        dns_disable_compression=False,
        dns_node_meta_txt=True,
        dns_recursors=(),
        dns_recursor_timeout=2.0,
    )


def make_catalog() -> CatalogFake:
    """Return a catalog of a few nodes with many services."""
    catalog = CatalogFake("dc1")
    for number in range(1, 4):
        node = Node(node=f"n{number}", address=f"10.0.0.{number}", meta={"rack": "r1"})
        catalog.register(node, NodeService(id="web", service="web", port=8080))
        for index in range(NAMES):
            name = f"s{index}"
            catalog.register(node, NodeService(id=name, service=name, port=8080))
    return catalog


def serve(address: str, uncached: bool) -> None:
    """Answer questions until the pipe to the parent is closed."""
    catalog = make_catalog()
    methods = dict(catalog.methods())
    # The catalog's own search is not what is measured: replies are looked up.
    replies: dict[Any, Any] = {}

    def remember(name: str) -> Any:
        answer = methods[name]

        def find(request: Any) -> Any:
            key = getattr(request, "service_name", "") or getattr(request, "node", "")
            reply = replies.get(key)
            if reply is None:
                reply = replies[key] = answer(request)
            return renewed(reply) if uncached else reply

        return find

    agent = LeanAgent(make_config(address), {name: remember(name) for name in methods})
    agent.reactor, agent.clock = reactor, SystemClock()
    agent.rng, agent.metrics = random.Random(), SilentMetrics()
    service = DNSService(agent, [NodeForm(), ServiceForm()])
    service.startService()
    report_on_request(reactor)
    print("ready", flush=True)
    reactor.run()


def renewed(reply: Any) -> Any:
    """Return the reply with another payload object of the same content."""
    if getattr(reply, "nodes", None) is not None:
        return msgspec.structs.replace(reply, nodes=list(reply.nodes))
    return msgspec.structs.replace(
        reply, node_services=msgspec.structs.replace(reply.node_services)
    )


def report_on_request(loop: Any) -> None:
    """Print the CPU time used so far for each line read; end with the input."""

    class Reader:
        def fileno(self) -> int:
            return 0

        def logPrefix(self) -> str:
            return "report"

        def doRead(self) -> None:
            os.read(0, 4096)
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(used.ru_utime + used.ru_stime, flush=True)

        def connectionLost(self, reason: Any) -> None:  # noqa: ARG002
            loop.stop()

    loop.addReader(Reader())


def cpu_s(server: Any) -> float:
    """Return the server's CPU time."""
    server.stdin.write("?\n")
    server.stdin.flush()
    return float(server.stdout.readline())


def ask(address: str, questions: list[str], seconds: float) -> int:
    """Run dnsperf; return how many questions were answered."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(questions) + "\n")
        file.flush()
        command = ["dnsperf", "-s", address, "-p", str(PORT), "-d", file.name]
        command += ["-l", str(seconds), "-c", "4", "-q", "64"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Queries completed:\s+(\d+)", shown.stdout)
    assert found is not None, shown.stdout
    return int(found.group(1))


def main() -> None:
    """Measure each kind of question."""
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--address", default="127.0.0.1")
    options.add_argument("--uncached", action="store_true")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        serve(chosen.address, chosen.uncached)
        return
    command = [sys.executable, str(Path(__file__)), "--serve"]
    command += ["--address", chosen.address]
    command += ["--uncached"] if chosen.uncached else []
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        assert server.stdout is not None
        server.stdout.readline()
        for name, questions in QUESTIONS.items():
            ask(chosen.address, questions, 0.5)
            before = cpu_s(server)
            count = ask(chosen.address, questions, chosen.seconds)
            cost_us = (cpu_s(server) - before) * 1e6 / count
            rate = count / chosen.seconds
            print(f"{name:18} {cost_us:6.1f} us  {rate:9.0f} questions/s")


if __name__ == "__main__":
    main()
