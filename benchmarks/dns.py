"""Claim: answers over DNS cost at most a quarter of the stock agent's CPU.

Usage: ``python benchmarks/dns.py [--repeat 3]``; needs ``dnsperf``.
"""

import random
from collections.abc import Iterator

from side_by_side import Agent, Row, compare, dnsperf, register_instances

_NAMES = 1000


def measure(agent: Agent) -> Iterator[Row]:
    """Ask for services and nodes."""
    for count in (3, 10):
        register_instances(agent, f"web{count}", count)
    for number in range(_NAMES):
        register_instances(agent, f"svc{number}", 2)
    mixed = [f"svc{number}.service.consul A" for number in range(_NAMES)] * 5
    random.Random(1).shuffle(mixed)
    for name, questions in {
        "DNS A, 3 instances": ["web3.service.consul A"],
        "DNS SRV, 3 instances": ["web3.service.consul SRV"],
        "DNS A, 10 instances": ["web10.service.consul A"],
        "DNS SRV, 10 instances": ["web10.service.consul SRV"],
        "DNS node": ["ext-web3-0.node.consul A"],
        "DNS A, 1000 names": mixed,
        "DNS, absent name": ["absent.service.consul A"],
    }.items():
        yield name, dnsperf(agent, questions)


if __name__ == "__main__":
    compare(measure)
