"""What the leader does for coordinates: it writes them into the log in batches."""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.interfaces import ILeaderRoutine, IServer
from consultwist.server.coordinate_updates import Pace
from consultwist.structs.coordinate import CoordinateBatch
from consultwist.structs.message_type import IGNORE_UNKNOWN_FLAG, MessageType

#: Consul lets servers that do not know coordinates skip them.
_BATCH_UPDATE: Final = MessageType.COORDINATE_BATCH_UPDATE | IGNORE_UNKNOWN_FLAG


@implementer(IPlugin, ILeaderRoutine)
class CoordinateBatches:
    """Proposes the coordinates that agents told, every few seconds."""

    name = "coordinate-batches"
    rank = 0

    def start(self, server: IServer) -> Callable[[], None]:
        """Begin to take coordinates."""

        def propose(batch: CoordinateBatch) -> Deferred[Any]:
            done: Deferred[Any] = server.raft_apply(_BATCH_UPDATE, batch)
            return done

        config = server.config
        pace = Pace(
            period_s=config.consul_coordinate_update_period,
            batch_size=config.consul_coordinate_update_batch_size,
            batches_max=config.consul_coordinate_update_max_batches,
        )
        server.coordinate_updates.start(propose, pace)
        stop: Callable[[], None] = server.coordinate_updates.stop
        return stop
