"""What the connections of an agent share."""

from typing import Any

import pytest
from twisted.internet.defer import succeed
from twisted.logger import globalLogPublisher

from consultwist.errors import ConfigError
from consultwist.http.messages import Response
from consultwist.http.router import route
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings, make_site


class _Denial:
    """What a token without rights allows."""

    def allows(self, resource, access, name):
        return False


def _agent_read(authorizer, request):
    return authorizer.allows("agent", "read", request.path)


class _Endpoints:
    """Some routes."""

    def __init__(self, agent):
        self.agent = agent

    @route("GET", "/v1/agent/self", acl=_agent_read)
    async def show(self, request):
        return "me"

    @route("GET PUT", "/v1/kv/")
    def key(self, request):
        return request.values("tag") or request.query.get("a")

    @route("GET", "/outside", api=False)
    def outside(self, request):
        return Response.text("out")


def _client(agent=None, host="127.0.0.1", **settings):
    agent = agent or HTTPAgent(HTTPSettings(**settings))
    return HTTPClient(make_site(_Endpoints, agent), host)


def test_the_first_of_repeated_parameters_counts():
    """All values are there for those who want them."""
    assert _client().get("/v1/kv/?a=1&a=2").json == "1"
    assert _client().get("/v1/kv/?tag=x&tag=y%20z").json == ["x", "y z"]


def test_a_malformed_query_is_an_empty_500():
    """As in Consul 1.8, before everything else, but only on the API."""
    client = _client(http_block_endpoints=("/v1/kv",))
    answer = client.get("/v1/kv/a?%zz")
    assert (answer.status, answer.body) == (500, b"")
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert client.get("/outside?%zz").status == 200


def test_endpoints_can_be_blocked():
    """Blocked prefixes are refused for all methods; unknown paths stay unknown."""
    client = _client(http_block_endpoints=("/v1/agent",))
    for method in ("GET", "OPTIONS", "POST"):
        answer = client.request(method, "/v1/agent/self")
        assert answer.status == 403
        assert answer.text == "Endpoint is blocked by agent configuration"
    assert client.get("/v1/agents").status == 404
    assert client.get("/v1/kv/?a=1").status == 200


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("10.1.2.3", True),
        ("192.168.0.1", False),
        ("::1", True),
        ("fe80::1%eth0", False),
        ("::ffff:10.1.2.3", True),
        ("", False),
    ],
)
def test_writes_can_be_restricted_to_networks(host, allowed):
    """Only named networks may write; everybody may read."""
    client = _client(host=host, allow_write_http_from=("10.0.0.0/8", "::1/128"))
    for _ in range(2):
        answer = client.put("/v1/kv/?a=1")
        assert answer.status == (200 if allowed else 403)
        if not allowed:
            assert answer.text == "Access is restricted"
    assert client.get("/v1/kv/?a=1").status == 200
    assert client.request("DELETE", "/v1/kv/").status == 405


def test_a_network_that_is_none_stops_the_start():
    """A mistake in the configuration is told."""
    with pytest.raises(ConfigError, match="allow_write_http_from"):
        _client(allow_write_http_from=("10.0.0.0/99",))


def test_the_agent_decides_about_its_own_endpoints():
    """A route with a rule asks what the token allows."""
    agent = HTTPAgent()
    agent.authorizers["weak"] = _Denial()
    client = _client(agent)
    assert client.get("/v1/agent/self").json == "me"
    answer = client.get("/v1/agent/self", X_Consul_Token="weak")
    assert (answer.status, answer.text) == (403, "Permission denied")
    agent.tokens.default = "weak"
    assert client.get("/v1/agent/self").status == 403
    assert client.request("OPTIONS", "/v1/agent/self").status == 200


def test_tokens_may_take_time_to_resolve():
    """An authorizer that comes later is waited for."""

    class Slow(HTTPAgent):
        def resolve_token(self, token):
            return succeed(super().resolve_token(token))

    agent = Slow()
    agent.authorizers["weak"] = _Denial()
    client = _client(agent)
    assert client.get("/v1/agent/self").json == "me"
    assert client.get("/v1/agent/self?token=weak").status == 403


def test_connections_of_a_client_are_counted():
    """Each address has so many connections; unix sockets have no address."""
    agent = HTTPAgent(HTTPSettings(http_max_conns_per_client=2))
    site = make_site(_Endpoints, agent)
    clients = [HTTPClient(site, "10.0.0.1") for _ in range(2)]
    for _ in range(3):
        HTTPClient(site, "")
    assert not site.has_room("10.0.0.1")
    assert site.has_room("10.0.0.2")
    assert site.has_room("")
    clients[0].leave()
    assert site.has_room("10.0.0.1")
    agent.config.http_max_conns_per_client = 0
    assert all(site.has_room("10.0.0.1") for _ in range(3))


def test_closing_ends_all_connections():
    """A site that is closed has no connections and no timer."""
    agent = HTTPAgent()
    site = make_site(_Endpoints, agent)
    clients = [HTTPClient(site) for _ in range(3)]
    site.close()
    assert all(client.transport.closed for client in clients)
    assert agent.reactor.getDelayedCalls() == []


def test_requests_are_logged_only_for_debugging():
    """At level debug each request is logged, without its token."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        agent = HTTPAgent()
        site = make_site(_Endpoints, agent)
        client = HTTPClient(site)
        client.get("/v1/kv/?a=1&token=secret")
        assert events == []
        agent.config.logging.log_level = "DEBUG"
        site.reconfigure(agent.config)
        client.get("/v1/kv/?a=1&token=secret")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert [event["url"] for event in events] == ["/v1/kv/?a=1&token=<hidden>"]
    assert "secret" not in str([{**event, "log_logger": None} for event in events])
