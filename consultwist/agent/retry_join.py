"""RetryJoin: joins a pool at the start, and tries until it succeeds."""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.host import Host

#: Begins an address that a cloud's API is to be asked for.
_PROVIDER: Final = "provider="


class RetryJoin(Service):
    """Joins one pool.

    Args:
        host: the reactor.
        join: joins the pool at any of some addresses.
        pool: the pool's name for the log, ``LAN`` or ``WAN``.
        start: addresses that are tried once (``start_join``).
        retry: addresses that are tried until one can be joined (``retry_join``).
        interval_s: the time between two tries.
        attempts_max: how often to try; 0 for ever.
    """

    log = Logger()

    def __init__(
        self,
        host: Host,
        join: Callable[[Sequence[str]], Deferred[int]],
        pool: str,
        *,
        start: Sequence[str],
        retry: Sequence[str],
        interval_s: float,
        attempts_max: int,
    ) -> None:
        self._host = host
        self._join = join
        self._pool = pool
        self._start = start
        self._retry = retry
        self._interval_s = interval_s
        self._attempts_left = attempts_max
        self._is_limited = attempts_max > 0
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin."""
        super().startService()
        if self._start:
            joined = self._join(self._start)
            joined.addCallbacks(self._joined, self._failed_once)
        if self._retry:
            self._try()

    def stopService(self) -> None:
        """Try no more."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _try(self) -> None:
        addresses = self._addresses()
        if not addresses:
            self._failed_again("No servers to join")
            return
        self.log.info("Joining cluster...: cluster={pool}", pool=self._pool)
        joined = self._join(addresses)
        joined.addCallbacks(
            self._joined, lambda failure: self._failed_again(failure.getErrorMessage())
        )

    def _addresses(self) -> list[str]:
        """Return the addresses to try; those of clouds cannot be discovered."""
        found: list[str] = []
        for address in self._retry:
            if address.startswith(_PROVIDER):
                provider = address.removeprefix(_PROVIDER).split()[0]
                self.log.error(
                    "Cannot discover address: cluster={pool} address={address} "
                    'error="discover: unknown provider {provider}"',
                    pool=self._pool,
                    address=f"{_PROVIDER}{provider}",
                    provider=provider,
                )
            else:
                found.append(address)
        return found

    def _joined(self, count: int) -> None:
        self.log.info(
            "Join cluster completed. Synced with initial agents: cluster={pool} "
            "num_agents={count}",
            pool=self._pool,
            count=count,
        )

    def _failed_once(self, failure: Failure) -> None:
        self.log.error(
            "Join cluster failed: cluster={pool} error={error}",
            pool=self._pool,
            error=failure.getErrorMessage(),
        )

    def _failed_again(self, problem: str) -> None:
        if not self.running:
            return
        if self._is_limited:
            self._attempts_left -= 1
            if self._attempts_left <= 0:
                self.log.error(
                    "max join retry exhausted, giving up: cluster={pool}",
                    pool=self._pool,
                )
                return
        self.log.warn(
            "Join cluster failed, will retry: cluster={pool} "
            'retry_interval={interval:g}s error="{error}"',
            pool=self._pool,
            interval=self._interval_s,
            error=problem,
        )
        self._timer = self._host.reactor.callLater(self._interval_s, self._try)
