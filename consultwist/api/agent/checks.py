"""HTTP endpoints of the checks of this agent."""

import msgspec.structs
from twisted.internet.defer import Deferred

from consultwist.acl.authorizer import FILTERED, Authorizer
from consultwist.api.agent.shapes import agent_check
from consultwist.checks.definition import is_status, validate
from consultwist.errors import BadRequest
from consultwist.http.body import decode_body
from consultwist.http.messages import MaybeLater, Request
from consultwist.http.params import request_token
from consultwist.http.router import route
from consultwist.interfaces import IAgent
from consultwist.structs.catalog import HealthCheck
from consultwist.structs.check_definition import CheckDefinition
from consultwist.structs.filter import compile_filter
from consultwist.wire.struct import Struct


class CheckUpdate(Struct):
    """What an application says of its TTL check."""

    status: str = ""
    output: str = ""


def write_rule(authorizer: Authorizer, request: Request) -> bool:
    """Ask for write access to this agent's checks."""
    return authorizer.allows("node", "write", request.rest)


class AgentChecks:
    """Endpoints under ``/v1/agent/check``."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/agent/checks", acl=FILTERED)
    def checks(self, request: Request) -> MaybeLater:
        """Show this agent's checks by id."""
        checks = self.agent.local_state.checks()
        accepts = compile_filter(request.query.get("filter", ""), HealthCheck)
        rows = sorted(checks.items())
        return {key: agent_check(check) for key, check in rows if accepts(check)}

    @route("PUT", "/v1/agent/check/register", acl=FILTERED)
    def register(self, request: Request) -> MaybeLater:
        """Register a check; answers when it is on the disk."""
        definition = decode_body(request, CheckDefinition, "Request decode failed")
        if not definition.name:
            raise BadRequest("Missing check name")
        if definition.status and not is_status(definition.status):
            raise BadRequest("Bad check status")
        try:
            validate(definition.check_type())
        except BadRequest as error:
            raise BadRequest(f"Invalid check: {error}") from None
        if not definition.token:
            token = request_token(request, self.agent)
            definition = msgspec.structs.replace(definition, token=token)
        written: Deferred[None] = self.agent.registry.register_check(definition)
        return written

    @route("PUT", "/v1/agent/check/deregister/", acl=write_rule)
    def deregister(self, request: Request) -> MaybeLater:
        """Remove a check."""
        written: Deferred[None] = self.agent.registry.deregister_check(request.rest)
        return written

    @route("PUT", "/v1/agent/check/pass/", acl=write_rule)
    def pass_(self, request: Request) -> None:
        """Set a TTL check passing."""
        self._update(request, "passing")

    @route("PUT", "/v1/agent/check/warn/", acl=write_rule)
    def warn(self, request: Request) -> None:
        """Set a TTL check to warning."""
        self._update(request, "warning")

    @route("PUT", "/v1/agent/check/fail/", acl=write_rule)
    def fail(self, request: Request) -> None:
        """Set a TTL check critical."""
        self._update(request, "critical")

    @route("PUT", "/v1/agent/check/update/", acl=write_rule)
    def update(self, request: Request) -> None:
        """Set the status and output of a TTL check."""
        update = decode_body(request, CheckUpdate, "Request decode failed")
        if not is_status(update.status):
            raise BadRequest(f"Invalid check status: '{update.status}'")
        self.agent.registry.update_ttl(request.rest, update.status, update.output)

    def _update(self, request: Request, status: str) -> None:
        note = request.query.get("note", "")
        self.agent.registry.update_ttl(request.rest, status, note)
