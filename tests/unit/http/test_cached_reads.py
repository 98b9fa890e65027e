"""Reads by way of the agent's cache: ``?cached``."""

import pytest
from twisted.internet.defer import Deferred

from consultwist.errors import NoLeader
from consultwist.http.params import query_options
from consultwist.http.responses import Read
from consultwist.http.router import route
from consultwist.structs.catalog import IndexedNodes, Node
from consultwist.structs.query import DCSpecificRequest
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings, make_site

_NODES = Read("Catalog.ListNodes", "nodes", index_on_error=True, cached=True)
_OTHER = Read("Catalog.ListNodes", "nodes")


class _Endpoints:
    """One read that may be cached, and one that may not."""

    def __init__(self, agent):
        self.agent = agent

    @route("GET", "/v1/nodes")
    def nodes(self, request):
        return _NODES.ask(self.agent, self._query(request))

    @route("GET", "/v1/other")
    def other(self, request):
        return _OTHER.ask(self.agent, self._query(request))

    def _query(self, request):
        return DCSpecificRequest(**query_options(request, self.agent))


class _World:
    """An agent whose servers answer the first question at once, the next never."""

    def __init__(self, **settings):
        self.agent = HTTPAgent(
            HTTPSettings(**settings), {"Catalog.ListNodes": self.list_nodes}
        )
        self.client = HTTPClient(make_site(_Endpoints, self.agent))
        self.failure = None

    def list_nodes(self, request):
        if self.failure is not None:
            raise self.failure
        if request.min_query_index:
            return Deferred()
        return IndexedNodes(index=7, known_leader=True, nodes=[Node(node="n1")])


def test_a_miss_and_then_a_hit_with_its_age():
    """The second read does not reach the servers."""
    world = _World()
    first = world.client.get("/v1/nodes?cached")
    assert first.headers["X-Cache"] == "MISS"
    assert "Age" not in first.headers
    second = world.client.get("/v1/nodes?cached")
    assert second.headers["X-Cache"] == "HIT"
    assert second.headers["Age"] == "0"
    assert second.headers["X-Consul-Index"] == "7"
    assert second.body == first.body
    assert len(world.agent.calls) == 1


def test_revalidation_does_not_concern_what_is_kept_fresh():
    """``max-age=0`` is answered from the cache all the same."""
    world = _World()
    world.client.get("/v1/nodes?cached")
    answer = world.client.get("/v1/nodes?cached", Cache_Control="max-age=0")
    assert answer.headers["X-Cache"] == "HIT"


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        ("/v1/nodes", {}),
        ("/v1/other?cached", {}),
        ("/v1/nodes?cached", {"http_use_cache": False}),
    ],
)
def test_other_reads_ask_the_servers_each_time(target, settings):
    """Not asked for, not offered, or switched off: no word of a cache."""
    world = _World(**settings)
    for _ in range(2):
        assert "X-Cache" not in world.client.get(target).headers
    assert len(world.agent.calls) == 2


def test_an_error_of_the_first_read_is_told_as_ever():
    """With the index of 1 that such errors come with."""
    world = _World()
    world.failure = NoLeader()
    answer = world.client.get("/v1/nodes?cached")
    assert (answer.status, answer.text) == (500, "No cluster leader")
    assert answer.headers["X-Consul-Index"] == "1"
    assert "X-Cache" not in answer.headers
