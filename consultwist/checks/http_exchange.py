"""HTTPExchange: one request and its response on a connection of their own."""

from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from consultwist.checks.dial import join_host_port
from consultwist.checks.http_response import HTTPResponse, ResponseError
from consultwist.checks.outcome import OutputTail

#: A request of this size fits into the buffer of any socket, so that it has left
#: when the response comes.
_SENT_AT_ONCE_MAX = 16 * 1024


class HTTPExchange(Protocol):
    """Sends a request as soon as it is connected, and reads the response.

    Attributes:
        head: fires when the status and the headers are there; fails with
            `ResponseError` or with why the connection ended.
        body_end: fires when the body is at its end, or the connection.
        response: what has been read.
        path: the two ends of the connection, as in ``10.0.0.1:5->10.0.0.2:80``; empty
            for unix sockets.
    """

    def __init__(self, request: bytes, tail: OutputTail, *, unpack: bool) -> None:
        """Prepare an exchange.

        Args:
            request: the bytes to send.
            tail: gets the body.
            unpack: whether a gzip encoding is undone.
        """
        self._request = request
        has_body = not request.startswith(b"HEAD ")
        self.response = HTTPResponse(tail.add, has_body=has_body, unpack=unpack)
        self.path = ""
        self.head: Deferred[None] = Deferred()
        self.body_end: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Send the request."""
        transport: Any = self.transport
        ends = (transport.getHost(), transport.getPeer())
        if not isinstance(ends[0], UNIXAddress):
            self.path = "->".join(join_host_port(end.host, end.port) for end in ends)
        transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        try:
            self.response.receive(data)
        except ResponseError as error:
            self._fail(Failure(error))
            return
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take the end of the connection for the end of the body, if that is open."""
        if self.head.called and self.response.complete:
            return
        if not self.response.status and not reason.check(ConnectionDone):
            self._fail(reason)
            return
        try:
            self.response.end()
        except ResponseError as error:
            self._fail(Failure(error))
            return
        self._tell()

    def close(self) -> None:
        """Close the connection, in good order where nothing can hold that up."""
        transport: Any = self.transport
        if transport is None:
            return
        is_sent = len(self._request) <= _SENT_AT_ONCE_MAX
        if (
            self.response.complete
            and is_sent
            and not ISSLTransport.providedBy(transport)
        ):
            transport.loseConnection()
        else:
            transport.abortConnection()

    def _tell(self) -> None:
        if self.response.status and not self.head.called:
            self.head.callback(None)
        if self.response.complete and not self.body_end.called:
            self.body_end.callback(None)

    def _fail(self, failure: Failure) -> None:
        if not self.head.called:
            self.head.errback(failure)
        elif not self.body_end.called:
            # A fault in the body ends it; the result stays, as in Consul.
            self.body_end.callback(None)
        self.close()
