"""Claim: parked readers cost little memory, and little CPU to park and to wake.

1000 readers of one key, woken by one write; then 1000 keys and 1000 services with a
reader each, woken one by one.

Usage: ``python benchmarks/long_polls.py [--repeat 3]``.
"""

import select
import socket
import statistics
import time
from collections.abc import Iterator

from side_by_side import Agent, Meter, Row, compare, register_instances

_READERS = 1000
_WRITES = 200
_TIMEOUT_S = 30.0


class Readers:
    """Connections that each wait for a change of a path."""

    def __init__(self, agent: Agent, paths: list[str]) -> None:
        self._agent = agent
        self._paths = paths
        address = (agent.address, 8500)
        self._sockets = [socket.create_connection(address) for _ in paths]
        self._poll = select.epoll()
        for one in self._sockets:
            one.settimeout(_TIMEOUT_S)
            self._poll.register(one.fileno(), select.EPOLLIN)
        self._by_fd = {one.fileno(): one for one in self._sockets}

    def park(self) -> None:
        """Let everybody wait for the next change."""
        indexes = {path: self._agent.index(path) for path in dict.fromkeys(self._paths)}
        for one, path in zip(self._sockets, self._paths, strict=True):
            target = f"{path}{'&' if '?' in path else '?'}index={indexes[path]}"
            request = f"GET {target}&wait=300s HTTP/1.1\r\nHost: x\r\n\r\n"
            one.sendall(request.encode())

    def woken(self, count: int) -> list[float]:
        """Wait until so many were answered; return when each was."""
        times: list[float] = []
        while len(times) < count:
            ready = self._poll.poll(_TIMEOUT_S)
            if not ready:
                raise TimeoutError(f"only {len(times)} of {count} were woken")
            for descriptor, _ in ready:
                _read_answer(self._by_fd[descriptor])
                times.append(time.monotonic())
        return times

    def close(self) -> None:
        """Leave."""
        for one in self._sockets:
            one.close()
        self._poll.close()


def _read_answer(one: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += one.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    size = next(int(f[15:]) for f in fields if f.startswith(b"content-length:"))
    while len(body) < size:
        body += one.recv(65536)


def measure(agent: Agent) -> Iterator[Row]:
    """Park and wake."""
    yield from _one_key(agent)
    for number in range(_READERS):
        agent.put(f"/v1/kv/wk/{number}", "0")
    paths = [f"/v1/kv/wk/{number}" for number in range(_READERS)]
    yield "1000 keys, a reader each: wake one", _wake_each(agent, paths, paths)
    for number in range(_READERS):
        register_instances(agent, f"ws{number}", 1)
    paths = [f"/v1/health/service/ws{n}?passing" for n in range(_READERS)]
    row = _wake_each(agent, paths, [])
    yield "1000 services, a reader each: wake one", row


def _one_key(agent: Agent) -> Iterator[Row]:
    agent.put("/v1/kv/w/one", "0")
    time.sleep(0.5)
    before_mb = agent.rss_mb()
    readers = Readers(agent, ["/v1/kv/w/one"] * _READERS)
    with Meter(agent) as meter:
        readers.park()
        time.sleep(0.5)
    each_kb = (agent.rss_mb() - before_mb) * 1e3 / _READERS
    yield "1000 readers of a key: park", meter.row(_READERS) | {"kB": each_kb}
    with Meter(agent) as meter:
        began = time.monotonic()
        agent.put("/v1/kv/w/one", "1")
        times = readers.woken(_READERS)
    figures = {"p50_ms": statistics.median(times) - began, "last_ms": times[-1] - began}
    row = meter.row(_READERS, **{name: s * 1e3 for name, s in figures.items()})
    yield "1000 readers of a key: wake all", row
    readers.close()


def _wake_each(agent: Agent, paths: list[str], keys: list[str]) -> dict[str, float]:
    readers = Readers(agent, paths)
    readers.park()
    time.sleep(0.5)
    waits = []
    with Meter(agent) as meter:
        for number in range(_WRITES):
            began = time.monotonic()
            if keys:
                agent.put(keys[number], str(began))
            else:
                _touch(agent, f"ext-ws{number}-0", f"{began}")
            waits.append(readers.woken(1)[0] - began)
    readers.close()
    return meter.row(_WRITES, p50_ms=statistics.median(waits) * 1e3)


def _touch(agent: Agent, node: str, output: str) -> None:
    check = {"CheckID": f"c-{node}", "Name": "http", "Status": "passing"}
    check |= {"Node": node, "ServiceID": node, "Output": output}
    body = {"Node": node, "SkipNodeUpdate": True, "Check": check}
    agent.put("/v1/catalog/register", body)


if __name__ == "__main__":
    compare(measure)
