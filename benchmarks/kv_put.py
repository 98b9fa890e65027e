"""Claim: a durable write costs at most a third of the stock agent's CPU under load.

Distinct keys of 100 bytes; both agents answer when the entry is on the disk.

Usage: ``python benchmarks/kv_put.py [--repeat 3] [--root /var/tmp]``; needs ``wrk``.
"""

from collections.abc import Iterator

from side_by_side import LOAD_S, VALUE, Agent, Row, compare, wrk

_REQUEST = """
function request()
  n = n + 1
  return wrk.format("PUT", "/v1/kv/%s/" .. n, nil, "%s")
end
"""


def measure(agent: Agent) -> Iterator[Row]:
    """Write keys over more and more connections."""
    for connections in (1, 16, 64, 256):
        request = _REQUEST % (f"c{connections}", VALUE)
        row = wrk(agent, "/", connections=connections, request=request)
        yield f"KV PUT, {connections} connections", row


def put_keys(agent: Agent, least: int) -> int:
    """Write at least so many keys, each an entry of the log; return how many."""
    count = 0.0
    while count < least:
        request = _REQUEST % (f"fill{count:.0f}", VALUE)
        row = wrk(agent, "/", connections=128, request=request)
        count += row["per_s"] * LOAD_S
    return int(count)


if __name__ == "__main__":
    compare(measure)
