"""The service tree of an agent: which parts there are, and who is given whom."""

import socket
from pathlib import Path

from consultwist.agent.agent import Agent, Surroundings
from consultwist.agent.client import ClientDelegate
from consultwist.agent.plugins import Plugins
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConfigError
from consultwist.host import Host
from consultwist.raft.interfaces import IRaftStorage
from consultwist.raft.lone import LoneTransport
from consultwist.raft.node import Identity, RaftNode
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.disk import DiskStorage
from consultwist.raft.storage.memory import MemoryStorage
from consultwist.server.server import Server, ServerParts
from consultwist.state.fsm import FSM
from consultwist.telemetry.setup import make_metrics


def make_agent(
    host: Host, config: RuntimeConfig, plugins: Plugins, surroundings: Surroundings
) -> Agent:
    """Return an agent in the mode that its configuration names, not started yet.

    Raises:
        ConfigError: where the configuration asks for what there is not.
    """
    if config.acls_enabled:
        # An agent that ignored this would give everything to everybody.
        raise ConfigError("acl: ACLs are not supported by this release")
    agent = Agent(
        host,
        config,
        plugins=plugins,
        metrics=make_metrics(
            host.reactor, host.clock, config.telemetry, socket.gethostname()
        ),
        surroundings=surroundings,
    )
    if config.server_mode:
        agent.join_cluster(_make_server(host, config, plugins, agent))
    else:
        agent.join_cluster(ClientDelegate())
    return agent


def _make_server(
    host: Host, config: RuntimeConfig, plugins: Plugins, agent: Agent
) -> Server:
    parts = ServerParts(
        tables=plugins.state_tables,
        endpoints=plugins.rpc_endpoints,
        routines=plugins.leader_routines,
    )

    def make_raft(fsm: FSM) -> RaftNode:
        return RaftNode(
            host.reactor,
            host.clock,
            host.rng,
            identity=Identity(
                server_id=config.node_id, address=config.rpc_advertise_addr.location
            ),
            settings=_raft_settings(config),
            storage=_storage(host, config),
            transport=LoneTransport(),
            fsm=fsm,
            peers_file=_raft_folder(config) / "peers.json",
        )

    return Server(
        host,
        config,
        parts=parts,
        make_raft=make_raft,
        membership=agent.pools,
        metrics=agent.metrics,
    )


def _raft_settings(config: RuntimeConfig) -> RaftSettings:
    defaults = RaftSettings()
    return RaftSettings(
        heartbeat_timeout_s=config.consul_raft_heartbeat_timeout,
        election_timeout_s=config.consul_raft_election_timeout,
        leader_lease_timeout_s=config.consul_raft_leader_lease_timeout,
        snapshot_interval_s=config.raft_snapshot_interval
        or defaults.snapshot_interval_s,
        snapshot_threshold=config.raft_snapshot_threshold
        or defaults.snapshot_threshold,
        trailing_logs=config.raft_trailing_logs or defaults.trailing_logs,
    )


def _raft_folder(config: RuntimeConfig) -> Path:
    return Path(config.data_dir) / "raft"


def _storage(host: Host, config: RuntimeConfig) -> IRaftStorage:
    if config.dev_mode or not config.data_dir:
        return MemoryStorage(host.reactor)
    return DiskStorage(host.reactor, _raft_folder(config), host.rng)
