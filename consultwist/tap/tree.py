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
from consultwist.raft.node import Identity, RaftNode
from consultwist.raft.settings import RaftSettings
from consultwist.raft.storage.disk import DiskStorage
from consultwist.raft.storage.memory import MemoryStorage
from consultwist.raft.transport import RaftTransport
from consultwist.rpc.dial import Dialer
from consultwist.rpc.first_byte import FirstByte
from consultwist.rpc.pool import SERVER_IDLE_S, SERVER_STREAMS, ConnectionPool
from consultwist.rpc.security import Security
from consultwist.rpc.snapshot_transfer import SnapshotCalls
from consultwist.server.server import Server, ServerLinks, ServerParts
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
        agent.join_cluster(_make_client(host, config, plugins, agent))
    return agent


def _make_client(
    host: Host, config: RuntimeConfig, plugins: Plugins, agent: Agent
) -> ClientDelegate:
    security = Security(config, host.reactor)
    dialer = Dialer(host.reactor, security, config.rpc_bind_addr.host)
    methods = (m for endpoint in plugins.rpc_endpoints for m in endpoint.methods())
    return ClientDelegate(
        host,
        config,
        members=agent.pools,
        pool=ConnectionPool(host.reactor, host.clock, dialer),
        snapshots=SnapshotCalls(host.reactor, dialer, config.data_dir),
        security=security,
        replies={method.name: method.reply for method in methods},
    )


def _make_server(
    host: Host, config: RuntimeConfig, plugins: Plugins, agent: Agent
) -> Server:
    parts = ServerParts(
        tables=plugins.state_tables,
        endpoints=plugins.rpc_endpoints,
        routines=plugins.leader_routines,
    )

    security = Security(config, host.reactor)
    dialer = Dialer(host.reactor, security, config.rpc_bind_addr.host)
    pool = ConnectionPool(
        host.reactor,
        host.clock,
        dialer,
        idle_s=SERVER_IDLE_S,
        streams_max=SERVER_STREAMS,
    )
    transport = RaftTransport(
        host.reactor,
        host.clock,
        lambda address, protocol: dialer.connect(
            address, config.datacenter, FirstByte.RAFT, protocol
        ),
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
            transport=transport,
            fsm=fsm,
            peers_file=_raft_folder(config) / "peers.json",
        )

    return Server(
        host,
        config,
        parts=parts,
        make_raft=make_raft,
        links=ServerLinks(
            security=security,
            pool=pool,
            snapshots=SnapshotCalls(host.reactor, dialer, config.data_dir),
            raft_protocol=transport.server_protocol,
        ),
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
