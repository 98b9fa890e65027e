"""Agent: the service tree that both modes share."""

import os
import platform
import threading
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec.structs
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from consultwist.acl.authorizer import ALLOW_ALL, Authorizer
from consultwist.agent.anti_entropy import AntiEntropy, Identity
from consultwist.agent.cache import AgentCache, Cached
from consultwist.agent.check_runners import CheckRunners
from consultwist.agent.coordinates import CoordinateReports
from consultwist.agent.local_state import LocalState
from consultwist.agent.plugins import Plugins
from consultwist.agent.pools import Pools
from consultwist.agent.registry import Registry
from consultwist.agent.tokens import Tokens
from consultwist.agent.user_events import EVENT_PREFIX, UserEvents
from consultwist.checks.selection import CheckTypes
from consultwist.config.reload import Reload, compare
from consultwist.config.runtime import RuntimeConfig
from consultwist.host import Host
from consultwist.interfaces import IAgent, IClusterDelegate
from consultwist.structs.catalog import Node
from consultwist.structs.event import EventFireRequest
from consultwist.structs.query import QueryOptions
from consultwist.telemetry.metrics import Metrics
from consultwist.telemetry.runtime import RuntimeGauges
from consultwist.telemetry.turns import TurnMonitor
from consultwist.wire.struct import Struct

#: Go's names of processor architectures, which clients of Consul know.
_GO_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the program around an agent does for it.

    Attributes:
        read_config: reads the configuration again, as at the start.
        shut_down: ends the program after an agent has left.
    """

    read_config: Callable[[], RuntimeConfig]
    shut_down: Callable[[], None]


class Watchman(Service):
    """Watches over the process: its memory, its threads, its reactor's turns."""

    def __init__(self, host: Host, metrics: Metrics) -> None:
        self._host = host
        self._metrics = metrics
        self._stops: list[Callable[[], None]] = []

    def startService(self) -> None:
        """Begin to watch."""
        super().startService()
        host, metrics = self._host, self._metrics
        gauges = RuntimeGauges(metrics, host.clock, host.reactor)
        monitor = TurnMonitor(host.clock, metrics)
        self._stops = [gauges.install(), monitor.install(host.reactor)]

    def stopService(self) -> None:
        """Watch no more."""
        super().stopService()
        while self._stops:
            self._stops.pop()()


