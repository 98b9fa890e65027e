"""What operators see and change of Raft: its servers, their health, autopilot."""

from typing import Annotated, Final

from consultwist.structs.query import RaftIndex, WriteRequest
from consultwist.wire.struct import Field, Struct
from consultwist.wire.time import ZERO_TIME, Time

#: Under which name the store keeps the autopilot configuration.
AUTOPILOT: Final = "autopilot"

#: Durations that JSON shows as text.
Readable = Annotated[int, Field(duration=True, text=True)]


class RaftServer(Struct):
    """One server of the Raft configuration."""

    id: str = ""
    node: str = ""
    address: str = ""
    leader: bool = False
    protocol_version: str = ""
    voter: bool = False


class RaftConfigurationResponse(Struct):
    """The Raft configuration in force."""

    servers: list[RaftServer] | None = None
    index: int = 0


class RaftRemovePeerRequest(WriteRequest):
    """Has a server removed from Raft, by its address or its id."""

    datacenter: str = ""
    address: str = ""
    id: str = ""


class AutopilotConfig(RaftIndex):
    """What autopilot may do, and whom it takes for healthy."""

    cleanup_dead_servers: bool = False
    last_contact_threshold: Readable = 0
    max_trailing_logs: int = 0
    min_quorum: int = 0
    server_stabilization_time: Readable = 0
    redundancy_zone_tag: str = ""
    disable_upgrade_migration: bool = False
    upgrade_version_tag: str = ""


class AutopilotSetConfigRequest(WriteRequest):
    """Changes the autopilot configuration, as a whole."""

    datacenter: str = ""
    config: AutopilotConfig = AutopilotConfig()
    cas: bool = False


class ServerHealth(Struct):
    """How one server of the Raft configuration stands, as the leader sees it.

    ``last_contact`` is -1 for a server that was not reached.
    """

    id: str = ""
    name: str = ""
    address: str = ""
    serf_status: int = 0
    version: str = ""
    leader: bool = False
    last_contact: Readable = 0
    last_term: int = 0
    last_index: int = 0
    healthy: bool = False
    voter: bool = False
    stable_since: Time = ZERO_TIME


class OperatorHealthReply(Struct):
    """How all servers stand, and how many may fail."""

    healthy: bool = False
    failure_tolerance: int = 0
    servers: list[ServerHealth] | None = None
