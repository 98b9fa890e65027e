"""Results and failures to responses."""

import gzip
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail

from consultwist.errors import (
    ACLNotFound,
    BadRequest,
    NoLeader,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RPCError,
    RPCRateExceeded,
)
from consultwist.http.messages import JSON, Head, Request, Response
from consultwist.http.responses import AnswerCache, Read, index_headers, then
from consultwist.http.router import Route, route
from consultwist.structs.catalog import IndexedNodes, Node
from consultwist.structs.query import DCSpecificRequest
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings, make_site

_NODES = Read("Catalog.ListNodes", "nodes", consistency=True, index_on_error=True)
_NODE = Read("Catalog.Node", "nodes", empty=None)


class _Endpoints:
    """Whatever an endpoint may return or raise."""

    def __init__(self, agent):
        self.agent = agent
        self.query = DCSpecificRequest()
        self.shown = []

    @route("GET", "/v1/nodes")
    def nodes(self, request):
        return _NODES.ask(self.agent, self.agent.query, self.show)

    @route("GET", "/v1/node")
    def node(self, request):
        return _NODE.ask(self.agent, DCSpecificRequest())

    @route("GET", "/v1/value")
    def value(self, request):
        return {"B": [1, None], "A": "<"}

    @route("GET", "/v1/nothing")
    def nothing(self, request):
        return None

    @route("PUT", "/v1/done")
    def done(self, request):
        return True

    @route("GET", "/v1/null")
    def null(self, request):
        return JSON(None, status=404, headers=(("X-Reason", "a\r\nX-Evil: b"),))

    @route("GET", "/v1/text")
    def text(self, request):
        return Response.text("hello")

    @route("GET", "/v1/later")
    async def later(self, request):
        return await self.agent.later

    @route("GET", "/v1/missing")
    def missing(self, request):
        return then(
            self.agent.rpc("Catalog.Node", self.query),
            lambda reply: Response(status=404, headers=index_headers(reply)),
        )

    @route("GET", "/v1/failing")
    def failing(self, request):
        raise self.agent.failure

    @route("GET", "/plain", api=False)
    def plain(self, request):
        return Response.text("outside")

    def show(self, nodes):
        self.agent.shown.append(nodes)
        return nodes


class _Agent(HTTPAgent):
    def __init__(self, config=None):
        super().__init__(config)
        self.shown = []
        self.query = DCSpecificRequest()
        self.later = None
        self.failure = None


def _reply(nodes=None, **fields):
    return IndexedNodes(nodes=nodes, index=7, known_leader=True, **fields)


def _client(agent=None, **settings):
    agent = agent or _Agent(HTTPSettings(**settings))
    return HTTPClient(make_site(_Endpoints, agent)), agent


def test_values_are_json():
    """A value is shown as compact JSON, or indented on request."""
    client, _ = _client()
    answer = client.get("/v1/value")
    assert answer.body == b'{"B":[1,null],"A":"\\u003c"}'
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Date"] == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert client.get("/v1/value?pretty").body.startswith(b'{\n    "B": [\n')
    assert _client(dev_mode=True)[0].get("/v1/value").body.endswith(b"}\n")


def test_nothing_is_an_empty_answer():
    """None has neither body nor type; an explicit null has both."""
    client, _ = _client()
    answer = client.get("/v1/nothing")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == "0"
    assert "Content-Type" not in answer.headers
    answer = client.get("/v1/null")
    assert (answer.status, answer.body) == (404, b"null")


def test_header_fields_cannot_be_split():
    """A line break in a value becomes a space."""
    client, _ = _client()
    assert client.get("/v1/null").headers["X-Reason"] == "a  X-Evil: b"


def test_text_is_text():
    """Texts have Go's sniffed type."""
    answer = _client()[0].get("/v1/text")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body == b"hello"


def test_reads_tell_their_index():
    """Index, leader, last contact and consistency stand in the header."""
    client, agent = _client()
    agent.methods["Catalog.ListNodes"] = lambda _: _reply(last_contact=3_999_999)
    answer = client.get("/v1/nodes")
    assert answer.body == b"[]"
    assert answer.headers["X-Consul-Index"] == "7"
    assert answer.headers["X-Consul-Knownleader"] == "true"
    assert answer.headers["X-Consul-Lastcontact"] == "3"
    assert answer.headers["X-Consul-Effective-Consistency"] == "leader"
    agent.query = DCSpecificRequest(allow_stale=True)
    answer = client.get("/v1/nodes")
    assert answer.headers["X-Consul-Effective-Consistency"] == "stale"


