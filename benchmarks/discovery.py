"""Claim: discovery over HTTP costs a small part of the stock agent's CPU.

The healthy instances of services with 3, 10 and 100 of them, the names of all
services, and the first answer after each change of a service.

Usage: ``python benchmarks/discovery.py [--repeat 3]``; needs ``wrk``.
"""

from collections.abc import Iterator

from side_by_side import Agent, Meter, Row, compare, register_instances, wrk

_CHANGES = 200


def measure(agent: Agent) -> Iterator[Row]:
    """Ask for services."""
    for count in (3, 10, 100):
        register_instances(agent, f"web{count}", count)
    for number in range(100):
        register_instances(agent, f"svc{number}", 1)
    for count in (3, 10, 100):
        path = f"/v1/health/service/web{count}?passing"
        yield f"health, {count} instances", wrk(agent, path)
    yield "catalog services, 103 names", wrk(agent, "/v1/catalog/services")
    for count in (10, 100):
        row = _after_changes(agent, f"web{count}")
        yield f"health, {count} instances, first answer after a change", row


def _after_changes(agent: Agent, service: str) -> dict[str, float]:
    """Change one check and ask, again and again; count what asking costs."""
    node = f"ext-{service}-0"
    cpu_s = wall_s = 0.0
    for number in range(_CHANGES):
        check = {"CheckID": f"c-{node}", "Name": "http", "Status": "passing"}
        check |= {"Node": node, "ServiceID": node, "Output": f"{number}"}
        body = {"Node": node, "SkipNodeUpdate": True, "Check": check}
        agent.put("/v1/catalog/register", body)
        with Meter(agent) as meter:
            agent.ask("GET", f"/v1/health/service/{service}?passing")
        cpu_s += meter.cpu_s
        wall_s += meter.wall_s
    return {"cpu_us": cpu_s / _CHANGES * 1e6, "mean_ms": wall_s / _CHANGES * 1e3}


if __name__ == "__main__":
    compare(measure)
