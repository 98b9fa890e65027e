"""HTTP endpoints of the services of this agent, and of their health."""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec.structs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from consultwist.acl.authorizer import FILTERED, Authorizer
from consultwist.api.agent.maintenance import read_enable
from consultwist.api.agent.shapes import (
    agent_service,
    full_check,
)
from consultwist.errors import BadRequest, ConsultwistError, NotFound
from consultwist.http.body import decode_body
from consultwist.http.messages import JSON, MaybeLater, Request, Response
from consultwist.http.params import query_options, request_token
from consultwist.http.router import route
from consultwist.interfaces import IAgent
from consultwist.structs.catalog import HealthCheck, NodeService, ServiceDefinition
from consultwist.structs.filter import compile_filter
from consultwist.wire import json

#: The worst status of several comes first.
_BY_BADNESS: Final = ("maintenance", "critical", "warning", "passing")
_HTTP_STATUS: Final = {
    "maintenance": 503,
    "critical": 503,
    "warning": 429,
    "passing": 200,
}
_MAINTENANCE_CHECKS: Final = ("_node_maintenance", "_service_maintenance:")
_WAIT_DEFAULT_S: Final = 300.0
_WAIT_JITTER: Final = 16


def write_rule(authorizer: Authorizer, request: Request) -> bool:
    """Ask for write access to the service that the path names."""
    return authorizer.allows("service", "write", request.rest)


class AgentServices:
    """Endpoints under ``/v1/agent/service`` and ``/v1/agent/health``."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/agent/services", acl=FILTERED)
    def services(self, request: Request) -> MaybeLater:
        """Show this agent's services by id."""
        services = self.agent.local_state.services()
        accepts = compile_filter(request.query.get("filter", ""), NodeService)
        rows = sorted(services.items())
        return {key: agent_service(row) for key, row in rows if accepts(row)}

    @route("PUT", "/v1/agent/service/register", acl=FILTERED)
    def register(self, request: Request) -> MaybeLater:
        """Register a service; answers when it is on the disk."""
        definition = decode_body(request, ServiceDefinition, "Request decode failed")
        if not definition.token:
            token = request_token(request, self.agent)
            definition = msgspec.structs.replace(definition, token=token)
        replace_checks = "replace-existing-checks" in request.query
        written: Deferred[None] = self.agent.registry.register_service(
            definition, replace_checks=replace_checks
        )
        return written

    @route("PUT", "/v1/agent/service/deregister/", acl=write_rule)
    def deregister(self, request: Request) -> MaybeLater:
        """Remove a service with its checks."""
        if not request.rest:
            raise BadRequest("Missing service ID")
        written: Deferred[None] = self.agent.registry.deregister_service(request.rest)
        return written

    @route("PUT", "/v1/agent/service/maintenance/", acl=write_rule)
    def maintenance(self, request: Request) -> None:
        """Take a service out of service, or back."""
        if not request.rest:
            raise BadRequest("Missing service ID")
        enable = read_enable(request)
        self.agent.registry.service_maintenance(
            request.rest,
            enable=enable,
            reason=request.query.get("reason", ""),
            token=request_token(request, self.agent),
        )

    # --- one service, with blocking by hash ------------------------------------------

    @route("GET", "/v1/agent/service/", acl=FILTERED)
    def service(self, request: Request) -> MaybeLater:
        """Show one service; with ``?hash`` wait until it is another than that."""
        options = query_options(request, self.agent)
        shown = self._one(request.rest)
        if request.query.get("hash", "") != shown.headers[0][1]:
            return shown
        wait_s = options.get("max_query_time", 0) / 1e9 or _WAIT_DEFAULT_S
        wait_s += self.agent.rng.random() * wait_s / _WAIT_JITTER
        return _HashWait(self, request.rest, shown).start(wait_s)

    def _one(self, service_id: str) -> JSON:
        service = self.agent.local_state.service(service_id)
        if service is None:
            raise NotFound(f"unknown service ID: {service_id}")
        shape = agent_service(service)
        digest = hashlib.blake2b(json.encode(shape), digest_size=8).hexdigest()
        shape["ContentHash"] = digest
        return JSON(shape, headers=(("X-Consul-Contenthash", digest),))

    # --- health ----------------------------------------------------------------------

    @route("GET", "/v1/agent/health/service/id/", acl=FILTERED)
    def health_by_id(self, request: Request) -> MaybeLater:
        """Show the health of one service; the HTTP status tells it too."""
        if not request.rest:
            raise ConsultwistError("Bad request: Missing serviceID")
        service = self.agent.local_state.service(request.rest)
        if service is None:
            reason = f"ServiceId {request.rest} not found"
            if _wants_text(request):
                return _text(404, reason, reason)
            shape = {"AggregatedStatus": "critical", "Service": None, "Checks": None}
            return JSON(shape, status=404, headers=_reason(reason))
        status, shape = self._health(service)
        if _wants_text(request):
            return _text(_HTTP_STATUS[status], status, status)
        return JSON(shape, status=_HTTP_STATUS[status], headers=_reason(status))

    @route("GET", "/v1/agent/health/service/name/", acl=FILTERED)
    def health_by_name(self, request: Request) -> MaybeLater:
        """Show the health of all instances of a service on this agent."""
        name = request.rest
        if not name:
            raise ConsultwistError("Bad request: Missing service Name")
        services = self.agent.local_state.services().values()
        found = [self._health(s) for s in services if s.service == name]
        if not found:
            reason = f"ServiceName {name} Not Found"
            if _wants_text(request):
                return _text(404, reason, reason)
            return JSON([], status=404, headers=_reason(reason))
        status = _worst(each for each, _ in found)
        if _wants_text(request):
            return _text(_HTTP_STATUS[status], status, status)
        shapes = [shape for _, shape in found]
        return JSON(shapes, status=_HTTP_STATUS[status], headers=_reason(status))

    def _health(self, service: NodeService) -> tuple[str, dict[str, Any]]:
        state = self.agent.local_state
        checks = [*state.checks_of(service.id), *state.checks_of("")]
        checks.sort(key=lambda check: check.check_id)
        status = aggregated_status(checks)
        shape = {
            "AggregatedStatus": status,
            "Service": agent_service(service),
            "Checks": [full_check(check) for check in checks],
        }
        return status, shape


