"""RPC methods that tell how a server stands; any server answers for itself."""

from consultwist.acl.authorizer import PUBLIC
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.structs.query import DCSpecificRequest
from consultwist.structs.status import (
    PingRequest,
    PingResponse,
    RaftStatsRequest,
    ServerStats,
)


class Status(Endpoint):
    """RPC methods that tell how a server stands.

    None waits for a leader: they are asked to find out whether there is one.
    """

    name = "Status"

    @method(PingRequest, acl=PUBLIC, local=True)
    def ping(self, call: Call, request: PingRequest) -> PingResponse:  # noqa: ARG002
        """Tell that this server is there."""
        return PingResponse()

    @method(DCSpecificRequest, acl=PUBLIC, local=True)
    def leader(self, call: Call, request: DCSpecificRequest) -> str:  # noqa: ARG002
        """Return the leader's address, empty where none is known."""
        leader = call.server.raft.leader
        return "" if leader is None else leader.address

    @method(DCSpecificRequest, acl=PUBLIC, local=True)
    def peers(
        self,
        call: Call,
        request: DCSpecificRequest,  # noqa: ARG002
    ) -> list[str]:
        """Return the addresses of all servers of the Raft configuration."""
        return [server.address for server in call.server.raft.configuration.servers]

    @method(RaftStatsRequest, acl=PUBLIC, local=True)
    def raft_stats(
        self,
        call: Call,
        request: RaftStatsRequest,  # noqa: ARG002
    ) -> ServerStats:
        """Return how far this server's log is, and when it heard the leader."""
        stats = call.server.raft.stats()
        return ServerStats(
            last_contact=stats["last_contact"],
            last_term=int(stats["last_log_term"]),
            last_index=int(stats["last_log_index"]),
        )
