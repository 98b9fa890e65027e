"""The paths ``/v1/event/...``, answered by the agent itself."""

from typing import Final

from twisted.internet import defer
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist import durations
from consultwist.errors import BadRequest
from consultwist.http.messages import JSON, MaybeLater, Request
from consultwist.http.params import read_options
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.event import UserEvent

#: How long a reader waits at most, and by default (Consul: 10 min).
_WAIT_MAX_S: Final = 600.0


class EventEndpoints:
    """The paths of user events, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("PUT", "/v1/event/fire/")
    def fire(self, request: Request) -> MaybeLater:
        """Fire an event; returns it."""
        if not request.rest:
            raise BadRequest("Missing name")
        query = request.query
        event = UserEvent(
            name=request.rest,
            payload=request.body or None,
            node_filter=query.get("node", ""),
            service_filter=query.get("service", ""),
            tag_filter=query.get("tag", ""),
        )
        fired: MaybeLater = self.agent.events.fire(event, query.get("dc", ""))
        return fired

    @route("GET", "/v1/event/list")
    def list_recent(self, request: Request) -> MaybeLater:
        """Return the recent events, waiting for another last one where asked."""
        options = read_options(request, self.agent)
        return self._list(
            request.query.get("name", ""),
            options.get("min_query_index", 0),
            options.get("max_query_time", 0) / durations.SECOND,
        )

    def _list(self, name: str, known: int, wait_s: float) -> MaybeLater:
        index, events = self.agent.events.recent(name)
        if index != known:
            return _shown(index, events)
        return defer.Deferred.fromCoroutine(self._wait(name, known, wait_s))

    async def _wait(self, name: str, known: int, wait_s: float) -> JSON:
        agent = self.agent
        limit_s = min(wait_s, _WAIT_MAX_S) if wait_s > 0 else _WAIT_MAX_S
        deadline = agent.clock.monotonic() + limit_s
        while True:
            left_s = max(0.0, deadline - agent.clock.monotonic())
            try:
                await agent.events.wait().addTimeout(left_s, agent.reactor)
            except defer.TimeoutError:
                return _shown(*agent.events.recent(name))
            index, events = agent.events.recent(name)
            if index != known:
                return _shown(index, events)


@implementer(IPlugin, IHTTPEndpoint)
class EventRoutes:
    """The paths of user events."""

    name = "event"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(EventEndpoints(agent))


def _shown(index: int, events: list[UserEvent]) -> JSON:
    return JSON(events, headers=(("X-Consul-Index", str(index)),))
