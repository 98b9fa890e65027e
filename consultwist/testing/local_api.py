"""Features of the API from HTTP down to the state, in one process and virtual time.

::

    api = LocalAPI([KVTable()], [KVS()], [KVRoutes()])
    assert api.client.put("/v1/kv/a", b"1").json is True
    api.pass_time(60.0)
"""

from collections.abc import Iterable, Sequence
from typing import Any

from consultwist.http.site import Site
from consultwist.interfaces import IHTTPEndpoint, IStateTable
from consultwist.server.endpoint import Endpoint
from consultwist.structs.catalog import HealthCheck, RegisterRequest
from consultwist.structs.message_type import MessageType
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings
from consultwist.testing.state import DATACENTER, LocalServer, Replica


class LocalAPI:
    """A server that leads, the agent in front of it, and a client.

    Attributes:
        replica: the state.
        server: answers RPC methods.
        agent: answers HTTP requests.
        client: asks the agent over one connection.
    """

    def __init__(
        self,
        tables: Sequence[IStateTable],
        endpoints: Sequence[Endpoint],
        routes: Iterable[IHTTPEndpoint],
        settings: HTTPSettings | None = None,
    ) -> None:
        self.replica = Replica(*tables)
        self.server = LocalServer(self.replica, *endpoints)
        self.agent = _Agent(self.server, settings or HTTPSettings())
        self.site = Site(
            self.agent, [r for each in routes for r in each.routes(self.agent)]
        )
        self.client = HTTPClient(self.site)

    def another_client(self) -> HTTPClient:
        """Return a client with a connection of its own, for what blocks."""
        return HTTPClient(self.site)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, for the server and the agent alike."""
        self.server.reactor.advance(seconds)

    def register_node(self, name: str, status: str = "passing") -> None:
        """Put a node with the check of gossip into the catalog."""
        check = HealthCheck(node=name, check_id="serfHealth", status=status)
        request = RegisterRequest(
            datacenter=DATACENTER, node=name, address="127.0.0.1", check=check
        )
        self.replica.apply(MessageType.REGISTER, request)


class _Agent(HTTPAgent):
    """An agent whose servers are the one that it is given."""

    def __init__(self, server: LocalServer, settings: HTTPSettings) -> None:
        super().__init__(settings)
        self._server = server
        self.reactor = server.reactor
        self.clock = server.clock

    def rpc(self, method: str, request: Any) -> Any:
        """Ask the server."""
        self.calls.append((method, request))
        return self._server.rpc(method, request)