def aggregated_status(checks: Iterable[HealthCheck]) -> str:
    """Return the worst status of some checks; a maintenance check outweighs all."""
    return _worst(
        "maintenance"
        if check.check_id.startswith(_MAINTENANCE_CHECKS)
        else check.status
        for check in checks
    )


def _worst(statuses: Iterable[str]) -> str:
    found = set(statuses)
    return next((status for status in _BY_BADNESS if status in found), "passing")


def _wants_text(request: Request) -> bool:
    if request.query.get("format") == "text":
        return True
    return request.field("accept") == "text/plain"


def _reason(status: str) -> tuple[tuple[str, str], ...]:
    return (("X-Consul-Reason", status),)


def _text(http_status: int, text: str, reason: str) -> Response:
    return Response.text(
        text,
        status=http_status,
        content_type="text/plain",
        headers=_reason(reason),
    )


class _HashWait:
    """A request that waits until a service is another than its hash says."""

    def __init__(self, endpoint: AgentServices, service_id: str, shown: JSON) -> None:
        self._endpoint = endpoint
        self._service_id = service_id
        self._shown = shown
        self._timer: IDelayedCall | None = None
        self._done: Deferred[JSON] = Deferred(lambda _: self._stop())

    def start(self, wait_s: float) -> Deferred[JSON]:
        """Return what fires with the changed service, or the same when time is up."""
        agent = self._endpoint.agent
        self._unobserve = agent.local_state.observe(self._look)
        self._timer = agent.reactor.callLater(wait_s, self._time_up)
        return self._done

    def _look(self) -> None:
        try:
            now = self._endpoint._one(self._service_id)
        except NotFound as error:
            self._stop()
            self._done.errback(error)
            return
        if now.headers != self._shown.headers:
            self._stop()
            self._done.callback(now)

    def _time_up(self) -> None:
        self._timer = None
        self._stop()
        self._done.callback(self._shown)

    def _stop(self) -> None:
        self._unobserve()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
