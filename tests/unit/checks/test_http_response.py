"""Responses are read from any cuts of the network, and nothing makes them grow."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.checks.http_response import (
    HEAD_SIZE_MAX,
    HTTPResponse,
    ResponseError,
)
from tests.unit.checks.network import REPLIES

ANSWERS = sorted(REPLIES.values())


def read(pieces, *, has_body=True):
    """Read a response from pieces; return it with its body, or the error."""
    body = bytearray()
    response = HTTPResponse(body.extend, has_body=has_body, unpack=True)
    try:
        for piece in pieces:
            response.receive(piece)
        response.end()
    except ResponseError as error:
        return str(error)
    return response.status, response.status_text, response.headers, bytes(body)


@given(st.sampled_from(ANSWERS), st.lists(st.integers(0, 120), max_size=8))
def test_the_cuts_of_the_network_do_not_matter(answer, cuts):
    """However an answer is cut into pieces, it is read as the same."""
    bounds = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(bounds)]
    assert read(pieces) == read([answer])


def test_a_line_ends_with_one_carriage_return():
    """A second one belongs to the line, however the answer is cut."""
    answer = b"HTTP/1.1 200\r\r\n\nT"
    refusal = read([answer])
    assert refusal == read([answer[:15], answer[15:]])
    assert "malformed HTTP status code" in str(refusal)


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_any_bytes_are_an_answer_or_refused(pieces):
    """Bytes that are not HTTP are refused with an error of their own."""
    found = read(pieces)
    assert isinstance(found, str) or found[0] >= 100


@given(st.binary(max_size=200))
def test_any_bytes_may_follow_a_chunked_head(body):
    """A chunked body may be anything; it never fails the answer."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = read([head, body])
    assert found[:2] == (200, "200 OK")


@given(st.binary(max_size=200))
def test_any_bytes_may_follow_a_gzip_head(body):
    """A body that claims to be compressed may be anything, too."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    assert read([head, body])[:2] == (200, "200 OK")


def test_the_answer_to_head_has_no_body():
    """Its length is that of a body that is not sent."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    assert read([answer], has_body=False)[3] == b""


def test_headers_without_end_are_given_up():
    """A server that sends headers for ever does not fill the memory."""
    response = HTTPResponse(lambda _: None, has_body=True, unpack=True)
    response.receive(b"HTTP/1.1 200 OK\r\n")
    response.receive(b"a: " + b"x" * (HEAD_SIZE_MAX - 100))
    with pytest.raises(ResponseError) as caught:
        response.receive(b"x" * 100)
    assert "server response headers exceeded 10485760 bytes" in str(caught.value)


def test_a_chunk_line_without_end_ends_the_body():
    """A chunk whose size goes on for ever ends the body, not the answer."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = HTTPResponse(lambda _: None, has_body=True, unpack=True)
    response.receive(head + b"1" * 5000)
    assert response.complete


def test_the_first_of_several_headers_counts():
    """Of headers of one name the first is used; folded lines are passed over."""
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /a\r\nX: 1\r\n folded\r\nlocation: /b\r\n\r\n"
    )
    assert read([answer])[2] == {"location": "/a", "x": "1"}


def test_an_unknown_transfer_encoding_is_refused():
    """What cannot be decoded is an error, not a wrong body."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zz\r\n\r\nabc"
    assert 'unsupported transfer encoding: "zz"' in read([answer])
