"""Claim: an agent takes its first write within 0.8 s of its start.

From the start of the process to the first write that is acknowledged, for a new
server; then again with a log of many entries.

Usage: ``python benchmarks/startup.py [--repeat 3]``; needs ``wrk``.
"""

import time
from collections.abc import Iterator

from kv_put import put_keys
from side_by_side import Agent, Row, compare

_ENTRIES = 100_000
_TIMEOUT_S = 120.0


def measure(agent: Agent) -> Iterator[Row]:
    """Start, fill the log, kill, start again."""
    yield "start to first write", first_write(agent)
    time.sleep(2)
    entries = put_keys(agent, _ENTRIES)
    agent.kill()
    row = first_write(agent)
    yield "restart from a log of 100,000 entries", row | {"entries": entries}


def first_write(agent: Agent) -> dict[str, float]:
    """Start an agent; return how long it took to its first write, and what it cost."""
    began = time.monotonic()
    agent.start()
    while time.monotonic() - began < _TIMEOUT_S:
        agent.check_running()
        try:
            if agent.http("PUT", "/v1/kv/ready", "1").status == 200:
                return {"s": time.monotonic() - began, "cpu_s": agent.cpu_s()}
        except OSError:
            pass
        time.sleep(0.005)
    raise TimeoutError("the agent took no write")


if __name__ == "__main__":
    # No snapshot is taken, so that the log stays as long as it is.
    compare(measure, {"raft_snapshot_threshold": 10_000_000}, started=False)