def test_an_index_is_never_zero():
    """Index 0 is shown as 1; an empty part may be null."""
    client, agent = _client()
    agent.methods["Catalog.Node"] = lambda _: IndexedNodes()
    answer = client.get("/v1/node")
    assert (answer.body, answer.headers["X-Consul-Index"]) == (b"null", "1")
    assert answer.headers["X-Consul-Knownleader"] == "false"
    answer = client.get("/v1/missing")
    assert (answer.status, answer.headers["X-Consul-Index"]) == (404, "1")


def test_an_answer_that_is_too_old_is_asked_for_again():
    """A stale answer beyond the bound is asked of the leader."""
    client, agent = _client()
    agent.query = DCSpecificRequest(allow_stale=True, max_stale_duration=1000)
    agent.methods["Catalog.ListNodes"] = lambda query: _reply(
        last_contact=5000 if query.allow_stale else 0
    )
    answer = client.get("/v1/nodes")
    assert answer.headers["X-Consul-Effective-Consistency"] == "leader"
    assert [query.allow_stale for _, query in agent.calls] == [True, False]


def test_the_same_payload_is_encoded_once():
    """A finished body is used again for the same target and the same payload."""
    client, agent = _client()
    nodes = [Node(node="a")]
    agent.methods["Catalog.ListNodes"] = lambda _: _reply(nodes)
    first = client.get("/v1/nodes")
    assert client.get("/v1/nodes").body == first.body
    assert len(agent.shown) == 1
    client.get("/v1/nodes?pretty")
    assert len(agent.shown) == 2
    nodes = [Node(node="b")]
    assert client.get("/v1/nodes").json[0]["Node"] == "b"
    assert len(agent.shown) == 3


def test_the_compressed_body_is_kept_too():
    """A client that takes gzip gets the same bytes twice, and others plain ones."""
    client, agent = _client()
    nodes = [Node(node="a")]
    agent.methods["Catalog.ListNodes"] = lambda _: _reply(nodes)
    plain = client.get("/v1/nodes")
    for _ in range(2):
        answer = client.get("/v1/nodes", Accept_Encoding="gzip")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.body == plain.body
    assert "Content-Encoding" not in client.get("/v1/nodes").headers
    assert len(agent.shown) == 1


def test_even_small_answers_are_compressed():
    """Any API answer with a body is, whatever its size; others never."""
    client, _ = _client()
    client.ask("GET", "/v1/text", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(client.taken().partition(b"\r\n\r\n")[2]) == b"hello"
    answer = client.get("/v1/nothing", Accept_Encoding="gzip")
    assert "Content-Encoding" not in answer.headers
    assert (
        "Content-Encoding" not in client.get("/plain", Accept_Encoding="gzip").headers
    )


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BadRequest("Missing key name"), 400, "Missing key name"),
        (PermissionDenied(), 403, "Permission denied"),
        (ACLNotFound(), 403, "ACL not found"),
        (NotFound("nothing here"), 404, "nothing here"),
        (PayloadTooLarge("too big"), 413, "too big"),
        (RPCRateExceeded(), 429, "RPC rate limit exceeded"),
        (NoLeader(), 500, "No cluster leader"),
        (RPCError("rpc error making call: x"), 500, "rpc error making call: x"),
    ],
)
def test_errors_have_a_status_and_a_text(error, status, text):
    """The class of an error gives the status, its text is the body."""
    client, agent = _client()
    agent.failure = error
    answer = client.get("/v1/failing")
    assert (answer.status, answer.text) == (status, text)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_an_unforeseen_error_is_answered_and_logged(logged):
    """Whatever goes wrong, the client gets a 500, and the log the traceback."""
    client, agent = _client()
    agent.failure = ZeroDivisionError("by zero")
    answer = client.get("/v1/failing")
    assert (answer.status, answer.text) == (500, "by zero")
    assert logged(ZeroDivisionError) == 1


