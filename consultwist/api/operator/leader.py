"""What the leader does for operators: it keeps autopilot running."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist import durations
from consultwist.api.operator.table import autopilot_config
from consultwist.interfaces import ILeaderRoutine, IServer
from consultwist.structs.message_type import MessageType
from consultwist.structs.operator import AutopilotConfig, AutopilotSetConfigRequest

log = Logger()


@implementer(IPlugin, ILeaderRoutine)
class AutopilotRoutine:
    """Looks after the servers, by a configuration that is in the state."""

    name = "autopilot"
    rank = 0

    def start(self, server: IServer) -> Callable[[], None]:
        """Write the first configuration where there is none, and begin."""
        if autopilot_config(server.store) is None:
            request = AutopilotSetConfigRequest(config=first_config(server))
            written: Deferred[object] = server.raft_apply(
                MessageType.AUTOPILOT, request
            )
            written.addErrback(_not_written)
        server.autopilot.start()
        stop: Callable[[], None] = server.autopilot.stop
        return stop


def first_config(server: IServer) -> AutopilotConfig:
    """Return what the agent's configuration says; it counts only this once."""
    config = server.config
    return AutopilotConfig(
        cleanup_dead_servers=config.autopilot_cleanup_dead_servers,
        last_contact_threshold=_nanoseconds(config.autopilot_last_contact_threshold),
        max_trailing_logs=config.autopilot_max_trailing_logs,
        min_quorum=config.autopilot_min_quorum,
        server_stabilization_time=_nanoseconds(
            config.autopilot_server_stabilization_time
        ),
        redundancy_zone_tag=config.autopilot_redundancy_zone_tag,
        disable_upgrade_migration=config.autopilot_disable_upgrade_migration,
        upgrade_version_tag=config.autopilot_upgrade_version_tag,
    )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * durations.SECOND)


def _not_written(failure: Failure) -> None:
    # Leadership was lost; the next leader writes it.
    log.warn(
        "failed to initialize the autopilot configuration: {error}",
        error=failure.getErrorMessage(),
    )
