"""Bytes to requests."""

import pytest

from consultwist.http.parser import (
    HEAD_MAX_BYTES,
    Body,
    BodyTooLarge,
    Malformed,
    Memory,
    RequestReader,
)


def _reader(data=b""):
    reader = RequestReader(Memory())
    reader.feed(data)
    return reader


def _head(reader):
    request = reader.head()
    assert request is not None
    return request


def _request(line=b"GET / HTTP/1.1", *fields):
    lines = [line, b"Host: consul", *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_a_request_is_read():
    """Method, path, query and fields come out decoded."""
    request = _reader(
        _request(b"GET /v1/kv/a%20b?dc=x HTTP/1.1", b"X-Thing:  one ", b"x-thing: two")
    ).head()
    assert (request.method, request.path) == ("GET", "/v1/kv/a b")
    assert (request.target, request.raw_query) == ("/v1/kv/a%20b?dc=x", "dc=x")
    assert request.field("x-thing") == "one, two"
    assert not request.old


def test_bytes_that_are_not_utf_8_survive_in_the_path():
    """A key may hold any bytes."""
    request = _reader(_request(b"GET /v1/kv/%ff%c3%a9 HTTP/1.1")).head()
    assert request.path.encode("utf-8", "surrogateescape") == b"/v1/kv/\xff\xc3\xa9"


def test_requests_may_come_in_a_row():
    """What follows a request is the next one."""
    reader = _reader(_request() + _request(b"GET /b HTTP/1.1") + b"GET /c")
    assert [reader.head().path, reader.head().path] == ["/", "/b"]
    assert reader.head() is None
    reader.feed(b" HTTP/1.0\r\n\r\n")
    request = reader.head()
    assert (request.path, request.old) == ("/c", True)
    assert reader.head() is None
    assert len(reader) == 0


def test_a_request_seen_before_is_a_new_object():
    """What is kept of a request carries nothing over but what its bytes say."""
    memory = Memory()
    data = _request(b"GET /a HTTP/1.1")
    requests = []
    for _ in range(2):
        reader = RequestReader(memory)
        reader.feed(data)
        requests.append(_head(reader))
    first, second = requests
    assert first is not second
    first.client, first.body = "10.0.0.1", b"x"
    reader = RequestReader(memory)
    reader.feed(data)
    third = _head(reader)
    assert (third.client, third.body, third.path) == ("", b"", "/a")


def test_absolute_targets_are_taken():
    """A client that takes us for a proxy is answered all the same."""
    assert _reader(_request(b"GET http://x:1/v1/kv/a?b HTTP/1.1")).head().path == (
        "/v1/kv/a"
    )
    assert _reader(_request(b"GET http://x HTTP/1.1")).head().path == "/"


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"nonsense\r\n\r\n", 400, ""),
        (b"\r\n\r\n", 400, ""),
        (_request(b"GET  / HTTP/1.1"), 400, ""),
        (_request(b"G(T / HTTP/1.1"), 400, ""),
        (_request(b"GET nowhere HTTP/1.1"), 400, ""),
        (_request(b"GET /%zz HTTP/1.1"), 400, ""),
        (_request(b"GET /a\x01 HTTP/1.1"), 400, ""),
        (_request(b"GET / HTTQ/1.1"), 400, ""),
        (_request(b"GET / HTTP/2.0"), 400, "unsupported protocol version"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "missing required Host header"),
        (_request(b"GET / HTTP/1.1", b"Host: b"), 400, "too many Host headers"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed Host header"),
        (_request(b"GET / HTTP/1.1", b"Bad Name: x"), 400, "invalid header name"),
        (_request(b"GET / HTTP/1.1", b"X-A : x"), 400, "invalid header name"),
        (_request(b"GET / HTTP/1.1", b" folded"), 400, ""),
        (_request(b"GET / HTTP/1.1", b"X: a\x01"), 400, "invalid header value"),
        (_request(b"GET / HTTP/1.1", b"X: a\nY: b"), 400, "invalid header value"),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400, ""),
        (_request(b"PUT / HTTP/1.1", b"Content-Length: -1"), 400, ""),
        (_request(b"PUT / HTTP/1.1", b"Content-Length: +3"), 400, ""),
        (
            _request(b"PUT / HTTP/1.1", b"Content-Length: 3", b"Content-Length: 4"),
            400,
            "",
        ),
        (
            _request(
                b"PUT / HTTP/1.1", b"Content-Length: 3", b"Transfer-Encoding: chunked"
            ),
            400,
            "",
        ),
        (
            _request(b"PUT / HTTP/1.1", b"Transfer-Encoding: gzip"),
            501,
            "Unsupported transfer encoding",
        ),
        (_request(b"PUT / HTTP/1.1", b"Expect: cake"), 417, ""),
        (b"GET /" + b"a" * HEAD_MAX_BYTES, 431, ""),
        (b"GET /" + b"a" * HEAD_MAX_BYTES + b" HTTP/1.1\r\n\r\n", 431, ""),
    ],
)
def test_what_is_no_request_is_refused(data, status, reason):
    """Malformed input has a status of its own and says what is wrong."""
    with pytest.raises(Malformed) as refusal:
        _reader(data).head()
    assert (refusal.value.status, refusal.value.reason) == (status, reason)