def test_what_cannot_be_encoded_is_an_error_too(logged):
    """A value without a JSON form is our mistake, and the client hears of it."""
    client, agent = _client()
    agent.methods["Catalog.Node"] = lambda _: _reply(object())
    assert client.get("/v1/node").status == 500
    assert logged(TypeError) == 1


def test_failed_catalog_reads_still_tell_an_index():
    """An error of the servers comes with index 1 and no leader, at once or later."""
    client, agent = _client()

    def refuse(_):
        raise NoLeader

    for answer_later in (refuse, lambda _: fail(NoLeader())):
        agent.methods["Catalog.ListNodes"] = answer_later
        answer = client.get("/v1/nodes")
        assert (answer.status, answer.text) == (500, "No cluster leader")
        assert answer.headers["X-Consul-Index"] == "1"
        assert answer.headers["X-Consul-Knownleader"] == "false"
    agent.methods["Catalog.Node"] = refuse
    assert "X-Consul-Index" not in client.get("/v1/node").headers


def test_answers_may_come_later():
    """A Deferred and a coroutine are waited for."""
    client, agent = _client()
    agent.later = Deferred()
    client.ask("GET", "/v1/later")
    assert client.taken() == b""
    agent.later.callback("done")
    assert client.answer().json == "done"
    waiting: Deferred[Any] = Deferred()
    agent.methods["Catalog.ListNodes"] = lambda _: waiting
    client.ask("GET", "/v1/nodes")
    waiting.callback(_reply([Node(node="a")]))
    assert client.answer().json[0]["Node"] == "a"


def test_configured_fields_are_added_to_api_answers():
    """Response headers go with every API answer, errors included."""
    client, agent = _client(
        http_response_headers={"X-Test": "yes"}, translate_wan_addrs=True
    )
    agent.failure = BadRequest("no")
    for path in ("/v1/value", "/v1/failing"):
        headers = client.get(path).headers
        assert headers["X-Test"] == "yes"
        assert headers["X-Consul-Translate-Addresses"] == "true"
    assert "X-Test" not in client.get("/plain").headers
    assert "X-Test" not in client.get("/nowhere").headers


def _request(target):
    request = Request("GET", target, target, "", Head({}))
    request.route = _ROUTE
    return request


_ROUTE = Route((), "/", lambda _: None)


def test_the_cache_is_bounded_in_number():
    """The least recently used body goes first."""
    cache = AnswerCache(2, 1000)
    payload = object()
    for target in "ab":
        cache.keep(_request(target), payload, b"body")
    assert cache.find(_request("a"), payload) is not None
    cache.keep(_request("c"), payload, b"body")
    assert cache.find(_request("b"), payload) is None
    assert cache.find(_request("a"), payload) is not None
    assert len(cache) == 2


def test_the_cache_is_bounded_in_bytes():
    """Bodies go until all fit, and one that is too large is not kept at all."""
    cache = AnswerCache(100, 1000)
    payload = object()
    for number in range(20):
        kept = cache.keep(_request(str(number)), payload, b"x" * 200)
        cache.zip(kept)
        assert cache.size_bytes <= 1000
    before = cache.size_bytes
    cache.zip(cache.keep(_request("big"), payload, b"x" * 500))
    assert cache.find(_request("big"), payload) is None
    assert cache.size_bytes == before
    cache.clear()
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_the_cache_wants_the_same_object():
    """An equal payload is not the same one."""
    cache = AnswerCache(2, 1000)
    node = Node(node="a")
    cache.keep(_request("a"), node, b"body")
    assert cache.find(_request("a"), msgspec.structs.replace(node)) is None
    assert cache.find(_request("a"), node) is not None


def test_the_answer_to_a_write_is_the_same_in_both_forms():
    """Most writes are answered ``true``, compressed or not."""
    client, _ = _client()
    for fields in ({}, {"Accept-Encoding": "gzip"}):
        client.ask("PUT", "/v1/done", headers=fields)
        head, _, body = client.taken().partition(b"\r\n\r\n")
        assert b"Content-Type: application/json\r\n" in head
        assert (b"Content-Encoding: gzip" in head) == bool(fields)
        assert (gzip.decompress(body) if fields else body) == b"true"
        assert b"Content-Length: %d" % len(body) in head
