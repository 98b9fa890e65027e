"""What servers tell each other about themselves."""

from consultwist.wire.struct import Struct


class PingRequest(Struct):
    """Asks whether a server is there; says nothing else."""


class PingResponse(Struct):
    """Says that a server is there."""


class RaftStatsRequest(Struct):
    """Asks a server how far its Raft log is."""


class ServerStats(Struct):
    """How far a server's Raft log is; autopilot judges its health by it."""

    last_contact: str = ""
    last_term: int = 0
    last_index: int = 0
