"""RPC methods for operators: Raft's servers, their health, autopilot."""

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred

from consultwist.acl.authorizer import Authorizer
from consultwist.api.operator.table import autopilot_config
from consultwist.errors import ConsultwistError
from consultwist.gossip.consul import parse_server
from consultwist.gossip.serf.members import PoolMember
from consultwist.raft.configuration import Server
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.structs.message_type import MessageType
from consultwist.structs.operator import (
    AutopilotConfig,
    AutopilotSetConfigRequest,
    OperatorHealthReply,
    RaftConfigurationResponse,
    RaftRemovePeerRequest,
    RaftServer,
)
from consultwist.structs.query import DCSpecificRequest


def read_rule(authorizer: Authorizer, request: object) -> bool:  # noqa: ARG001
    """Ask for read access to what operators see."""
    return authorizer.allows("operator", "read", "")


def write_rule(authorizer: Authorizer, request: object) -> bool:  # noqa: ARG001
    """Ask for write access to what operators change."""
    return authorizer.allows("operator", "write", "")


class Operator(Endpoint):
    """RPC methods for operators."""

    name = "Operator"

    @method(DCSpecificRequest, acl=read_rule)
    def raft_get_configuration(
        self,
        call: Call,
        request: DCSpecificRequest,  # noqa: ARG002
    ) -> RaftConfigurationResponse:
        """Return the servers of Raft, with what the LAN pool knows of them."""
        server = call.server
        members = _by_address(server.membership.members())
        leader = server.leader_address()
        shown = []
        for each in server.raft.configuration.servers:
            member = members.get(each.address)
            tags = {} if member is None else member.tags
            shown.append(
                RaftServer(
                    id=each.id,
                    node="(unknown)" if member is None else member.name,
                    address=each.address,
                    leader=each.address == leader,
                    protocol_version=tags.get("raft_vsn", "unknown"),
                    voter=each.is_voter,
                )
            )
        # A stock server leaves the index at zero, too.
        return RaftConfigurationResponse(servers=shown)

    @method(RaftRemovePeerRequest, acl=write_rule, write=True)
    def raft_remove_peer_by_address(
        self, call: Call, request: RaftRemovePeerRequest
    ) -> Deferred[None]:
        """Remove the server at an address from Raft."""
        found = call.server.raft.configuration.at(request.address)
        return _remove(call, found, f'address "{request.address}"')

    @method(RaftRemovePeerRequest, acl=write_rule, write=True)
    def raft_remove_peer_by_id(
        self, call: Call, request: RaftRemovePeerRequest
    ) -> Deferred[None]:
        """Remove the server with an id from Raft."""
        found = call.server.raft.configuration.find(request.id)
        return _remove(call, found, f'id "{request.id}"')

    @method(DCSpecificRequest, acl=read_rule)
    def autopilot_get_configuration(
        self,
        call: Call,
        request: DCSpecificRequest,  # noqa: ARG002
    ) -> AutopilotConfig:
        """Return the autopilot configuration."""
        config = autopilot_config(call.server.store)
        if config is None:
            raise ConsultwistError("autopilot config not initialized yet")
        return config

    @method(AutopilotSetConfigRequest, acl=write_rule, write=True)
    def autopilot_set_configuration(
        self, call: Call, request: AutopilotSetConfigRequest
    ) -> Deferred[bool]:
        """Change the autopilot configuration; tells whether a compared one was set."""
        done = call.server.raft_apply(MessageType.AUTOPILOT, request)
        return done.addCallback(bool)

    @method(DCSpecificRequest, acl=read_rule, write=True)
    def server_health(
        self,
        call: Call,
        request: DCSpecificRequest,  # noqa: ARG002
    ) -> OperatorHealthReply:
        """Return how all servers stand, as the leader found at its last round."""
        return call.server.autopilot.health


def _by_address(members: Iterable[PoolMember]) -> dict[str, PoolMember]:
    found = ((parse_server(member), member) for member in members)
    return {tags.address: member for tags, member in found if tags is not None}


def _remove(call: Call, server: Server | None, wanted: str) -> Deferred[Any]:
    if server is None:
        raise ConsultwistError(f"{wanted} was not found in the Raft configuration")
    return call.server.raft.remove(server.id)