@implementer(IAgent)
class Agent(MultiService):
    """One agent, in either mode: the delegate given by `join_cluster` decides.

    Children start in the order in which they were added: telemetry, the gossip pools,
    the delegate, the checks and anti-entropy, and last the interfaces.
    """

    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        *,
        plugins: Plugins,
        metrics: Metrics,
        surroundings: Surroundings,
    ) -> None:
        super().__init__()
        self.config = config
        self.host = host
        self.reactor = host.reactor
        self.clock = host.clock
        self.rng = host.rng
        self.plugins = plugins
        self.metrics = metrics
        self.tokens = Tokens.of(config)
        self._calls = metrics.counter_series("client.rpc")
        self._surroundings = surroundings
        self.delegate: Any = None
        metrics.setServiceParent(self)
        Watchman(host, metrics).setServiceParent(self)
        self.pools = Pools(host, config)
        self.pools.setServiceParent(self)
        self.local_state = LocalState(
            host,
            config.check_update_interval,
            config.discard_check_output,
            self._local_state_changed,
        )
        self.checks = CheckRunners(
            host,
            config,
            CheckTypes(plugins.check_types),
            self.local_state,
            rpc=self.rpc,
            reap=self._reap_service,
        )
        self.registry = Registry(host, config, self.local_state, self.checks)
        self.anti_entropy = AntiEntropy(
            host,
            self.local_state,
            self.rpc,
            Identity(
                node=own_node(config),
                token=lambda: self.tokens.agent,
                members=self.pools.count,
            ),
            config.ae_interval,
        )
        self.events = UserEvents(host, config, self.local_state, self._fire_event)
        self.cache = AgentCache(host, config.cache, self.rpc, metrics)
        self.coordinate_reports = CoordinateReports(
            host,
            config,
            coordinate=self.pools.coordinate,
            members=self.pools.count,
            rpc=self.rpc,
            token=lambda: self.tokens.agent,
        )

    def join_cluster(self, delegate: IClusterDelegate) -> None:
        """Take the delegate, and make the interfaces; call once, before starting."""
        self.delegate = delegate
        IService(delegate).setServiceParent(self)
        self.checks.setServiceParent(self)
        self.anti_entropy.setServiceParent(self)
        self.coordinate_reports.setServiceParent(self)
        self.cache.setServiceParent(self)
        for interface in self.plugins.interfaces:
            service = interface.make_service(self)
            if service is not None:
                service.setServiceParent(self)

    def startService(self) -> None:
        """Register what is defined, then start all children."""
        self.registry.load(self.config.services, self.config.checks)
        super().startService()
        self.pools.on_event(EVENT_PREFIX, self._event_received)

    def stopService(self) -> Deferred[None]:
        """Stop all children, the interfaces first."""
        self.local_state.stop()
        stopped: Deferred[None] = super().stopService()
        return stopped

    # --- IAgent ----------------------------------------------------------------------

    def rpc(self, method: str, request: Struct) -> Any:
        """Call a server method; an empty datacenter becomes this agent's."""
        self._calls.add(1)
        if getattr(request, "datacenter", None) == "":
            request = msgspec.structs.replace(
                request, datacenter=self.config.datacenter
            )
        return self.delegate.rpc(method, request)

    def cached(self, method: str, request: QueryOptions) -> Cached | Deferred[Cached]:
        """Answer a read from what was asked before, where that will do."""
        return self.cache.get(method, request)

    def resolve_token(self, token: str) -> Authorizer:  # noqa: ARG002
        """Return what a token allows: everything, for ACLs are off."""
        return ALLOW_ALL

    async def reload(self) -> None:
        """Read the configuration again and apply what can change at run time.

        Raises:
            ConfigError: where the new configuration has a mistake; the old one stays.
        """
        change = compare(self.config, self._surroundings.read_config())
        for key in change.ignored:
            self.log.warn("{key} changed, which needs a restart", key=key)
        self.anti_entropy.pause()
        try:
            self._apply(change)
        finally:
            self.anti_entropy.resume()

    async def leave(self) -> None:
        """Leave the cluster and shut down."""
        self.log.info("Starting agent leave")
        await self.delegate.leave()
        await self.pools.leave()
        await self.delegate.drain()
        self._surroundings.shut_down()

    def stats(self) -> dict[str, dict[str, str]]:
        """Return the figures that ``/v1/agent/self`` shows."""
        monitors, ttls = self.checks.counts()
        sections = {
            "agent": {
                "check_monitors": str(monitors),
                "check_ttls": str(ttls),
                "checks": str(len(self.local_state.checks())),
                "services": str(len(self.local_state.services())),
            },
        }
        for part in (self.delegate.stats(), self.pools.stats(), build_stats(self)):
            sections.update({name: dict(values) for name, values in part.items()})
        return sections

    def _apply(self, change: Reload) -> None:
        old, self.config = self.config, change.config
        self.local_state.check_update_interval_s = change.config.check_update_interval
        self.local_state.discard_output = change.config.discard_check_output
        self.registry.reload(old, change.config)
        for child in self:
            reconfigure = getattr(child, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(change.config)

    def _fire_event(self, name: str, payload: bytes, datacenter: str) -> Any:
        """Have a server tell all members of a datacenter of an event."""
        order = EventFireRequest(name=name, payload=payload, datacenter=datacenter)
        return self.rpc("Internal.EventFire", order)

    def _event_received(self, _name: str, payload: bytes, l_time: int) -> None:
        self.events.receive(payload, l_time)

    def _local_state_changed(self) -> None:
        self.anti_entropy.sync_changes()

    def _reap_service(self, service_id: str) -> None:
        self.registry.deregister_service(service_id).addErrback(
            lambda failure: self.log.failure("reaping a service", failure=failure)
        )


def build_stats(agent: Agent) -> dict[str, dict[str, str]]:
    """Return the sections about the program itself."""
    config = agent.config
    processors = str(os.cpu_count() or 1)
    return {
        "build": {
            "prerelease": config.version_prerelease,
            "revision": config.revision,
            "version": config.version,
        },
        "runtime": {
            "arch": _GO_ARCHITECTURES.get(platform.machine(), platform.machine()),
            "cpu_count": processors,
            "goroutines": str(_activities(agent)),
            "max_procs": processors,
            "os": platform.system().lower(),
            "version": f"python{platform.python_version()}",
        },
    }


def _activities(agent: Agent) -> int:
    """Return how many things go on: threads, timers, and sockets that are listened to.

    Each of them would be a goroutine in a program written in Go.
    """
    reactor = agent.reactor
    readers: list[Any] = getattr(reactor, "getReaders", list)()
    return threading.active_count() + len(reactor.getDelayedCalls()) + len(readers)


def own_node(config: RuntimeConfig) -> Node:
    """Return this agent's node as the catalog shall have it."""
    return Node(
        id=config.node_id,
        node=config.node_name,
        address=config.advertise_addr_lan,
        datacenter=config.datacenter,
        tagged_addresses=dict(config.tagged_addresses),
        meta={**config.node_meta, "consul-network-segment": config.segment_name},
    )
