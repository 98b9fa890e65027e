"""Site: everything that the connections of one agent share.

It finds the endpoint of a request, makes sure that the request may reach it, and calls
it. It also counts connections, and looks now and then for those that take too long.
"""

import ipaddress
from collections.abc import Callable, Iterable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from consultwist.acl.authorizer import Authorizer, Openness
from consultwist.clock import Clock
from consultwist.errors import ConfigError, PayloadTooLarge, PermissionDenied
from consultwist.http.messages import (
    Indexed,
    Request,
    Response,
    Stream,
    query_pairs,
)
from consultwist.http.params import redacted_target, request_token
from consultwist.http.parser import Memory
from consultwist.http.responses import Responder
from consultwist.http.router import Route, Router
from consultwist.interfaces import IAgent
from consultwist.telemetry.naming import http_metric

if TYPE_CHECKING:
    from consultwist.http.protocol import HTTPProtocol

log = Logger()

#: How often connections are looked at that may have taken too long.
_SWEEP_INTERVAL_S: Final = 5.0

#: Methods that change nothing.
_READS: Final = frozenset(("GET", "HEAD", "OPTIONS"))

#: Addresses whose right to write is remembered.
_WRITERS_MAX: Final = 4096

#: Where the page is that error texts about limits point to.
_OPTIONS_PAGE: Final = "https://www.consul.io/docs/agent/options.html"


