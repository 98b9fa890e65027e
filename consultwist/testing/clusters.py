"""Whole clusters of real agents, ours and stock ones, for tests from outside."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from consultwist.testing.processes import (
    RunningAgent,
    find_consul,
    free_address,
    wait_until,
)

#: What a test calls the two programs.
OURS = "ours"
STOCK = "stock"


class Cluster:
    """The agents of one datacenter, which are stopped together.

    Args:
        stack: stops them.
        folder: where their data goes.
        config: more configuration for every agent.
    """

    def __init__(
        self, stack: contextlib.ExitStack, folder: Path, **config: Any
    ) -> None:
        self._stack = stack
        self._folder = folder
        self.config = config
        self.servers: list[RunningAgent] = []

    def start_servers(self, *programs: str) -> list[RunningAgent]:
        """Start the servers of a new datacenter, and wait until they have a leader."""
        addresses = [free_address() for _ in programs]
        for number, program in enumerate(programs):
            config = {
                "bootstrap_expect": len(programs),
                "retry_join": addresses,
                "retry_interval": "1s",
                "bind_addr": addresses[number],
            }
            name = f"server-{number}"
            self.servers.append(self._agent(program, name, config, server=True))
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_ready()
        return self.servers

    def add(
        self, program: str, name: str, *, server: bool = False, **config: Any
    ) -> RunningAgent:
        """Start another agent, and wait until it knows a leader."""
        joins = {"retry_join": [self.servers[0].address], "retry_interval": "1s"}
        agent = self._agent(program, name, joins | config, server=server)
        if server:
            self.servers.append(agent)
        return agent.start().wait_ready()

    def leader(self) -> RunningAgent:
        """Return the server that leads, as soon as all that run agree."""
        running = [each for each in self.servers if _runs(each)]

        def agreed() -> RunningAgent | None:
            answers = {each.http("GET", "/v1/status/leader").text for each in running}
            found = [each for each in running if f'"{each.address}:' in str(answers)]
            return found[0] if len(answers) == len(found) == 1 else None

        leader: RunningAgent = wait_until(agreed, what="one leader")
        return leader

    def _agent(
        self, program: str, name: str, config: dict[str, Any], *, server: bool
    ) -> RunningAgent:
        command = [str(find_consul()), "agent"] if program == STOCK else None
        agent = RunningAgent(
            self._folder / name,
            {"node_name": name, **self.config, **config},
            server=server,
            command=command,
        )
        self._stack.callback(_end, agent)
        return agent


@contextlib.contextmanager
def cluster(folder: Path, **config: Any) -> Iterator[Cluster]:
    """Give a cluster without agents; those it gets are stopped at the end."""
    with contextlib.ExitStack() as stack:
        yield Cluster(stack, folder, **config)


def _runs(agent: RunningAgent) -> bool:
    return agent.process is not None and agent.process.poll() is None


def _end(agent: RunningAgent) -> None:
    if _runs(agent):
        agent.kill()
