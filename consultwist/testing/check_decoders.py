"""The decoders of checks, as functions of bytes; see `consultwist.testing.decoders`."""

from typing import Final

from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from consultwist.checks.http2 import HTTP2Error, HTTP2Session
from consultwist.checks.http_response import HTTPResponse, ResponseError
from consultwist.testing.decoder_input import pieces_of

_BODY_MAX: Final = 4096

_REQUEST: Final = {
    ":method": "GET",
    ":scheme": "http",
    ":authority": "web",
    ":path": "/",
}


def decode_response(data: bytes) -> None:
    """Read an answer over HTTP/1; the cuts do not matter."""
    pieces = pieces_of(data)
    assert _response(pieces) == _response([b"".join(pieces)])


def _response(pieces: list[bytes]) -> tuple[object, ...]:
    body = bytearray()
    response = HTTPResponse(body.extend, has_body=True, unpack=True)
    try:
        for piece in pieces:
            response.receive(piece)
        response.end()
    except ResponseError:
        return ()
    return response.status_text, response.headers, bytes(body)


def decode_http2(data: bytes) -> None:
    """Read an answer over HTTP/2, and what else a server may send."""
    session = HTTP2Session(_BODY_MAX)
    transport = StringTransport()
    session.makeConnection(transport)
    failures: list[BaseException | None] = []

    def note(failure: Failure) -> None:
        failures.append(failure.value)

    session.ready.addErrback(note)
    session.request(_REQUEST, b"").addErrback(note)
    session.ping().addErrback(note)
    for piece in pieces_of(data):
        session.dataReceived(piece)
        assert len(transport.value()) <= _ANSWERS_MAX
    assert all(isinstance(failure, HTTP2Error) for failure in failures)


#: What a probe may send: its own request, and an answer to each small frame.
_ANSWERS_MAX: Final = 256 * 1024
