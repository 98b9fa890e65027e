"""Pools: the gossip pools that an agent is a member of.

Every agent is in the LAN pool of its datacenter; servers are in the WAN pool as well,
under the name ``node.datacenter``, and bring the other servers of their LAN along.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.agent.retry_join import RetryJoin
from consultwist.config.runtime import ListenAddress, RuntimeConfig
from consultwist.errors import ConfigError, ConsultwistError
from consultwist.gossip.config import CONSUL_LAN, CONSUL_SERF, CONSUL_WAN, PoolConfig
from consultwist.gossip.consul import (
    flood_targets,
    lan_admission,
    wan_admission,
    wan_target,
)
from consultwist.gossip.memberlist.timings import Timings
from consultwist.gossip.node import GossipNode, PoolEvent
from consultwist.gossip.serf.actions import MemberEvent, UserEventReceived
from consultwist.gossip.serf.keys import KeySurvey
from consultwist.gossip.serf.members import PoolMember
from consultwist.host import Host
from consultwist.structs.service_rules import error_list

#: Versions of Consul's own protocol: in force, least, most.
_PROTOCOL: Final = {"vsn": "2", "vsn_min": "2", "vsn_max": "3"}
_RAFT_PROTOCOL: Final = "3"

#: Consul: how often servers look for LAN servers that the WAN pool lacks.
_FLOOD_INTERVAL_S: Final = 60.0


class Pools(MultiService):
    """The LAN pool, and on servers the WAN pool unless it is switched off."""

    log = Logger()

    def __init__(self, host: Host, config: RuntimeConfig) -> None:
        super().__init__()
        self._host = host
        self._config = config
        self._watchers: dict[Callable[[], None], None] = {}
        self._flood_timer: IDelayedCall | None = None
        self.lan = self._make_pool(lan_config(config))
        self.wan: GossipNode | None = None
        if config.server_mode and config.serf_bind_addr_wan is not None:
            self.wan = self._make_pool(wan_config(config))
        for join in self._joins():
            join.setServiceParent(self)

    def _make_pool(self, config: PoolConfig) -> GossipNode:
        host = self._host
        pool = GossipNode(host.reactor, host.clock, host.rng, config)
        pool.setServiceParent(self)
        return pool

    def _joins(self) -> list[RetryJoin]:
        config = self._config
        joins = [
            RetryJoin(
                self._host,
                self.lan.join,
                "LAN",
                start=config.start_join_addrs_lan,
                retry=config.retry_join_lan,
                interval_s=config.retry_join_interval_lan,
                attempts_max=config.retry_join_max_attempts_lan,
            )
        ]
        if self.wan is not None:
            joins.append(
                RetryJoin(
                    self._host,
                    self.wan.join,
                    "WAN",
                    start=config.start_join_addrs_wan,
                    retry=config.retry_join_wan,
                    interval_s=config.retry_join_interval_wan,
                    attempts_max=config.retry_join_max_attempts_wan,
                )
            )
        return joins

    def startService(self) -> None:
        """Become a member of the pools."""
        super().startService()
        self.lan.subscribe(self._lan_event)
        if self.wan is not None:
            self._flood_timer = self._host.reactor.callLater(
                _FLOOD_INTERVAL_S, self._flood_again
            )

    def stopService(self) -> Deferred[Any]:
        """Vanish from the pools without a word."""
        if self._flood_timer is not None and self._flood_timer.active():
            self._flood_timer.cancel()
        stopped: Deferred[Any] = super().stopService()
        return stopped

    # --- what is known ---------------------------------------------------------------

    @property
    def has_wan(self) -> bool:
        """Whether this agent is a member of the WAN pool, too."""
        return self.wan is not None

    def own_member(self) -> PoolMember:
        """Return this agent as the LAN pool knows it."""
        return self.lan.me

    def members(self, *, wan: bool = False) -> Sequence[PoolMember]:
        """Return the members of a pool, this agent among them; none without it."""
        if not wan:
            return self.lan.members()
        return [] if self.wan is None else self.wan.members()

    def count(self) -> int:
        """Return how many members the LAN pool has."""
        return max(1, len(self.lan.members()))

    def coordinate(self) -> Any:
        """Return where this agent is in its LAN, or None where none are kept."""
        return None if self._config.disable_coordinates else self.lan.coordinate

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after LAN members changed; returns what ends that."""
        self._watchers[callback] = None
        return lambda: self._watchers.pop(callback, None)

    def stats(self) -> dict[str, dict[str, str]]:
        """Return the sections ``serf_lan`` and ``serf_wan`` of the agent's figures."""
        sections = {"serf_lan": self.lan.stats()}
        if self.wan is not None:
            sections["serf_wan"] = self.wan.stats()
        return sections

    # --- telling and asking all members ----------------------------------------------

    def fire_event(self, name: str, payload: bytes) -> None:
        """Tell all members of the datacenter something.

        Raises:
            ConsultwistError: where it is too large.
        """
        try:
            self.lan.user_event(name, payload)
        except ConsultwistError as error:
            problem = f'error broadcasting event to segment "": {error}'
            raise ConsultwistError(error_list([problem])) from error

    def on_event(
        self, prefix: str, callback: Callable[[str, bytes, int], None]
    ) -> Callable[[], None]:
        """Call back with (name, payload, Lamport time) of events; returns what ends it.

        Args:
            prefix: what the names begin with; it is cut off.
            callback: takes an event.
        """

        def take(event: PoolEvent) -> None:
            if isinstance(event, UserEventReceived):
                told = event.event
                if told.name.startswith(prefix):
                    name = told.name.removeprefix(prefix)
                    callback(name, told.payload or b"", told.l_time)

        return self.lan.subscribe(take)

    def keyring(
        self, operation: str, key: bytes, relay_factor: int
    ) -> list[tuple[str, Deferred[KeySurvey]]]:
        """Change or list the keys of all members of this agent's pools.

        Returns:
            The name of each pool, ``WAN`` or ``LAN``, with what its members answered.
        """
        asked = [("LAN", self.lan.keyring(operation, key, relay_factor))]
        if self.wan is not None:
            asked.insert(0, ("WAN", self.wan.keyring(operation, key, relay_factor)))
        return asked

    # --- joining and leaving ------------------------------------------------------

    def join(self, addresses: Sequence[str], *, wan: bool = False) -> Deferred[int]:
        """Join a pool at any of some addresses; fires with how many were joined.

        Raises:
            ConsultwistError: where a client is to join the WAN pool.
        """
        if not wan:
            return self.lan.join(addresses)
        if self.wan is None:
            raise ConsultwistError("Must be a server to join WAN cluster")
        return self.wan.join(addresses)

    def force_leave(self, name: str, *, prune: bool = False) -> None:
        """Have a failed member taken as left.

        Raises:
            ConsultwistError: where no pool knows a member of that name.
        """
        wan_name = name if "." in name else f"{name}.{self._config.datacenter}"
        known = self.lan.member(name) is not None
        if self.wan is not None and self.wan.member(wan_name) is not None:
            known = True
            self.wan.force_leave(wan_name, prune=prune)
        if not known:
            raise ConsultwistError(f"agent: No node found with name '{name}'")
        if self.lan.member(name) is not None:
            self.lan.force_leave(name, prune=prune)

    async def leave(self) -> None:
        """Tell the pools that this agent leaves; fires when they know."""
        if self.wan is not None:
            await self.wan.leave()
        await self.lan.leave()

    # --- the WAN pool follows the LAN pool ----------------------------------------

    def _lan_event(self, event: PoolEvent) -> None:
        if not isinstance(event, MemberEvent):
            return
        for callback in list(self._watchers):
            callback()
        if self.wan is not None:
            self._flood()

    def _flood_again(self) -> None:
        self._flood_timer = self._host.reactor.callLater(
            _FLOOD_INTERVAL_S, self._flood_again
        )
        self._flood()

    def _flood(self) -> None:
        """Bring the servers of the LAN into the WAN pool."""
        wan = self.wan
        if wan is None:
            return

        def knows(name: str) -> bool:
            known = wan.member(name)
            return known is not None and known.is_alive

        for target in flood_targets(self.lan.members(), knows, wan_target):
            wan.join([target]).addErrback(self._flood_failed, target)

    def _flood_failed(self, failure: Failure, target: str) -> None:
        self.log.debug(
            "failed to bring {target} into the WAN pool: {error}",
            target=target,
            error=failure.getErrorMessage(),
        )


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