@pytest.mark.parametrize(
    ("field", "token"),
    [
        (b"X-Consul-Token: abc", "abc"),
        (b"Authorization: Bearer abc", "abc"),
        (b"Authorization: BEARER  abc def", "abc"),
        (b"Authorization: Basic abc", ""),
        (b"Authorization: Bearer", ""),
    ],
)
def test_tokens_are_found_in_two_fields(field, token):
    """X-Consul-Token or a bearer token; of the latter the first word counts."""
    assert _reader(_request(b"GET / HTTP/1.1", field)).head().head.token == token


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (b"gzip", True),
        (b"deflate, GZIP;q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.0, br", False),
        (b"*", False),
        (b"x-gzip", False),
    ],
)
def test_gzip_is_accepted_by_name(value, accepted):
    """Only a client that names gzip, and does not rule it out, gets it."""
    request = _reader(_request(b"GET / HTTP/1.1", b"Accept-Encoding: " + value)).head()
    assert request.head.accepts_gzip is accepted


def test_a_sized_body_is_read_in_pieces():
    """A body is complete with its last byte, and what follows is left alone."""
    reader = _reader(b"ab")
    body = Body(4, 10)
    assert body.read(reader) is None
    reader.feed(b"cdREST")
    assert body.read(reader) == b"abcd"
    assert reader.take() == b"REST"


def test_a_chunked_body_is_read():
    """Chunks may carry extensions, and trailer fields may follow them."""
    reader = _reader(b"3;x=y\r\nabc\r\n0A \r\n0123456789\r\n0\r\nX: y\r\n\r\nREST")
    assert Body(-1, 20).read(reader) == b"abc0123456789"
    assert reader.take() == b"REST"


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcX",
        b"-3\r\n",
        b"3\r\nabc\n",
        b"\r\n",
        b"0" * 5000,
        b"0\r\n" + b"X: y\r\n" * 10_000,
    ],
)
def test_broken_chunks_are_refused(data):
    """The chunked coding is read strictly, and its lines have bounds."""
    with pytest.raises(Malformed):
        Body(-1, 1000).read(_reader(data))


def test_bodies_have_a_limit():
    """A body over the limit is refused as soon as its size is known."""
    with pytest.raises(BodyTooLarge) as refusal:
        Body(11, 10)
    assert refusal.value.size == 11
    with pytest.raises(BodyTooLarge):
        Body(-1, 4).read(_reader(b"5\r\nabcde"))


def test_an_unwanted_body_is_not_kept():
    """A body that is thrown away costs no memory."""
    reader = _reader(b"a" * 100)
    body = Body(150, 1000, kept=False)
    assert body.read(reader) is None
    reader.feed(b"a" * 60)
    assert body.read(reader) == b""
    assert reader.take() == b"a" * 10


def test_a_body_that_came_with_its_head_is_there_at_once():
    """Small bodies need no second look; one that is not all there is left alone."""
    reader = RequestReader(Memory())
    reader.feed(b"PUT /v1/kv/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcPUT")
    assert reader.head() is not None
    assert reader.body(7) is None
    assert reader.body(3) == b"abc"
    assert reader.take() == b"PUT"