class Site:
    """What the connections of one agent share.

    Args:
        agent: whose API this is; its configuration is read once.
        routes: what answers.

    Raises:
        ConfigError: where two routes claim the same path, or an address is wrong.
    """

    def __init__(self, agent: IAgent, routes: Iterable[Route]) -> None:
        config = agent.config
        self.reactor: IReactorTime = agent.reactor
        self.debug = _is_debug(config)
        self.handshake_max_s: float = config.https_handshake_timeout
        self.memory = Memory()
        self.now_s: float = agent.clock.monotonic()
        self._agent = agent
        self._clock: Clock = agent.clock
        self._router = Router(
            [_timed(route, agent.metrics) for route in routes],
            lambda name: int(getattr(config, name)),
            refuse_unprintable=not config.disable_http_unprintable_char_filter,
        )
        self._responder = Responder(
            agent.clock,
            headers=config.http_response_headers,
            pretty=config.dev_mode,
            translated=config.translate_wan_addrs,
        )
        self.render = self._render_safely
        self.failure = self._responder.failure
        self.refusal = self._responder.refusal
        self.stream_head = self._responder.stream_head
        self._blocked: tuple[str, ...] = tuple(config.http_block_endpoints)
        self._writers = _Writers(config.allow_write_http_from)
        self._connections: dict[HTTPProtocol, None] = {}
        self._clients: dict[str, int] = {}
        self._sweep: IDelayedCall | None = None

    @property
    def router(self) -> Router:
        """The routes, for documentation and tests."""
        return self._router

    # --- requests --------------------------------------------------------------------

    def find(self, request: Request) -> None:
        """Set the route of a request, and parse its query."""
        route = self._router.find(request.method, request.path)
        if route.api and request.raw_query:
            try:
                # The first of several values counts.
                pairs = [*query_pairs(request.raw_query)]
                request.query = dict(reversed(pairs))
            except ValueError:
                route = attrs.evolve(_BROKEN_QUERY, path=route.path)
        request.route = route
        request.routed = True

    def recall(self, data: bytes) -> bytes | None:
        """Return the finished answer to a request by its bytes, where there is one."""
        known = self.memory.requests.get(data)
        if known is None or known.finished is None or self.debug:
            return None
        known.started_s = self._clock.monotonic()
        finished = known.finished
        version = self._agent.delegate.read_version()
        stands = finished.version == version >= 0
        if stands and finished.second == int(self._clock.wall()):
            self._time(known)
            return finished.data
        return None

    def serve(self, request: Request) -> bytes | Stream | Deferred[Any]:
        """Answer a request: with bytes, a stream, or a Deferred of what to `render`."""
        request.started_s = self._clock.monotonic()
        finished = request.finished
        if finished is not None:
            version = self._agent.delegate.read_version()
            second = int(self._clock.wall())
        try:
            route = request.route
            if route.api:
                answer = self._call_api(request, route)
            else:
                answer = route.function(request)
            if isinstance(answer, Deferred):
                return answer
            if answer.__class__ is CoroutineType:
                return Deferred.fromCoroutine(answer)
            data = self._responder.render(request, answer)
            if (
                finished is not None
                and isinstance(data, bytes)
                and _may_be_kept(request, answer)
            ):
                finished.version, finished.second = version, second
                finished.data = data
            self._time(request)
            return data
        except Exception as error:
            self._time(request)
            return self._responder.failure(request, error)

    def _time(self, request: Request) -> None:
        """Tell how long a request took, by method and route."""
        timer = request.route.timers.get(request.method)
        if timer is not None:
            timer((self._clock.monotonic() - request.started_s) * 1000)

    def too_large(self, request: Request, size: int) -> bytes:
        """Return the refusal of a body."""
        route = request.route
        text = (
            f"Request body({size} bytes) too large, max size: {route.body_max} bytes."
        )
        if route.limit_name:
            text += f" See {_OPTIONS_PAGE}#{route.limit_name}."
        return self._responder.failure(request, PayloadTooLarge(text))

    def log_request(self, request: Request) -> None:
        """Log a finished request, without secrets."""
        log.debug(
            "Request finished: method={method} url={url} from={client}:{port}",
            method=request.method,
            url=redacted_target(request),
            client=request.client,
            port=request.port,
        )

    def _render_safely(self, request: Request, result: Any) -> bytes | Stream:
        self._time(request)
        try:
            return self._responder.render(request, result)
        except Exception as error:
            return self._responder.failure(request, error)

    def _call_api(self, request: Request, route: Route) -> Any:
        if route.function is _broken_query:
            return route.function(request)
        if self._blocked and request.path.startswith(self._blocked):
            text = "Endpoint is blocked by agent configuration"
            return Response.text(text, status=403)
        if (
            self._writers.restricted
            and request.method not in _READS
            and route.reads_body
            and not self._writers.allow(request.client)
        ):
            raise PermissionDenied("Access is restricted")
        if route.acl.__class__ is not Openness:
            return self._call_checked(request, route)
        return route.function(request)

    def _call_checked(self, request: Request, route: Route) -> Any:
        rule: Any = route.acl

        def call(authorizer: Authorizer) -> Any:
            if not rule(authorizer, request):
                raise PermissionDenied
            answer: Any = route.function(request)
            if answer.__class__ is CoroutineType:
                return Deferred.fromCoroutine(answer)
            return answer

        found = self._agent.resolve_token(request_token(request, self._agent))
        if isinstance(found, Deferred):
            return found.addCallback(call)
        return call(found)

    # --- connections -----------------------------------------------------------------

    def has_room(self, client: str) -> bool:
        """Tell whether a client may open one more connection; unix sockets may."""
        limit: int = self._agent.config.http_max_conns_per_client
        return not client or limit <= 0 or self._clients.get(client, 0) < limit

    def joined(self, connection: "HTTPProtocol") -> None:
        """Count a new connection."""
        self._connections[connection] = None
        client = connection.client
        self._clients[client] = self._clients.get(client, 0) + 1
        if self._sweep is None:
            self.now_s = self._clock.monotonic()
            self._sweep = self.reactor.callLater(_SWEEP_INTERVAL_S, self._look_around)

    def left(self, connection: "HTTPProtocol") -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        count = self._clients.pop(connection.client, 1) - 1
        if count > 0:
            self._clients[connection.client] = count

    def close(self) -> None:
        """Close all connections; parked requests are given up."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._connections):
            connection.close()

    def reconfigure(self, config: Any) -> None:
        """Take over what can change at run time; kept answers are dropped."""
        self.debug = _is_debug(config)
        self._responder.forget()

    def _look_around(self) -> None:
        self._sweep = None
        self.now_s = now_s = self._clock.monotonic()
        for connection in [c for c in self._connections if c.is_overdue(now_s)]:
            connection.abort()
        if self._connections:
            self._sweep = self.reactor.callLater(_SWEEP_INTERVAL_S, self._look_around)


def _is_debug(config: Any) -> bool:
    return str(config.logging.log_level).upper() in ("DEBUG", "TRACE")


def _broken_query(request: Request) -> Response:  # noqa: ARG001 - as all routes
    return Response(status=500)


_BROKEN_QUERY: Final = Route((), "", _broken_query, reads_body=False)


def _timed(route: Route, metrics: Any) -> Route:
    """Give a route of the API the timers of its methods."""
    if route.api and route.path.startswith("/v1/"):
        for method in route.methods:
            series = metrics.sample_series(http_metric(method, route.path))
            route.timers[method] = series.add
    return route


def _may_be_kept(request: Request, answer: Any) -> bool:
    """Tell whether the same bytes would get the same answer until the state changes.

    Only for what was read from the state of a leader. Consistent reads make sure anew
    each time that it still leads, and distances depend on who asks.
    """
    return (
        answer.__class__ is Indexed
        and answer.reply.known_leader
        and not answer.reply.last_contact
        and _UNREPEATABLE.isdisjoint(request.query)
    )


#: Parameters with which an answer depends on more than the state.
_UNREPEATABLE: Final = frozenset(("consistent", "near", "cached"))


class _Writers:
    """Who may write: ``allow_write_http_from``."""

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            self._networks = [ipaddress.ip_network(n, strict=False) for n in networks]
        except ValueError as error:
            raise ConfigError(f"allow_write_http_from: {error}") from error
        self.restricted = bool(self._networks)
        self._known: dict[str, bool] = {}

    def allow(self, client: str) -> bool:
        """Tell whether an address may write."""
        allowed = self._known.get(client)
        if allowed is None:
            if len(self._known) >= _WRITERS_MAX:
                self._known.clear()
            allowed = self._known[client] = self._look_up(client)
        return allowed

    def _look_up(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._networks)


#: What makes a list of routes of an agent.
Routes = Callable[[IAgent], Iterable[Route]]
