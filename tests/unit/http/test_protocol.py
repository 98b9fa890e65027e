"""One connection: order, bodies, waiting, bounds."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from consultwist.errors import NoLeader
from consultwist.http.messages import Response, Stream, stream_of
from consultwist.http.router import route
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings, make_site

_KB = 1024
_MB = 1024 * 1024


class _Endpoints:
    """Endpoints whose answers a test steers by way of the agent."""

    def __init__(self, agent):
        self.agent = agent

    @route("GET", "/v1/echo/")
    def echo(self, request):
        return request.rest

    @route("PUT", "/v1/body")
    def body(self, request):
        return Response(request.body, content_type="application/octet-stream")

    @route("PUT", "/v1/kv/", body_limit="kv_max_value_size")
    def put_key(self, request):
        return True

    @route("GET", "/v1/park")
    def park(self, request):
        parked: Deferred[Any] = Deferred(
            lambda _: self.agent.cancelled.append(request.client)
        )
        self.agent.parked.append(parked)
        return parked

    @route("GET", "/v1/stream")
    def stream(self, request):
        def start(sink):
            self.agent.sinks.append(sink)
            return lambda: self.agent.stopped.append(sink)

        return Stream(start, "text/plain")

    @route("GET", "/v1/chunks")
    def chunks(self, request):
        return stream_of(self.agent.chunks, "application/x-gzip")


class _Agent(HTTPAgent):
    def __init__(self, config):
        super().__init__(config)
        self.parked = []
        self.cancelled = []
        self.sinks = []
        self.stopped = []
        self.chunks = []


@pytest.fixture
def world():
    """Return a client, its agent and its site."""
    agent = _Agent(HTTPSettings(kv_max_value_size=_KB))
    site = make_site(_Endpoints, agent)
    return HTTPClient(site), agent, site


@pytest.fixture
def client(world):
    """Return only the client."""
    return world[0]


def _get(path):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_requests_sent_ahead_are_answered_in_order(client):
    """Pipelined requests are answered one after the other."""
    client.send(b"".join(_get(f"/v1/echo/{n}") for n in range(50)))
    assert [answer.json for answer in client.answers()] == [str(n) for n in range(50)]


def test_a_waiting_answer_holds_back_the_next(world):
    """Answers keep the order of the requests, even where one has to wait."""
    client, agent, _ = world
    client.send(_get("/v1/echo/a") + _get("/v1/park") + _get("/v1/echo/b"))
    assert [answer.json for answer in client.answers()] == ["a"]
    agent.parked[0].callback("parked")
    assert [answer.json for answer in client.answers()] == ["parked", "b"]


def test_a_client_that_sends_too_far_ahead_is_held_back(world):
    """While an answer waits, only so much is taken from the client."""
    client, agent, _ = world
    client.send(_get("/v1/park"))
    request = _get("/v1/echo/" + "a" * 900)
    for _ in range(100):
        if client.transport.reading:
            client.send(request)
    assert not client.transport.reading
    agent.parked[0].callback("parked")
    assert client.transport.reading
    assert len(client.answers()) > 50


def test_a_client_that_leaves_cancels_what_it_waited_for(world):
    """A parked request is given up with its connection."""
    client, agent, site = world
    client.send(_get("/v1/park"))
    client.leave()
    assert agent.cancelled == ["127.0.0.1"]
    assert client.taken() == b""
    assert site.has_room("127.0.0.1")


def test_a_failed_wait_is_answered(world):
    """An error that comes later is answered like one that comes at once."""
    client, agent, _ = world
    client.send(_get("/v1/park"))
    agent.parked[0].errback(NoLeader())
    assert client.answer().text == "No cluster leader"


def test_bodies_are_read(client):
    """A body may be sized, chunked or empty, and come in pieces."""
    assert client.put("/v1/body", b"abc").body == b"abc"
    assert client.put("/v1/body").body == b""
    client.send(b"PUT /v1/body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r")
    client.send(b"\n3\r\nab")
    client.send(b"c\r\n0\r\n\r\n" + _get("/v1/echo/next"))
    first, second = client.answers()
    assert (first.body, second.json) == (b"abc", "next")


def test_a_body_over_the_limit_is_refused(client):
    """The refusal names size, limit and option, and the connection stays usable."""
    client.send(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n"
        + b"a" * 2000
        + _get("/v1/echo/next")
    )
    first, second = client.answers()
    assert first.status == 413
    assert first.text == (
        "Request body(2000 bytes) too large, max size: 1024 bytes. See "
        "https://www.consul.io/docs/agent/options.html#kv_max_value_size."
    )
    assert second.json == "next"


def test_a_huge_body_costs_the_connection(client):
    """Nobody reads gigabytes to throw them away."""
    head = b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    client.send(head % (9 * _MB))
    answer = client.answer()
    assert answer.status == 413
    assert answer.headers["Connection"] == "close"
    assert client.transport.half_closed
    client.send(b"a" * _MB)
    assert not client.transport.closed


def test_a_chunked_body_over_the_limit_is_refused(client):
    """The limit holds for bodies of unknown size."""
    client.send(
        b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"800\r\n" + b"a" * 0x800
    )
    answer = client.answer()
    assert (answer.status, answer.headers["Connection"]) == (413, "close")


def test_unwanted_bodies_are_skipped(client):
    """A body sent where none is wanted does no harm."""
    client.send(
        b"POST /v1/echo/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        b"PUT /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n" + _get("/v1/echo/next")
    )
    statuses = [answer.status for answer in client.answers()]
    assert statuses == [405, 404, 200]


def test_a_client_may_ask_before_it_sends(client):
    """``Expect: 100-continue`` is answered before the body is sent."""
    head = b"PUT /v1/body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    client.send(head + b"Content-Length: 3\r\n\r\n")
    assert client.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.answer().body == b"abc"
    client.send(head + f"Content-Length: {5 * _MB}\r\n\r\n".encode())
    assert client.answer().status == 413
    assert client.transport.half_closed


def test_malformed_requests_are_refused(client):
    """A clean 400, and the end of the connection."""
    client.send(_get("/v1/echo/a") + b"nonsense\r\n\r\n" + _get("/v1/echo/b"))
    first, second = client.answers()
    assert first.json == "a"
    assert (second.status, second.text) == (400, "400 Bad Request")
    assert second.headers["Connection"] == "close"
    assert second.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert client.transport.half_closed


def test_connections_are_closed_on_request(client):
    """``Connection: close`` is heeded, and said back."""
    answer = client.get("/v1/echo/a", Connection="close")
    assert answer.headers["Connection"] == "close"
    assert client.transport.closed


def test_http_1_0_is_spoken(world):
    """An old client's connection is closed, unless it asks to keep it."""
    client, _, site = world
    client.send(b"GET /v1/echo/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    answer = client.answer()
    assert (answer.version, answer.json) == ("HTTP/1.0", "a")
    assert answer.headers["Connection"] == "keep-alive"
    client.send(b"GET /v1/echo/b HTTP/1.0\r\n\r\n")
    assert client.answer().json == "b"
    assert client.transport.closed
    old = HTTPClient(site)
    old.send(b"GET /v1/stream HTTP/1.0\r\n\r\n")
    assert "Transfer-Encoding" not in old.answer().headers


def test_head_has_no_body(client):
    """The answer to HEAD has the length, but not the body."""
    client.ask("HEAD", "/v1/echo/a")
    data = client.taken()
    assert data.startswith(b"HTTP/1.1 405")
    assert data.endswith(b"\r\n\r\n")
    assert b"Content-Length: 23\r\n" in data


def test_a_slow_reader_is_not_served_further(client):
    """While the client does not read, no further request is answered."""
    client.transport.room = 1000
    client.send(b"".join(_get("/v1/echo/" + "a" * 400) for _ in range(20)))
    assert len(client.transport.written) < 3000
    total = 0
    for _ in range(20):
        total += client.taken().count(b"HTTP/1.1 200 OK")
        client.drain()
    assert total == 20


def test_a_stream_is_fed_until_it_is_finished(world):
    """A stream goes out in chunks, and the connection can be used again."""
    client, agent, _ = world
    client.send(_get("/v1/stream") + _get("/v1/echo/next"))
    sink = agent.sinks[0]
    assert sink.write(b"one\n")
    assert sink.write(b"")
    assert sink.write(b"two\n")
    assert agent.stopped == []
    sink.finish()
    first, second = client.answers()
    assert (first.body, first.headers["Content-Type"]) == (b"one\ntwo\n", "text/plain")
    assert second.json == "next"
    assert agent.stopped == [sink]
    sink.finish()
    assert not sink.write(b"late")
    assert client.taken() == b""


def test_a_stream_drops_what_a_slow_reader_misses(world):
    """Nothing is queued for a client that does not read; the feed is told."""
    client, agent, _ = world
    client.transport.room = 100
    client.send(_get("/v1/stream"))
    sink = agent.sinks[0]
    assert [sink.write(b"x" * 60) for _ in range(3)][-1] is False
    client.drain()
    assert sink.write(b"y")


def test_a_stream_ends_with_its_client(world):
    """A client that leaves stops the feed, once."""
    client, agent, _ = world
    client.send(_get("/v1/stream"))
    client.leave()
    assert agent.stopped == agent.sinks
    agent.sinks[0].abort()
    assert agent.stopped == agent.sinks


def test_an_aborted_stream_is_cut(world):
    """The client must not take a cut answer for a whole one."""
    client, agent, _ = world
    client.send(_get("/v1/stream"))
    agent.sinks[0].abort()
    assert client.transport.aborted
    assert not client.taken().endswith(b"0\r\n\r\n")


def test_chunks_are_pulled_as_the_client_reads(world):
    """A large answer is made no faster than it is read."""
    client, agent, _ = world
    pulled = []

    def chunks():
        for number in range(10):
            pulled.append(number)
            yield bytes([65 + number]) * 80

    agent.chunks = chunks()
    client.transport.room = 400
    client.send(_get("/v1/chunks"))
    assert len(pulled) < 10
    data = b""
    while not data.endswith(b"0\r\n\r\n"):
        data += client.taken()
        client.drain()
    assert b"J" * 80 in data


def test_a_broken_source_cuts_the_stream(world, logged):
    """An error while chunks are made aborts the connection and is logged."""
    client, agent, _ = world

    def chunks():
        yield b"abc"
        raise ZeroDivisionError

    agent.chunks = chunks()
    client.send(_get("/v1/chunks"))
    assert client.transport.aborted
    assert logged(ZeroDivisionError) == 1


@pytest.mark.parametrize(
    ("sent", "patience_s"),
    [
        (b"", 900),
        (b"GET / HTTP/1.1\r\nHos", 60),
        (b"PUT /v1/body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", 60),
        (b"nonsense\r\n\r\n", 5),
    ],
)
def test_connections_are_dropped_in_time(world, sent, patience_s):
    """Idle, half-sent and refused connections each have their time."""
    client, agent, _ = world
    client.send(sent)
    for _ in range(int(patience_s / 5)):
        agent.reactor.advance(5)
        assert not client.transport.aborted
    for _ in range(2):
        agent.reactor.advance(5)
    assert client.transport.aborted


def test_parked_requests_are_left_alone(world):
    """A blocking query may wait for as long as its endpoint lets it."""
    client, agent, _ = world
    client.send(_get("/v1/park"))
    for _ in range(400):
        agent.reactor.advance(5)
    assert not client.transport.aborted


def test_a_reader_that_stands_still_is_dropped(world):
    """What was written must be read within some minutes."""
    client, agent, _ = world
    client.transport.room = 10
    client.send(_get("/v1/echo/a"))
    for _ in range(62):
        agent.reactor.advance(5)
    assert client.transport.aborted


def test_slow_heads_are_counted_from_their_first_byte(world):
    """A head sent byte by byte does not win time; a long idle time costs none."""
    client, agent, _ = world
    for _ in range(20):
        agent.reactor.advance(5)
    client.send(b"G")
    agent.reactor.advance(5)
    assert not client.transport.aborted
    for byte in b"ET /v1/echo/abc":
        client.send(bytes([byte]))
        agent.reactor.advance(5)
    assert client.transport.aborted


def test_no_timer_runs_without_connections(world):
    """The agent does not wake up for nothing."""
    client, agent, _ = world
    assert len(agent.reactor.getDelayedCalls()) == 1
    client.leave()
    agent.reactor.advance(5)
    assert agent.reactor.getDelayedCalls() == []
