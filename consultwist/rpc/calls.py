"""Calls of methods with records, over the pool, and when a call may be made again."""

import math
from typing import Any, Final

from twisted.internet.defer import Deferred

from consultwist import durations
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import CallInterrupted, NoLeader, ServerUnreachable
from consultwist.rpc.pool import CALL_TIMEOUT_S, ConnectionPool
from consultwist.rpc.replies import Reply
from consultwist.structs.query import QueryOptions
from consultwist.wire.struct import Struct

#: Servers wait longer than they are asked to by up to this part (rpc.md section 7.2).
_WAIT_JITTER: Final = 16

#: Between tries a request waits at random up to this part of the hold time.
RETRY_FRACTION: Final = 16


def is_retryable(request: Struct, error: BaseException | None) -> bool:
    """Tell whether a failed request may be made again.

    It may where it cannot have changed anything: nobody led, nothing was sent, or it
    is a read.
    """
    if isinstance(error, NoLeader | ServerUnreachable):
        return True
    return isinstance(error, CallInterrupted) and isinstance(request, QueryOptions)


class RemoteCalls:
    """Calls methods on other servers."""

    def __init__(self, pool: ConnectionPool, config: RuntimeConfig) -> None:
        self._pool = pool
        self._wait_default_s = config.default_query_time
        self._wait_max_s = config.max_query_time

    def call(
        self, address: str, datacenter: str, method: str, reply: Reply, request: Struct
    ) -> Deferred[Any]:
        """Call a method on the server at an address; fires with its reply."""
        done = self._pool.call(
            address, datacenter, method, request.pack(), self._timeout_s(request)
        )
        return done.addCallback(reply.read)

    def _timeout_s(self, request: Struct) -> float:
        if not isinstance(request, QueryOptions) or not request.min_query_index:
            return CALL_TIMEOUT_S
        asked_s = request.max_query_time / durations.SECOND
        wait_s = min(asked_s, self._wait_max_s) if asked_s > 0 else self._wait_default_s
        return CALL_TIMEOUT_S + math.ceil(wait_s * (1 + 1 / _WAIT_JITTER))
