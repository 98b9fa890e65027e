"""The paths of sessions: ``/v1/session/...``."""

from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist import durations
from consultwist.errors import BadRequest, NotFound
from consultwist.http.body import REFUSAL, decode_body
from consultwist.http.messages import MaybeLater, Request
from consultwist.http.params import query_options, refuse_namespace, write_options
from consultwist.http.responses import Read, then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.catalog import NodeSpecificRequest
from consultwist.structs.session import (
    IndexedSessions,
    ServiceCheck,
    Session,
    SessionRequest,
    SessionSpecificRequest,
)
from consultwist.wire import json_decode
from consultwist.wire.struct import Struct

#: The check that a session depends on where nothing else is said: that of gossip.
_SERF_CHECK: Final = "serfHealth"

#: The lock delay where none is given (Consul: 15 s).
_LOCK_DELAY: Final = 15 * durations.SECOND

#: Lock delays below this are meant as seconds, from this on as nanoseconds.
_SMALL_DELAY: Final = 1000

_GET: Final = Read("Session.Get", "sessions", index_on_error=True)
_LIST: Final = Read("Session.List", "sessions", index_on_error=True)
_NODE: Final = Read("Session.NodeSessions", "sessions", index_on_error=True)


class SessionBody(Struct):
    """A session as a client asks for it."""

    lock_delay: Any = None
    id: str = ""
    name: str = ""
    node: str = ""
    behavior: str = ""
    ttl: str = ""
    node_checks: list[str] | None = None
    service_checks: list[ServiceCheck] | None = None
    checks: list[str] | None = None


class SessionEndpoints:
    """The paths of sessions, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("PUT", "/v1/session/create")
    def create(self, request: Request) -> MaybeLater:
        """Create a session; without a body, one with all defaults."""
        refuse_namespace(request)
        session = requested_session(request, self.agent.config.node_name)
        order = SessionRequest(
            op="create", session=session, **write_options(request, self.agent)
        )
        created = self.agent.rpc("Session.Apply", order)
        return then(created, lambda session_id: {"ID": session_id})

    @route("PUT", "/v1/session/destroy/")
    def destroy(self, request: Request) -> MaybeLater:
        """Destroy a session, if it exists."""
        refuse_namespace(request)
        order = SessionRequest(
            op="destroy",
            session=Session(id=_session_id(request)),
            **write_options(request, self.agent),
        )
        return then(self.agent.rpc("Session.Apply", order), lambda _: True)

    @route("PUT", "/v1/session/renew/")
    def renew(self, request: Request) -> MaybeLater:
        """Give a session its full TTL again."""
        wanted = self._specific(request)

        def show(reply: IndexedSessions) -> MaybeLater:
            if not reply.sessions:
                raise NotFound(f"Session id '{wanted.session_id}' not found")
            return reply.sessions

        return then(self.agent.rpc("Session.Renew", wanted), show)

    @route("GET", "/v1/session/info/")
    def info(self, request: Request) -> MaybeLater:
        """Return one session, in a list that is empty where there is none."""
        return _GET.ask(self.agent, self._specific(request))

    @route("GET", "/v1/session/list")
    def list_all(self, request: Request) -> MaybeLater:
        """Return all sessions."""
        refuse_namespace(request)
        wanted = SessionSpecificRequest(**query_options(request, self.agent))
        return _LIST.ask(self.agent, wanted)

    @route("GET", "/v1/session/node/")
    def of_node(self, request: Request) -> MaybeLater:
        """Return the sessions of a node."""
        refuse_namespace(request)
        options = query_options(request, self.agent)
        if not request.rest:
            raise BadRequest("Missing node name")
        return _NODE.ask(self.agent, NodeSpecificRequest(node=request.rest, **options))

    def _specific(self, request: Request) -> SessionSpecificRequest:
        refuse_namespace(request)
        options = query_options(request, self.agent)
        session_id = _session_id(request)
        # Servers before 1.7 look for the id in the other field.
        return SessionSpecificRequest(
            session_id=session_id, session=session_id, **options
        )


@implementer(IPlugin, IHTTPEndpoint)
class SessionRoutes:
    """The paths of sessions."""

    name = "session"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(SessionEndpoints(agent))


def requested_session(request: Request, node_name: str) -> Session:
    """Return the session that a body asks for, with the defaults of the API.

    Args:
        request: the request; without a body all defaults apply.
        node_name: the node of a session that names none.

    Raises:
        BadRequest: where the body does not decode.
    """
    if not request.body:
        return _defaults(node_name)
    body = decode_body(request, SessionBody, strict=False, name="")
    given = _given_fields(request.body)
    node_checks, checks = _checks(body, given)
    return Session(
        name=body.name,
        node=body.node if given.get("node") is not None else node_name,
        lock_delay=_lock_delay(body.lock_delay),
        behavior=body.behavior if given.get("behavior") is not None else "release",
        ttl=body.ttl,
        node_checks=node_checks,
        service_checks=body.service_checks,
        checks=checks,
    )


def _defaults(node_name: str) -> Session:
    return Session(
        node=node_name,
        lock_delay=_LOCK_DELAY,
        behavior="release",
        node_checks=[_SERF_CHECK],
    )


def _given_fields(body: bytes) -> dict[str, Any]:
    """Return the fields that a body names, by lower-case name: null is not nothing."""
    plain = json_decode.decode_plain(body)
    return {name.lower(): value for name, value in plain.items()} if plain else {}


def _checks(
    body: SessionBody, given: dict[str, Any]
) -> tuple[list[str] | None, list[str] | None]:
    """Return the checks in the present and in the old field (Consul before 1.7).

    Both are the check of gossip unless they are given. One that is given as empty
    empties the other, so that old and new clients can have a session without checks.
    """
    node_checks = body.node_checks if "nodechecks" in given else [_SERF_CHECK]
    checks = body.checks if "checks" in given else [_SERF_CHECK]
    if not checks:
        return [], checks
    if not node_checks or checks == [_SERF_CHECK]:
        return node_checks or [], None
    return node_checks, checks


def _lock_delay(value: Any) -> int:
    """Return nanoseconds: small numbers and durations are taken for seconds."""
    if value is None:
        return _LOCK_DELAY
    delay = 0
    if isinstance(value, str):
        try:
            delay = durations.parse(value)
        except ValueError as error:
            raise BadRequest(f"{REFUSAL}: {error}") from error
    elif isinstance(value, float) and abs(value) <= durations.DURATION_MAX:
        delay = int(value)
    return _wrapped(delay * durations.SECOND) if delay < _SMALL_DELAY else delay


def _wrapped(number: int) -> int:
    """Return what is left of a number in Go's int64."""
    return (number + 2**63) % 2**64 - 2**63


def _session_id(request: Request) -> str:
    if not request.rest:
        raise BadRequest("Missing session")
    return request.rest
