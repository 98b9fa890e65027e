"""RecordingAgent: an agent without a cluster, for tests of its interfaces.

It answers RPC methods from functions that a test gives, and remembers what was asked::

    agent = RecordingAgent(config, {"Catalog.ListNodes": lambda _: IndexedNodes()})
    agent.rpc("Catalog.ListNodes", DCSpecificRequest())
    agent.calls
"""

import math
import random
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from consultwist.agent.cache import AgentCache, Cached
from consultwist.clock import Clock
from consultwist.config.runtime import CacheConfig
from consultwist.errors import ACLNotFound, RPCError
from consultwist.host import Host
from consultwist.interfaces import IAgent
from consultwist.structs.query import QueryOptions
from consultwist.telemetry.metrics import Metrics
from consultwist.testing.clock import ReactorClock
from consultwist.wire.struct import Struct


@attrs.define
class RecordedMetrics:
    """A sink of metrics that keeps what it is given, in order."""

    counters: list[tuple[str, float]] = attrs.Factory(list)
    gauges: list[tuple[str, float]] = attrs.Factory(list)
    samples: list[tuple[str, float]] = attrs.Factory(list)

    def counter(
        self, name: str, value: float = 1, labels: Mapping[str, str] | None = None
    ) -> None:
        """Keep a count."""
        del labels
        self.counters.append((name, value))

    def gauge(
        self, name: str, value: float, labels: Mapping[str, str] | None = None
    ) -> None:
        """Keep a gauge."""
        del labels
        self.gauges.append((name, value))

    def sample_series(
        self, name: str, labels: Mapping[str, str] | None = None
    ) -> "RecordedSeries":
        """Return what keeps samples of one name."""
        return RecordedSeries(self, name, labels)

    def sample(
        self, name: str, value: float, labels: Mapping[str, str] | None = None
    ) -> None:
        """Keep a sample."""
        del labels
        self.samples.append((name, value))


@attrs.define
class RecordedSeries:
    """Samples of one name."""

    metrics: RecordedMetrics
    name: str
    labels: Mapping[str, str] | None

    def add(self, value: float) -> None:
        """Keep a sample."""
        self.metrics.sample(self.name, value, self.labels)


@attrs.define
class FixedTokens:
    """The tokens of an agent without ACLs."""

    default: str = ""
    agent: str = ""


@implementer(IAgent)
class RecordingAgent:
    """An agent whose servers are the functions of a test.

    Args:
        config: what `IAgent.config` shows.
        methods: by RPC name, what answers it; takes the request, and may raise.
    """

    def __init__(
        self, config: Any, methods: Mapping[str, Callable[[Any], Any]] | None = None
    ) -> None:
        self.config = config
        self.methods = dict(methods or {})
        self.calls: list[tuple[str, Struct]] = []
        self.reactor: Any = MemoryReactorClock()
        self.clock: Clock = ReactorClock(self.reactor)
        self.rng = random.Random(1)  # noqa: S311  # tests repeat
        self._cache: AgentCache | None = None
        self.delegate: Any = SimpleNamespace(read_version=lambda: -1)
        self.local_state: Any = None
        self.metrics = RecordedMetrics()
        self.events: Any = None
        self.tokens = FixedTokens()
        self.registry: Any = None
        self.pools: Any = None
        self.plugins: Any = None

    def rpc(self, method: str, request: Struct) -> Any:
        """Answer from the function of that name, and remember the call."""
        self.calls.append((method, request))
        answer = self.methods.get(method)
        if answer is None:
            raise RPCError(f"rpc: can't find service {method}")
        return answer(request)

    def cached(self, method: str, request: QueryOptions) -> Cached | Deferred[Cached]:
        """Read by way of a cache, which lives by the agent's reactor."""
        if self._cache is None:
            self._cache = AgentCache(
                Host(self.reactor, self.clock, self.rng),
                CacheConfig(entry_fetch_max_burst=2, entry_fetch_rate=math.inf),
                self.rpc,
                cast("Metrics", self.metrics),
            )
        return self._cache.get(method, request)

    def resolve_token(self, token: str) -> Any:
        """Know no tokens.

        Raises:
            ACLNotFound: for every token.
        """
        del token
        raise ACLNotFound

    def stats(self) -> dict[str, dict[str, str]]:
        """Have no figures."""
        return {}

    def reload(self) -> Deferred[None]:
        """Have nothing to read again."""
        return succeed(None)

    def leave(self) -> Deferred[None]:
        """Have nothing to leave."""
        return succeed(None)
