"""Whatever bytes arrive, the HTTP layer keeps its promises."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from consultwist.http.messages import Response
from consultwist.http.parser import Memory
from consultwist.http.router import route
from consultwist.testing.http import HTTPAgent, HTTPClient, HTTPSettings, make_site

_METHODS = ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "get", "G(T")
_TARGETS = (
    "/v1/kv/a",
    "/v1/kv/a%20b?dc=x&token=t",
    "/v1/kv",
    "/v1/nope",
    "/v1/kv/%zz",
    "/v1/kv/a?%zz",
    "http://h/v1/kv/a",
    "*",
    "",
)
_FIELDS = (
    "Host: x",
    "Host: y",
    "Content-Length: 3",
    "Content-Length: 5000",
    "Content-Length: x",
    "Transfer-Encoding: chunked",
    "Connection: close",
    "Connection: keep-alive",
    "Expect: 100-continue",
    "Accept-Encoding: gzip",
    "Bad Name: x",
    " folded",
)
_BODIES = (b"", b"abc", b"3\r\nabc\r\n0\r\n\r\n", b"zz\r\n", b"a" * 5000)

_requests = st.builds(
    lambda method, target, version, fields, body: (
        "\r\n".join([f"{method} {target} HTTP/{version}", *fields]).encode()
        + b"\r\n\r\n"
        + body
    ),
    st.sampled_from(_METHODS),
    st.sampled_from(_TARGETS),
    st.sampled_from(("1.1", "1.1", "1.1", "1.0", "2.0", "x")),
    st.lists(st.sampled_from(_FIELDS), max_size=4).map(lambda fs: ["Host: h", *fs])
    | st.lists(st.sampled_from(_FIELDS), max_size=4),
    st.sampled_from(_BODIES),
)
_streams = st.lists(_requests | st.binary(max_size=20), max_size=4).map(b"".join)


class _Endpoints:
    """A key/value store of sorts."""

    def __init__(self, agent):
        self.agent = agent

    @route("GET", "/v1/kv/")
    def get_key(self, request):
        return [request.rest, dict(request.query)]

    @route("PUT", "/v1/kv/", body_limit="kv_max_value_size")
    def put_key(self, request):
        return Response(request.body, content_type="text/plain")


def _site():
    return make_site(_Endpoints, HTTPAgent(HTTPSettings(kv_max_value_size=1000)))


def _answers(site, pieces):
    """Return all that a client gets for some pieces, and how the connection ended."""
    client = HTTPClient(site)
    for piece in pieces:
        if client.transport.closed:
            break
        client.send(piece)
    transport = client.transport
    return client.taken(), transport.closed, transport.half_closed


@settings(deadline=None, max_examples=150)
@given(_streams, st.data())
@example(b"GET / HTTP/1.1\nHost: x\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", None)
def test_answers_do_not_depend_on_how_the_bytes_were_cut(stream, data):
    """Any cut of the stream into pieces gives the same answers as the whole."""
    site = _site()
    whole = _answers(site, [stream])
    if data is None:
        cuts = set(range(len(stream)))
    else:
        cuts = data.draw(st.sets(st.integers(0, len(stream)), max_size=12))
    edges = [0, *sorted(cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert _answers(site, pieces) == whole


@settings(deadline=None, max_examples=60)
@given(_requests)
def test_a_request_may_come_byte_by_byte(stream):
    """Even single bytes give the same answer."""
    site = _site()
    pieces = [stream[i : i + 1] for i in range(len(stream))]
    assert _answers(site, pieces) == _answers(site, [stream])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_bytes_break_the_protocol(pieces):
    """Random bytes are answered by nothing or by well-formed refusals."""
    data, _, _ = _answers(_site(), pieces)
    assert not data or data.startswith(b"HTTP/1.1 4")


@settings(deadline=None, max_examples=60)
@given(_streams)
def test_memory_of_earlier_requests_changes_nothing(stream):
    """The second time the same bytes come they are answered as the first time."""
    site = _site()
    first = _answers(site, [stream])
    assert _answers(site, [stream]) == first
    site.memory = Memory()
    assert _answers(site, [stream]) == first
