"""Claim: registering services costs less CPU than with the stock agent.

Through the agent, which writes a file for the service and one for its check before it
answers, and straight into the catalog.

Usage: ``python benchmarks/registration.py [--repeat 3]``; needs ``wrk``.
"""

from collections.abc import Iterator

from side_by_side import Agent, Row, compare, wrk

_THROUGH_AGENT = """
local body = '{"ID":"%s-%%d","Name":"%s","Port":80,"Tags":["v1"],"Meta":{"b":"17"},'
  .. '"Check":{"Name":"ttl","TTL":"3600s","Status":"passing"}}'
function request()
  n = n + 1
  local path = "/v1/agent/service/register"
  return wrk.format("PUT", path, nil, string.format(body, n))
end
"""

_IN_CATALOG = """
local body = '{"Node":"%s-%%d","Address":"10.0.0.1",'
  .. '"Service":{"ID":"s%%d","Service":"%s","Port":80,"Tags":["v1"]},'
  .. '"Check":{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"s%%d"}}'
function request()
  n = n + 1
  local path = "/v1/catalog/register"
  return wrk.format("PUT", path, nil, string.format(body, n, n, n))
end
"""


def measure(agent: Agent) -> Iterator[Row]:
    """Register service after service."""
    for name, script, counts in (
        ("through the agent", _THROUGH_AGENT, (1, 16)),
        ("in the catalog", _IN_CATALOG, (1, 64)),
    ):
        for connections in counts:
            tag = f"{name.split()[-1]}{connections}"
            row = wrk(agent, "/", connections=connections, request=script % (tag, tag))
            yield f"registration {name}, {connections} connections", row


if __name__ == "__main__":
    compare(measure)
