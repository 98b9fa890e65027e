"""Claim: reading a key costs at most half of the stock agent's CPU.

One key of 100 bytes over 64 connections, in each consistency mode, and over one.

Usage: ``python benchmarks/kv_get.py [--repeat 3] [--root /var/tmp]``; needs ``wrk``.
"""

from collections.abc import Iterator

from side_by_side import VALUE, Agent, Row, compare, wrk


def measure(agent: Agent) -> Iterator[Row]:
    """Read one key."""
    agent.put("/v1/kv/bench/one", VALUE)
    path = "/v1/kv/bench/one"
    yield "KV GET default", wrk(agent, path)
    yield "KV GET stale", wrk(agent, f"{path}?stale")
    yield "KV GET consistent", wrk(agent, f"{path}?consistent")
    yield "KV GET default, 1 connection", wrk(agent, path, connections=1)


if __name__ == "__main__":
    compare(measure)
