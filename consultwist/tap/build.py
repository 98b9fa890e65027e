"""From a command line to a service: everything around the agent that touches the disk.

`build_agent_service` is what both ``consultwist agent`` and the twistd commands call.
The tree of the agent itself is made in `consultwist.tap.tree`.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from consultwist.agent.agent import Agent, Surroundings
from consultwist.agent.plugins import discover
from consultwist.clock import SystemClock
from consultwist.config.build import Built
from consultwist.config.flags import ParsedFlags
from consultwist.config.load import load
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConfigError
from consultwist.host import Host
from consultwist.structs.uuids import make_uuid
from consultwist.tap.data_dir import DataDirectory, machine_uuid, uuid_problem
from consultwist.tap.prestart import check_before_start
from consultwist.tap.tree import make_agent


@attrs.define
class Prepared:
    """A configuration that may start, with what it holds on to.

    Attributes:
        flags: the command line; reading it again is a reload.
        config: the configuration, the node's id filled in.
        warnings: what the user should be told.
        directory: the locked data directory; None where there is none.
    """

    flags: ParsedFlags
    config: RuntimeConfig
    warnings: tuple[str, ...]
    directory: DataDirectory | None

    def read_config(self) -> RuntimeConfig:
        """Read the files again.

        Raises:
            ConfigError: where they have a mistake now.
        """
        return attrs.evolve(load(self.flags).config, node_id=self.config.node_id)

    def write_pid_file(self) -> None:
        """Write the process id where the configuration wants it.

        Raises:
            ConfigError: where it cannot be written.
        """
        if self.config.pid_file:
            try:
                Path(self.config.pid_file).write_text(f"{os.getpid()}\n")
            except OSError as error:
                raise ConfigError(f"Could not open pid file: {error}") from None

    def release(self) -> None:
        """Remove the pid file and let another agent have the data directory."""
        if self.config.pid_file:
            Path(self.config.pid_file).unlink(missing_ok=True)
        if self.directory is not None:
            self.directory.close()


def prepare(
    flags: ParsedFlags, built: Built | None = None, rng: random.Random | None = None
) -> Prepared:
    """Read and check the configuration, lock the data directory, find the node's id.

    Raises:
        ConfigError: where the agent could not start.
    """
    built = built or load(flags)
    check_before_start(built.config)
    directory = None
    if built.config.data_dir and not built.config.dev_mode:
        directory = DataDirectory(Path(built.config.data_dir))
        directory.open()
    try:
        node_id = _node_id(built.config, directory, rng or random.SystemRandom())
    except ConfigError:
        if directory is not None:
            directory.close()
        raise
    config = attrs.evolve(built.config, node_id=node_id)
    return Prepared(flags, config, built.warnings, directory)


def _node_id(
    config: RuntimeConfig, directory: DataDirectory | None, rng: random.Random
) -> str:
    if config.node_id:
        wanted = config.node_id.lower()
        problem = uuid_problem(wanted)
        if problem:
            raise ConfigError(
                f"failed to setup node ID: specified NodeID is invalid: {problem}"
            )
        return wanted
    from_machine = not config.disable_host_node_id
    if directory is not None:
        return directory.node_id(rng, from_machine=from_machine)
    return (machine_uuid() if from_machine else "") or make_uuid(rng)


def build_agent_service(
    prepared: Prepared, reactor: Any, shut_down: Callable[[], None]
) -> Agent:
    """Return the agent as a service, not started yet.

    Args:
        prepared: the configuration.
        reactor: the one reactor.
        shut_down: ends the program after the agent has left.

    Raises:
        ConfigError: where a part of it cannot be made.
    """
    host = Host(reactor, SystemClock(), random.SystemRandom())
    surroundings = Surroundings(read_config=prepared.read_config, shut_down=shut_down)
    return make_agent(host, prepared.config, discover(), surroundings)
