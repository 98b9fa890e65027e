"""Telling the servers where this agent is in the network.

The larger the pool, the rarer each agent tells, so that all together stay below a
rate; the moment is drawn at random, so that agents started together do not tell
together.
"""

import random
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.config.runtime import RuntimeConfig
from consultwist.gossip.serf.coordinate import Coordinate
from consultwist.host import Host
from consultwist.structs.coordinate import Coord, CoordinateUpdateRequest
from consultwist.wire.struct import Struct


class CoordinateReports(Service):
    """Tells this agent's coordinate again and again; not where coordinates are off.

    Args:
        host: the reactor and randomness.
        config: the agent's configuration.
        coordinate: gives the agent's coordinate, or None where it keeps none.
        members: gives how many members the pool has.
        rpc: asks the servers.
        token: gives the token to tell it with.
    """

    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        *,
        coordinate: Callable[[], Coordinate | None],
        members: Callable[[], int],
        rpc: Callable[[str, Struct], Any],
        token: Callable[[], str],
    ) -> None:
        self._reactor: IReactorTime = host.reactor
        self._rng: random.Random = host.rng
        self._config = config
        self._coordinate = coordinate
        self._members = members
        self._rpc = rpc
        self._token = token
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to tell."""
        super().startService()
        if not self._config.disable_coordinates:
            self._wait()

    def stopService(self) -> None:
        """Tell no more."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        config = self._config
        rate = config.sync_coordinate_rate_target
        pause_s = float(config.sync_coordinate_interval_min)
        if rate > 0:
            pause_s = max(pause_s, self._members() / rate)
        pause_s += self._rng.random() * pause_s
        self._timer = self._reactor.callLater(pause_s, self._tell)

    def _tell(self) -> None:
        self._wait()
        here = self._coordinate()
        if here is None:
            return
        request = CoordinateUpdateRequest(
            datacenter=self._config.datacenter,
            node=self._config.node_name,
            segment=self._config.segment_name,
            coord=Coord(
                vec=here.vec,
                error=here.error,
                adjustment=here.adjustment,
                height=here.height,
            ),
            token=self._token(),
        )
        told = Deferred.fromCoroutine(self._send(request))
        told.addErrback(self._failed)

    async def _send(self, request: CoordinateUpdateRequest) -> None:
        answer = self._rpc("Coordinate.Update", request)
        if isinstance(answer, Deferred):
            await answer

    def _failed(self, failure: Failure) -> None:
        self.log.warn(
            "Coordinate update error: {error}", error=failure.getErrorMessage()
        )
