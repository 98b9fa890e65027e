"""The client's end of an HTTP/2 connection, against what a server may send."""

from h2.config import H2Configuration
from h2.connection import H2Connection
from twisted.internet.testing import StringTransport

from consultwist.checks.http2 import HTTP2Session
from consultwist.testing.deferred import result_of

REQUEST = {":method": "GET", ":scheme": "http", ":authority": "web", ":path": "/"}


def test_header_fields_may_hold_bytes_that_are_not_utf8():
    """HTTP allows any bytes in them; they are kept, and fail nothing."""
    session, transport = HTTP2Session(100), StringTransport()
    session.makeConnection(transport)
    answered = session.request(REQUEST, b"")
    server = H2Connection(config=H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(transport.value())
    fields = [(b":status", b"200"), (b"server", b"caf\xe9")]
    server.send_headers(1, fields, end_stream=True)
    session.dataReceived(server.data_to_send())
    assert result_of(answered).headers == {":status": "200", "server": "caf\udce9"}
