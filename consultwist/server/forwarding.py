"""Where a request is answered: here, by the leader, or in another datacenter."""

import random
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from consultwist.errors import NoLeader, NoPathToDatacenter
from consultwist.rpc.dispatch import Method
from consultwist.wire.struct import Struct

#: Between tries a request waits at random up to this part of the hold time.
_JITTER_FRACTION: Final = 16


class LeaderView(Protocol):
    """What this server knows of who leads."""

    def is_leader(self) -> bool:
        """Tell whether this server leads."""

    def knows_leader(self) -> bool:
        """Tell whether any server is known to lead."""


class Forwarder:
    """Decides who runs a method, and waits through elections."""

    def __init__(
        self,
        reactor: IReactorTime,
        rng: random.Random,
        leader: LeaderView,
        *,
        datacenter: str,
        hold_timeout_s: float,
    ) -> None:
        self._reactor = reactor
        self._rng = rng
        self._leader = leader
        self._datacenter = datacenter
        self._hold_timeout_s = hold_timeout_s

    def run(
        self, method: Method, request: Struct, here: Callable[[Method, Struct], Any]
    ) -> Any:
        """Have a request answered; `here` runs it on this server.

        Raises:
            NoPathToDatacenter: where the datacenter is not known.
        """
        datacenter = getattr(request, "datacenter", self._datacenter)
        if datacenter != self._datacenter and (datacenter or not method.local):
            raise NoPathToDatacenter
        if method.local:
            return here(method, request)
        if self._leader.is_leader() or self._may_be_stale(request):
            return here(method, request)
        return _Held(self, method, request, here).start()

    def _may_be_stale(self, request: Struct) -> bool:
        return getattr(request, "allow_stale", False) and self._leader.knows_leader()


class _Held:
    """A request that waits for a leader, for as long as the hold time."""

    def __init__(
        self,
        forwarder: Forwarder,
        method: Method,
        request: Struct,
        here: Callable[[Method, Struct], Any],
    ) -> None:
        self._forwarder = forwarder
        self._method = method
        self._request = request
        self._here = here
        self._left_s = forwarder._hold_timeout_s
        self._done: Deferred[Any] = Deferred(lambda _: self._timer.cancel())

    def start(self) -> Deferred[Any]:
        """Wait a little, then try again."""
        self._wait()
        return self._done

    def _wait(self) -> None:
        forwarder = self._forwarder
        pause_s = forwarder._rng.random() * forwarder._hold_timeout_s / _JITTER_FRACTION
        self._left_s -= pause_s
        self._timer = forwarder._reactor.callLater(pause_s, self._try)

    def _try(self) -> None:
        if self._forwarder._leader.is_leader():
            # Whatever comes of it, a value, a Deferred or an error, is the answer.
            answer = Deferred.fromCoroutine(self._answer())
            answer.chainDeferred(self._done)
        elif self._left_s <= 0:
            self._done.errback(NoLeader())
        else:
            self._wait()

    async def _answer(self) -> Any:
        result = self._here(self._method, self._request)
        return await result if isinstance(result, Deferred) else result
