"""The settings of an agent's gossip pools, as its configuration gives them."""

import base64
import binascii
from pathlib import Path
from typing import Any, Final

import attrs

from consultwist.config.runtime import ListenAddress, RuntimeConfig
from consultwist.errors import ConfigError
from consultwist.gossip.config import CONSUL_LAN, CONSUL_SERF, CONSUL_WAN, PoolConfig
from consultwist.gossip.consul import lan_admission, wan_admission
from consultwist.gossip.memberlist.timings import Timings

#: Versions of Consul's own protocol: in force, least, most.
_PROTOCOL: Final = {"vsn": "2", "vsn_min": "2", "vsn_max": "3"}
_RAFT_PROTOCOL: Final = "3"


def _tags(config: RuntimeConfig) -> dict[str, str]:
    """Return what this agent tells about itself in both pools."""
    tags = {
        "role": "consul" if config.server_mode else "node",
        "dc": config.datacenter,
        "segment": config.segment_name,
        "id": config.node_id,
        "build": f"{config.version}{config.version_prerelease}:{config.revision[:8]}",
        "acls": "1" if config.acls_enabled else "0",
        **_PROTOCOL,
    }
    if not config.server_mode:
        return tags
    tags |= {
        "raft_vsn": _RAFT_PROTOCOL,
        "port": str(config.server_port),
        "ft_fs": "1",
    }
    if config.bootstrap:
        tags["bootstrap"] = "1"
    if config.bootstrap_expect:
        tags["expect"] = str(config.bootstrap_expect)
    if config.non_voting_server:
        tags["nonvoter"] = "1"
    if config.verify_outgoing:
        tags["use_tls"] = "1"
    return tags


def _keys(config: RuntimeConfig) -> tuple[bytes, ...]:
    if not config.encrypt_key:
        return ()
    try:
        return (base64.b64decode(config.encrypt_key, validate=True),)
    except binascii.Error as error:
        raise ConfigError(f"Invalid encryption key: {error}") from error


def _file(config: RuntimeConfig, name: str) -> str:
    in_memory = config.dev_mode or not config.data_dir
    return "" if in_memory else str(Path(config.data_dir) / "serf" / name)


def _pool_config(
    config: RuntimeConfig,
    name: str,
    files: str,
    bind: ListenAddress,
    advertise: ListenAddress | None,
) -> PoolConfig:
    keyring = "" if config.disable_keyring_file else _file(config, f"{files}.keyring")
    return PoolConfig(
        name=name,
        bind_host=bind.host,
        bind_port=bind.port,
        advertise_host=advertise.host if advertise is not None else "",
        advertise_port=advertise.port if advertise is not None else 0,
        keys=_keys(config),
        verify_incoming=config.encrypt_verify_incoming,
        verify_outgoing=config.encrypt_verify_outgoing,
        snapshot_path=_file(config, f"{files}.snapshot"),
        keyring_path=keyring if _keys(config) or _exists(keyring) else "",
        rejoin_after_leave=config.rejoin_after_leave,
    )


def _exists(path: str) -> bool:
    return bool(path) and Path(path).exists()


def lan_config(config: RuntimeConfig) -> PoolConfig:
    """Return the settings of this agent's LAN pool."""
    tags = _tags(config)
    if config.server_mode and config.serf_bind_addr_wan is not None:
        tags["wan_join_port"] = str(config.serf_port_wan)
    return attrs.evolve(
        _pool_config(
            config,
            config.node_name,
            "local",
            config.serf_bind_addr_lan,
            config.serf_advertise_addr_lan,
        ),
        tags=tags,
        timings=_timings(config, CONSUL_LAN, "lan"),
        serf=attrs.evolve(
            CONSUL_SERF, reconnect_timeout_s=config.reconnect_timeout_lan
        ),
        allowed_networks=config.serf_allowed_cidrs_lan or None,
        admit=lan_admission(
            config.datacenter, config.segment_name, config.node_id, config.node_name
        ),
    )


def wan_config(config: RuntimeConfig) -> PoolConfig:
    """Return the settings of this server's WAN pool."""
    assert config.serf_bind_addr_wan is not None
    return attrs.evolve(
        _pool_config(
            config,
            f"{config.node_name}.{config.datacenter}",
            "remote",
            config.serf_bind_addr_wan,
            config.serf_advertise_addr_wan,
        ),
        tags=_tags(config),
        timings=_timings(config, CONSUL_WAN, "wan"),
        serf=attrs.evolve(
            CONSUL_SERF, reconnect_timeout_s=config.reconnect_timeout_wan
        ),
        allowed_networks=config.serf_allowed_cidrs_wan or None,
        admit=wan_admission(),
    )


def _timings(config: RuntimeConfig, base: Timings, pool: str) -> Timings:
    """Return the timings of a pool; what the configuration names is taken from it."""
    values = {
        name: getattr(config, f"gossip_{pool}_{name.removesuffix('_s')}")
        for name in (
            "gossip_interval_s",
            "gossip_nodes",
            "probe_interval_s",
            "probe_timeout_s",
            "retransmit_mult",
            "suspicion_mult",
        )
    }
    return attrs.evolve(base, **values)


def segment_config(config: RuntimeConfig, segment: dict[str, Any]) -> PoolConfig:
    """Return the settings of this server's pool for one network segment.

    It is a LAN pool of its own on the segment's port. Its keys are those of the LAN
    pool, whose file remembers them.
    """
    name = segment["name"]
    lan = lan_config(config)
    return attrs.evolve(
        lan,
        bind_host=segment.get("bind") or lan.bind_host,
        bind_port=segment["port"],
        advertise_host=segment.get("advertise") or lan.advertise_host,
        advertise_port=segment["port"],
        tags={**lan.tags, "segment": name},
        snapshot_path=_file(config, f"local-{name}.snapshot"),
        keyring_path="",
        admit=lan_admission(config.datacenter, name, config.node_id, config.node_name),
    )
