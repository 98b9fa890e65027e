"""Claim: an agent needs no more memory than a stock one, and less when it is full.

Idle, with 100,000 keys, while it lists and saves them; and what an idle agent costs.

Usage: ``python benchmarks/memory.py [--repeat 3]``; needs ``wrk``.
"""

import base64
import time
from collections.abc import Iterator

from side_by_side import VALUE, Agent, Meter, Row, compare, wrk

_KEYS = 100_000
_IDLE_S = 10.0
_OPERATIONS = 64


def measure(agent: Agent) -> Iterator[Row]:
    """Wait, fill, list."""
    time.sleep(3)
    with Meter(agent) as meter:
        time.sleep(_IDLE_S)
    percent = meter.cpu_s / meter.wall_s * 100
    yield "idle", {"MB": agent.rss_mb(), "cpu_percent": percent}
    with Meter(agent) as meter:
        _fill(agent)
    yield "a key within a transaction of 64", meter.row(_KEYS)
    time.sleep(2)
    yield "with 100,000 keys", {"MB": agent.rss_mb()}
    # The prefix of 10,000 of them.
    path = "/v1/kv/fill/00"
    yield "list 10,000 keys", wrk(agent, f"{path}?keys", connections=8)
    yield "list 10,000 values", wrk(agent, f"{path}?recurse", connections=8)


def _fill(agent: Agent) -> None:
    value = base64.b64encode(VALUE.encode()).decode()
    for start in range(0, _KEYS, _OPERATIONS):
        numbers = range(start, min(_KEYS, start + _OPERATIONS))
        order = [
            {"KV": {"Verb": "set", "Key": f"fill/{number:06d}", "Value": value}}
            for number in numbers
        ]
        agent.put("/v1/txn", order)


if __name__ == "__main__":
    compare(measure)
