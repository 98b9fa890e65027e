"""What an agent offers, read from its plugins: for tests of all of it, and for docs."""

from typing import Any

from consultwist.agent.plugins import Plugins, discover
from consultwist.http.router import Route


class _NoAgent:
    """Stands in for an agent where endpoints are made only to be listed."""

    def __getattr__(self, name: str) -> "_NoAgent":
        return self

    def __call__(self, *_args: Any, **_kwargs: Any) -> "_NoAgent":
        return self


def all_routes(plugins: Plugins | None = None) -> list[Route]:
    """Return every route of the HTTP API, sorted by path and method."""
    agent: Any = _NoAgent()
    found = plugins or discover()
    routes = [
        route for endpoint in found.http_endpoints for route in endpoint.routes(agent)
    ]
    return sorted(routes, key=lambda route: (route.path, route.methods))
