"""HTTP2Session: the client's end of one HTTP/2 connection (RFC 9113).

The frames are those of the ``h2`` package; this adds the transport, and bounds. A
probe makes one request or sends one ping, and closes.
"""

from typing import Any, Final

import attrs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

#: A ping carries eight bytes of any kind.
_PING: Final = b"consultw"

#: The first frame of a server is SETTINGS (RFC 9113, sections 3.4 and 4.1).
_TYPE_OFFSET: Final = 3
_SETTINGS: Final = b"\x04"

Headers = dict[str, str]


class HTTP2Error(Exception):
    """The connection broke off, or never spoke HTTP/2."""


@attrs.define
class HTTP2Response:
    """What came in answer to a request.

    Attributes:
        headers: the header fields, and ``:status``.
        trailers: the fields behind the body.
        body: its first bytes.
        reset: the error code with which the server ended the stream, or None.
    """

    headers: Headers = attrs.Factory(dict)
    trailers: Headers = attrs.Factory(dict)
    body: bytearray = attrs.Factory(bytearray)
    reset: int | None = None


class HTTP2Session(Protocol):
    """One connection.

    Args:
        body_max: bytes that are kept of a body; the rest is dropped.

    Attributes:
        ready: fires when the server has shown that it speaks HTTP/2.
    """

    def __init__(self, body_max: int) -> None:
        config = H2Configuration(client_side=True, header_encoding=None)
        self._connection = H2Connection(config=config)
        self._body_max = body_max
        self._response = HTTP2Response()
        self._open = True
        self._beginning = b""
        self.ready: Deferred[None] = Deferred()
        self._answered: Deferred[HTTP2Response] | None = None
        self._ponged: Deferred[None] | None = None

    def request(self, headers: Headers, body: bytes) -> Deferred[HTTP2Response]:
        """Send the one request; fires when the stream is at its end."""
        answered: Deferred[HTTP2Response] = Deferred()
        self._answered = answered
        connection = self._connection
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, list(headers.items()))
        connection.send_data(stream, body, end_stream=True)
        self._flush()
        return answered

    def ping(self) -> Deferred[None]:
        """Send the one ping; fires when it is acknowledged."""
        ponged: Deferred[None] = Deferred()
        self._ponged = ponged
        self._connection.ping(_PING)
        self._flush()
        return ponged

    def close(self) -> None:
        """Close the connection; nothing is reported any more."""
        self._open = False
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def connectionMade(self) -> None:
        """Greet."""
        self._connection.initiate_connection()
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        if len(self._beginning) <= _TYPE_OFFSET:
            self._beginning += data[: _TYPE_OFFSET + 1]
        try:
            self._require_settings()
            events = self._connection.receive_data(data)
        except (HTTP2Error, ProtocolError):
            self._fail(Failure(HTTP2Error("connection closed")))
            return
        self._flush()
        for event in events:
            if self._open:
                self._take(event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever still waits."""
        self._fail(reason)

    def _require_settings(self) -> None:
        """Refuse a server that speaks something else; it could wait for us forever."""
        kind = self._beginning[_TYPE_OFFSET : _TYPE_OFFSET + 1]
        if kind and kind != _SETTINGS:
            raise HTTP2Error

    def _take(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            if not self.ready.called:
                self.ready.callback(None)
        elif isinstance(event, ResponseReceived):
            self._response.headers.update(_texts(event.headers))
        elif isinstance(event, DataReceived):
            self._receive_body(event)
        elif isinstance(event, TrailersReceived):
            self._response.trailers.update(_texts(event.headers))
        elif isinstance(event, StreamReset):
            self._response.reset = int(event.error_code)
            self._end()
        elif isinstance(event, StreamEnded):
            self._end()
        elif isinstance(event, PingAckReceived):
            if self._ponged is not None and not self._ponged.called:
                self._ponged.callback(None)
        elif isinstance(event, ConnectionTerminated):
            self._fail(Failure(HTTP2Error("connection closed")))

    def _receive_body(self, event: DataReceived) -> None:
        room = self._body_max - len(self._response.body)
        self._response.body += event.data[:room]
        length = event.flow_controlled_length
        self._connection.acknowledge_received_data(length, event.stream_id)
        self._flush()

    def _end(self) -> None:
        if self._answered is not None and not self._answered.called:
            self._answered.callback(self._response)

    def _fail(self, failure: Failure) -> None:
        if not self._open:
            return
        self.close()
        for waiting in (self.ready, self._answered, self._ponged):
            if waiting is not None and not waiting.called:
                waiting.errback(failure)
                return

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        transport: Any = self.transport
        if data and transport is not None:
            transport.write(data)


def _texts(headers: Any) -> Headers:
    return {_text(name): _text(value) for name, value in headers}


def _text(value: bytes) -> str:
    # HTTP allows any bytes in a field's value.
    return value.decode("utf-8", "surrogateescape")
