"""Answers that are given again, byte for byte."""

from types import SimpleNamespace

import pytest

from consultwist.http.params import query_options
from consultwist.http.responses import Read
from consultwist.http.router import route
from consultwist.structs.catalog import IndexedNodes, Node
from consultwist.structs.query import DCSpecificRequest
from consultwist.testing.http import HTTPAgent, HTTPClient, make_site

_NODES = Read("Catalog.ListNodes", "nodes")


class _Endpoints:
    """One read."""

    def __init__(self, agent):
        self.agent = agent

    @route("GET", "/v1/nodes")
    def nodes(self, request):
        query = DCSpecificRequest(**query_options(request, self.agent))
        return _NODES.ask(self.agent, query)

    @route("GET", "/v1/value")
    def value(self, request):
        return self.agent.version


class _Agent(HTTPAgent):
    """An agent whose state has a version."""

    def __init__(self):
        super().__init__()
        self.version = 1
        self.last_contact = 0
        self.delegate = SimpleNamespace(read_version=lambda: self.version)
        self.methods["Catalog.ListNodes"] = lambda _: IndexedNodes(
            nodes=[Node(node=f"v{self.version}")],
            index=7,
            known_leader=True,
            last_contact=self.last_contact,
        )


@pytest.fixture
def agent():
    """Return an agent that answers reads from its own state."""
    return _Agent()


@pytest.fixture
def client(agent):
    """Return a client of that agent."""
    return HTTPClient(make_site(_Endpoints, agent))


def test_an_answer_stands_while_the_state_does(agent, client):
    """The servers are asked once, and again after a change."""
    first = client.get("/v1/nodes")
    assert client.get("/v1/nodes") == first
    assert len(agent.calls) == 1
    agent.version = 2
    assert client.get("/v1/nodes").json[0]["Node"] == "v2"
    assert len(agent.calls) == 2


def test_every_answer_tells_the_time(agent, client):
    """In the next second the answer is made anew, with its date."""
    first = client.get("/v1/nodes").headers["Date"]
    agent.reactor.advance(1)
    assert client.get("/v1/nodes").headers["Date"] != first


def test_other_bytes_are_another_request(agent, client):
    """A token, a parameter or a field makes another request."""
    client.get("/v1/nodes")
    client.get("/v1/nodes?pretty")
    client.get("/v1/nodes", X_Consul_Token="t")
    assert len(agent.calls) == 3


@pytest.mark.parametrize("query", ["?consistent", "?near=n1", "?cached"])
def test_some_answers_depend_on_more_than_the_state(agent, client, query):
    """Consistent reads, distances and the agent cache are asked for each time."""
    client.get("/v1/nodes" + query)
    client.get("/v1/nodes" + query)
    assert len(agent.calls) == 2


def test_answers_of_others_are_not_kept(agent, client):
    """Neither where the state is not ours, nor where its age has to be told."""
    agent.version = -1
    client.get("/v1/nodes")
    client.get("/v1/nodes")
    assert len(agent.calls) == 2
    agent.version = 1
    agent.last_contact = 5_000_000
    client.get("/v1/nodes")
    client.get("/v1/nodes")
    assert len(agent.calls) == 4


def test_values_are_not_kept(agent, client):
    """Only reads of the servers are."""
    client.get("/v1/value")
    agent.methods.clear()
    assert client.get("/v1/value").json == 1


def test_connections_that_close_get_their_own_answer(client):
    """A kept answer says nothing about the connection."""
    for _ in range(2):
        answer = client.get("/v1/nodes", Connection="keep-alive")
        assert "Connection" not in answer.headers
    answer = client.get("/v1/nodes", Connection="close")
    assert answer.headers["Connection"] == "close"
    assert client.transport.closed
