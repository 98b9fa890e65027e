"""AgentCache: reads that this agent answers from what it asked the servers before.

There are two kinds. An entry of a *refreshed* read is kept up to date: as soon as the
servers have answered, they are asked again by a blocking query, so that the next
change is here at once and no reader has to wait. An entry of a *simple* read is asked
for again only where a reader says that it is too old. Both go three days after they
were used last.

Who asks with which token makes no common entry: the servers filter by token. How old
or how consistent an answer may be does not tell entries apart, and the servers are
asked for stale answers, as in Consul: it makes no sense to ask the leader for what may
be any age when it is read.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec.structs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist import durations
from consultwist.config.runtime import CacheConfig, RuntimeConfig
from consultwist.errors import RPCError
from consultwist.host import Host
from consultwist.rpc.limits import RateLimit
from consultwist.structs.query import QueryOptions, QuerySource
from consultwist.telemetry.metrics import Metrics

#: Entries go this long after their last use (Consul: 72 h).
TTL_S: Final = 72 * 3600.0
#: So many entries are kept; beyond them those go that were not used for longest.
ENTRIES_MAX: Final = 4096
#: How long a refreshing query waits for a change at the servers (Consul: 10 min).
REFRESH_WAIT_S: Final = 600.0
#: So many failures in a row are tried again at once, before each further one waits
#: twice as long as the last, up to the maximum (Consul: 3, 1 min).
_FAILURES_FREE: Final = 3
_BACKOFF_MAX_S: Final = 60.0

#: Methods whose reads have no index to wait on, or change the state that they read.
_SIMPLE: Final = frozenset(("Catalog.ListDatacenters", "PreparedQuery.Execute"))

#: Asks the servers, as `IAgent.rpc`.
RPC = Callable[[str, Any], Any]


@attrs.frozen
class Cached:
    """A reply by way of the cache.

    Attributes:
        reply: the servers' reply; the same object as long as nothing changed.
        hit: whether the reply was here before it was asked for.
        age_s: for how long it has not been known to be up to date.
    """

    reply: Any
    hit: bool = False
    age_s: float = 0.0


@attrs.define(eq=False)
class _Waiter:
    """A read that waits for the next reply."""

    request: QueryOptions
    answer: Deferred[Cached]
    timer: IDelayedCall | None = None


@attrs.define(eq=False)
class _Entry:
    """One read, what is known of its answer, and who waits for it.

    Attributes:
        key: the method and the packed request.
        request: as the servers are asked the first time.
        refreshed: whether the servers are asked again and again.
        limit: how often they may be asked.
        reply: their last reply; None where none came yet.
        index: the index of that reply.
        fetched_s: when it came.
        lost_s: since when they could not be asked.
        failures: how often that went wrong in a row.
        fetching: the question that is under way.
        timer: starts the next one.
    """

    key: tuple[str, bytes]
    request: QueryOptions
    refreshed: bool
    limit: RateLimit
    used_s: float
    reply: Any = None
    index: int = 0
    fetched_s: float = 0.0
    lost_s: float | None = None
    failures: int = 0
    fetching: Deferred[Any] | None = None
    timer: IDelayedCall | None = None
    waiters: list[_Waiter] = attrs.Factory(list)

    def age_s(self, now_s: float) -> float:
        """Return for how long the reply is not known to be up to date."""
        if self.refreshed:
            return 0.0 if self.lost_s is None else now_s - self.lost_s
        return now_s - self.fetched_s

    def satisfies(self, request: QueryOptions, now_s: float) -> bool:
        """Tell whether the reply at hand is what a reader wants."""
        if self.reply is None:
            return False
        if self.refreshed:
            return not 0 < self.index <= request.min_query_index
        age_ns = self.age_s(now_s) * durations.SECOND
        return not (request.must_revalidate or 0 < request.max_age < age_ns)


class AgentCache(Service):
    """The cached reads of one agent.

    Args:
        host: time, and randomness for backing off.
        limits: how often one entry may be asked for.
        rpc: asks the servers.
        metrics: counts successes and failures.
    """

    log = Logger()

    def __init__(
        self, host: Host, limits: CacheConfig, rpc: RPC, metrics: Metrics
    ) -> None:
        self._reactor = host.reactor
        self._clock = host.clock
        self._rng = host.rng
        self._limits = limits
        self._rpc = rpc
        self._metrics = metrics
        self._entries: OrderedDict[tuple[str, bytes], _Entry] = OrderedDict()
        self._expiry: IDelayedCall | None = None

    def __len__(self) -> int:
        """Return how many entries there are."""
        return len(self._entries)

    def get(self, method: str, request: QueryOptions) -> Cached | Deferred[Cached]:
        """Answer a read: at once where the reply at hand will do.

        Errors of the servers are raised, or fail the Deferred, unless there is a reply
        that is not older than the request's `stale_if_error`.
        """
        entry = self._find(method, request)
        now_s = self._clock.monotonic()
        if entry.satisfies(request, now_s):
            return Cached(entry.reply, hit=True, age_s=entry.age_s(now_s))
        return self._wait(entry, request)

    def reconfigure(self, config: RuntimeConfig) -> None:
        """Take other limits, after a reload."""
        self._limits = limits = config.cache
        for entry in self._entries.values():
            entry.limit.set(limits.entry_fetch_rate, limits.entry_fetch_max_burst)

    def stopService(self) -> None:
        """Ask no more, and forget all."""
        super().stopService()
        while self._entries:
            self._drop(next(iter(self._entries.values())))
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    # --- entries ---------------------------------------------------------------------

    def _find(self, method: str, request: QueryOptions) -> _Entry:
        shared = _shared_form(request)
        key = (method, shared.pack())
        entry = self._entries.get(key)
        now_s = self._clock.monotonic()
        if entry is not None:
            self._entries.move_to_end(key)
            entry.used_s = now_s
            return entry
        limits = self._limits
        limit = RateLimit(
            self._clock, limits.entry_fetch_rate, limits.entry_fetch_max_burst
        )
        entry = _Entry(key, shared, method not in _SIMPLE, limit, now_s)
        self._entries[key] = entry
        self._make_room()
        self._watch_expiry()
        return entry

    def _make_room(self) -> None:
        if len(self._entries) > ENTRIES_MAX:
            old = next(iter(self._entries.values()))
            idle = (entry for entry in self._entries.values() if not entry.waiters)
            newest = next(reversed(self._entries.values()))
            found = next(idle, old)
            self._drop(old if found is newest else found)
        self._count_entries()

    def _watch_expiry(self) -> None:
        if self._expiry is None and self._entries:
            oldest = next(iter(self._entries.values()))
            left_s = oldest.used_s + TTL_S - self._clock.monotonic()
            self._expiry = self._reactor.callLater(max(left_s, 0.0), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        horizon_s = self._clock.monotonic() - TTL_S
        while self._entries:
            oldest = next(iter(self._entries.values()))
            if oldest.used_s > horizon_s:
                break
            self._metrics.counter("cache.evict_expired")
            self._drop(oldest)
        self._watch_expiry()

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.key]
        if entry.timer is not None:
            entry.timer.cancel()
        if entry.fetching is not None:
            fetching, entry.fetching = entry.fetching, None
            fetching.cancel()
        self._fail_waiters(entry, Failure(RPCError("the cache entry was dropped")))
        self._count_entries()

    def _count_entries(self) -> None:
        self._metrics.gauge("cache.entries_count", len(self._entries))

    # --- readers ---------------------------------------------------------------------

    def _wait(self, entry: _Entry, request: QueryOptions) -> Cached | Deferred[Cached]:
        waiter = _Waiter(request, Deferred(lambda _: self._give_up(entry, waiter)))
        wait_s = request.max_query_time / durations.SECOND or REFRESH_WAIT_S
        waiter.timer = self._reactor.callLater(wait_s, self._time_up, entry, waiter)
        entry.waiters.append(waiter)
        if entry.timer is not None and entry.failures:
            # Somebody asks: the next try does not wait any longer.
            entry.timer.cancel()
            entry.timer = None
        if entry.fetching is None and entry.timer is None:
            self._fetch(entry)
        return _known(waiter.answer) if waiter.answer.called else waiter.answer

    def _give_up(self, entry: _Entry, waiter: _Waiter) -> None:
        if waiter in entry.waiters:
            entry.waiters.remove(waiter)
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None

    def _time_up(self, entry: _Entry, waiter: _Waiter) -> None:
        waiter.timer = None
        entry.waiters.remove(waiter)
        if entry.reply is None:
            waiter.answer.errback(RPCError("timed out waiting for the first reply"))
        else:
            waiter.answer.callback(Cached(entry.reply))

    def _serve_waiters(self, entry: _Entry) -> None:
        """Answer those for whom the new reply will do."""
        for waiter in list(entry.waiters):
            minimum = waiter.request.min_query_index if entry.refreshed else 0
            if entry.index > minimum:
                self._give_up(entry, waiter)
                waiter.answer.callback(Cached(entry.reply))

    def _fail_waiters(self, entry: _Entry, failure: Failure) -> None:
        now_s = self._clock.monotonic()
        for waiter in list(entry.waiters):
            self._give_up(entry, waiter)
            age_s = now_s - entry.fetched_s
            allowed_ns = waiter.request.stale_if_error
            if entry.reply is not None and age_s * durations.SECOND < allowed_ns:
                waiter.answer.callback(Cached(entry.reply, hit=True, age_s=age_s))
            else:
                waiter.answer.errback(failure)

    # --- the servers -----------------------------------------------------------------

    def _fetch(
        self, entry: _Entry, delay_s: float = 0.0, *, later: bool = False
    ) -> None:
        """Ask the servers, when the limit allows it."""
        delay_s = max(delay_s, entry.limit.reserve())
        if later or delay_s > 0:
            entry.timer = self._reactor.callLater(delay_s, self._send, entry)
        else:
            self._send(entry)

    def _send(self, entry: _Entry) -> None:
        entry.timer = None
        request = entry.request
        if entry.refreshed and entry.index:
            request = msgspec.structs.replace(
                request,
                min_query_index=entry.index,
                max_query_time=int(REFRESH_WAIT_S * durations.SECOND),
            )
        entry.fetching = fetching = maybeDeferred(self._rpc, entry.key[0], request)
        fetching.addCallbacks(
            self._fetched, self._failed, callbackArgs=(entry,), errbackArgs=(entry,)
        )

    def _fetched(self, reply: Any, entry: _Entry) -> None:
        if entry.fetching is None:
            return
        entry.fetching = None
        entry.failures = 0
        entry.lost_s = None
        entry.reply = reply
        entry.fetched_s = self._clock.monotonic()
        # An index of 0 would be asked for again at once and for ever. Simple reads have
        # none; their replies may be plain lists.
        entry.index = max(1, reply.index) if entry.refreshed else 1
        self._metrics.counter("cache.fetch_success")
        self._serve_waiters(entry)
        if entry.refreshed and entry.key in self._entries:
            # In a turn of its own: the answer may be there at once, again and again.
            self._fetch(entry, later=True)

    def _failed(self, failure: Failure, entry: _Entry) -> None:
        if entry.fetching is None:
            return
        entry.fetching = None
        entry.failures += 1
        if entry.lost_s is None:
            entry.lost_s = self._clock.monotonic()
        self._metrics.counter("cache.fetch_error")
        self.log.debug(
            "could not refresh a cached read: method={method} error={error}",
            method=entry.key[0],
            error=failure.getErrorMessage(),
        )
        self._fail_waiters(entry, failure)
        if entry.key not in self._entries:
            return
        if entry.reply is None:
            self._drop(entry)
        elif entry.refreshed and entry.timer is None and entry.fetching is None:
            self._fetch(entry, self._backoff_s(entry.failures), later=True)

    def _backoff_s(self, failures: int) -> float:
        excess = failures - _FAILURES_FREE
        if excess <= 0:
            return 0.0
        pause_s = min(2.0 ** min(excess, 16), _BACKOFF_MAX_S)
        return pause_s * (1 + self._rng.random())


def _known(answer: Deferred[Cached]) -> Cached:
    """Return the result of a Deferred that has fired, or raise it."""
    results: list[Cached | Failure] = []
    answer.addBoth(results.append)
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def _shared_form(request: QueryOptions) -> QueryOptions:
    """Return a request without what readers of the same entry may differ in."""
    changes: dict[str, Any] = dict(_SHARED)
    source = getattr(request, "source", None)
    # Who asks matters only where the answer is sorted by the distance to there.
    if source is not None and not source.node:
        changes["source"] = QuerySource()
    elif source is not None and source.node != "_ip":
        changes["source"] = msgspec.structs.replace(source, ip="")
    return msgspec.structs.replace(request, **changes)


_SHARED: Final = {
    "min_query_index": 0,
    "max_query_time": 0,
    "allow_stale": True,
    "require_consistent": False,
    "max_age": 0,
    "max_stale_duration": 0,
    "must_revalidate": False,
    "stale_if_error": 0,
    "use_cache": False,
}
