"""Pools: the gossip pools that an agent is a member of.

Every agent is in the LAN pool of its datacenter; servers are in the WAN pool as well,
under the name ``node.datacenter``, and bring the other servers of their LAN along.

Network segments divide the LAN: each has a pool of its own, on a port of its own. A
client is in the pool of its segment alone, a server in all of them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.agent.pool_settings import lan_config, segment_config, wan_config
from consultwist.agent.retry_join import RetryJoin
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConsultwistError
from consultwist.gossip.config import PoolConfig
from consultwist.gossip.consul import ServerTags, flood_targets, wan_target
from consultwist.gossip.node import GossipNode, PoolEvent
from consultwist.gossip.serf.actions import MemberEvent, UserEventReceived
from consultwist.gossip.serf.coordinate import Coordinate
from consultwist.gossip.serf.keys import KeySurvey
from consultwist.gossip.serf.members import PoolMember
from consultwist.host import Host
from consultwist.structs.service_rules import error_list

#: Consul: how often servers look for LAN servers that the WAN pool lacks.
_FLOOD_INTERVAL_S: Final = 60.0


class Pools(MultiService):
    """The pools of one agent.

    Attributes:
        lan: the LAN pool, or a client's segment of it.
        segments: on servers, the pools of all other segments by name.
        wan: on servers the WAN pool, unless it is switched off.
    """

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
        self.segments: dict[str, GossipNode] = {}
        if config.server_mode:
            for segment in config.segments:
                pool = self._make_pool(segment_config(config, segment))
                self.segments[segment["name"]] = pool
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
        for pool in self._lan_pools():
            pool.subscribe(self._lan_event)
        if self.wan is not None or self.segments:
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

    def _lan_pools(self) -> list[GossipNode]:
        """Return the pools of this datacenter."""
        return [self.lan, *self.segments.values()]

    def own_member(self) -> PoolMember:
        """Return this agent as the LAN pool knows it."""
        return self.lan.me

    def members(self) -> Sequence[PoolMember]:
        """Return all members of this datacenter, this agent among them.

        A server, which is in every segment, is told once.
        """
        if not self.segments:
            return self.lan.members()
        found = {member.name: member for member in self.lan.members()}
        for pool in self.segments.values():
            for member in pool.members():
                found.setdefault(member.name, member)
        return list(found.values())

    def members_of(self, segment: str) -> Sequence[PoolMember]:
        """Return the members of one network segment, by its name.

        Raises:
            ConsultwistError: where this agent is in no such segment.
        """
        if segment == self._config.segment_name:
            return self.lan.members()
        pool = self.segments.get(segment)
        if pool is not None:
            return pool.members()
        if self.segments or self._config.segment_name:
            raise ConsultwistError(f"unknown network segment {segment!r}")
        raise ConsultwistError(
            "Network segments are not supported in this version of Consul"
        )

    def wan_members(self) -> Sequence[PoolMember]:
        """Return the members of the WAN pool; none where this agent is not in it."""
        return [] if self.wan is None else self.wan.members()

    def wan_position(self, name: str) -> Coordinate | None:
        """Return where a member of the WAN pool is, None where that is not known."""
        return None if self.wan is None else self.wan.position(name)

    def count(self) -> int:
        """Return how many members this datacenter has."""
        return max(1, len(self.members()))

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
        problems: list[str] = []
        for pool in self._lan_pools():
            try:
                pool.user_event(name, payload)
            except ConsultwistError as error:
                segment = pool.config.tags["segment"]
                problems.append(
                    f'error broadcasting event to segment "{segment}": {error}'
                )
        if problems:
            raise ConsultwistError(error_list(problems))

    def on_event(
        self, prefix: str, callback: Callable[[str, bytes, int], None]
    ) -> Callable[[], None]:
        """Call back with (name, payload, Lamport time) of events; returns what ends it.

        Args:
            prefix: what the names begin with; it is cut off.
            callback: takes an event.

        Events are fired in all segments, so a server need only listen in one.
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
    ) -> list[tuple[str, str, Deferred[KeySurvey]]]:
        """Change or list the keys of all members of this agent's pools.

        Returns:
            For each pool ``WAN`` or ``LAN``, its segment, and what its members say.
        """
        asked = [
            (
                "LAN",
                pool.config.tags["segment"],
                pool.keyring(operation, key, relay_factor),
            )
            for pool in self._lan_pools()
        ]
        if self.wan is not None:
            answer = self.wan.keyring(operation, key, relay_factor)
            asked.insert(0, ("WAN", "", answer))
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
        lan = [pool for pool in self._lan_pools() if pool.member(name) is not None]
        known = bool(lan)
        if self.wan is not None and self.wan.member(wan_name) is not None:
            known = True
            self.wan.force_leave(wan_name, prune=prune)
        if not known:
            raise ConsultwistError(f"agent: No node found with name '{name}'")
        for pool in lan:
            pool.force_leave(name, prune=prune)

    async def leave(self) -> None:
        """Tell the pools that this agent leaves; fires when they know."""
        if self.wan is not None:
            await self.wan.leave()
        for pool in reversed(self._lan_pools()):
            await pool.leave()

    # --- the other pools follow the LAN pool -----------------------------------------

    def _lan_event(self, event: PoolEvent) -> None:
        if not isinstance(event, MemberEvent):
            return
        for callback in list(self._watchers):
            callback()
        self._flood()

    def _flood_again(self) -> None:
        self._flood_timer = self._host.reactor.callLater(
            _FLOOD_INTERVAL_S, self._flood_again
        )
        self._flood()

    def _flood(self) -> None:
        """Bring the servers of the LAN into the WAN pool and all segments."""
        if self.wan is not None:
            self._flood_pool(self.wan, wan_target)
        for pool in self.segments.values():
            self._flood_pool(pool, partial(_segment_target, pool.config.bind_port))

    def _flood_pool(
        self,
        pool: GossipNode,
        target: Callable[[ServerTags], tuple[str, int] | None],
    ) -> None:
        def knows(name: str) -> bool:
            known = pool.member(name)
            return known is not None and known.is_alive

        for address in flood_targets(self.lan.members(), knows, target):
            pool.join([address]).addErrback(self._flood_failed, address)

    def _flood_failed(self, failure: Failure, address: str) -> None:
        self.log.debug(
            "failed to bring {address} into another pool: {error}",
            address=address,
            error=failure.getErrorMessage(),
        )


def _segment_target(port: int, server: ServerTags) -> tuple[str, int]:
    """Return a LAN server's name and port in the pool of a segment."""
    return server.name, port
