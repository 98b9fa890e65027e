"""gRPC and HTTP/2 ping checks against a server of the same protocol, in memory."""

from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import PingReceived, RequestReceived, StreamEnded
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost, getConnectError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from consultwist.checks.grpc import GRPCCheck, GRPCProbe
from consultwist.checks.h2ping import H2PingCheck, H2PingProbe
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.testing.deferred import no_result_of, result_of

ADDRESS = "127.76.0.9:7601"
SECOND = 10**9
SERVING = b"\0\0\0\0\2\x08\x01"
GRPC = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


class Server:
    """The server's end of the one connection that a probe makes."""

    def __init__(self, reactor: Any) -> None:
        host, port, factory, *_ = reactor.tcpClients[-1]
        self.protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        self.transport = StringTransport(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 50000),
            peerAddress=IPv4Address("TCP", host, port),
        )
        self.protocol.makeConnection(self.transport)
        config = H2Configuration(client_side=False, header_encoding="utf-8")
        self.http2 = H2Connection(config=config)
        self.http2.initiate_connection()
        self.pinged = False
        self.headers: dict[str, str] = {}
        self.stream = 0

    def greet(self) -> None:
        """Send the settings, and read what the client has to say."""
        self.flush()
        for event in self.http2.receive_data(self._sent()):
            if isinstance(event, RequestReceived):
                self.headers = dict(event.headers)  # type: ignore[arg-type]  # text
            elif isinstance(event, StreamEnded):
                self.stream = event.stream_id
            self.pinged = self.pinged or isinstance(event, PingReceived)

    def answer(
        self, headers: list[tuple[str, str]], body: bytes, trailers: Any
    ) -> None:
        """Answer the request, byte for byte."""
        last = not body and trailers is None
        self.http2.send_headers(self.stream, headers, end_stream=last)
        if body:
            self.http2.send_data(self.stream, body, end_stream=trailers is None)
        if trailers is not None:
            self.http2.send_headers(self.stream, trailers, end_stream=True)
        self.flush()

    def flush(self) -> None:
        """Send what is to be sent, one byte at a time."""
        data = self.http2.data_to_send()
        for number in range(len(data)):
            self.protocol.dataReceived(data[number : number + 1])

    def _sent(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data


def grpc(host: Any, target: str = ADDRESS, **fields: Any) -> Any:
    """Start a gRPC probe."""
    return GRPCProbe(CheckType(grpc=target, timeout=SECOND, **fields), host).run()


def ping(host: Any, **fields: Any) -> Any:
    """Start a ping without TLS."""
    definition = CheckType(
        h2ping=ADDRESS, h2ping_use_tls=False, timeout=SECOND, **fields
    )
    return H2PingProbe(definition, host).run()


def shown(outcome: Any) -> tuple[str, str]:
    """Return status and output of a probe that is done."""
    found = result_of(outcome)
    return found.status, found.output


def refuse(reactor: Any) -> None:
    """Let nobody listen."""
    factory = reactor.tcpClients[-1][2]
    reason = Failure(getConnectError((111, "refused")))
    factory.clientConnectionFailed(reactor.connectors[-1], reason)


def test_a_serving_service_passes(host):
    """The service's name stands behind the slash, and is sent to the server."""
    outcome = grpc(host, f"{ADDRESS}/web")
    server = Server(host.reactor)
    server.greet()
    assert server.headers[":path"] == "/grpc.health.v1.Health/Check"
    assert server.headers[":authority"] == ADDRESS
    assert server.headers["content-type"] == "application/grpc"
    server.answer(GRPC, SERVING, OK)
    assert shown(outcome) == ("passing", f"gRPC check {ADDRESS}/web: success")
    assert server.transport.disconnecting or server.transport.disconnected


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\0\0\0\0\0", "UNKNOWN"),
        (b"\0\0\0\0\2\x08\x02", "NOT_SERVING"),
        (b"\0\0\0\0\2\x08\x03", "SERVICE_UNKNOWN"),
        (b"\0\0\0\0\2\x08\x09", "9"),
    ],
)
def test_any_other_status_is_critical(host, body, status):
    """With the status that the server gave."""
    outcome = grpc(host)
    server = Server(host.reactor)
    server.greet()
    server.answer(GRPC, body, OK)
    assert shown(outcome) == ("critical", f"gRPC {ADDRESS} serving status: {status}")


@pytest.mark.parametrize(
    ("headers", "body", "trailers", "error"),
    [
        (
            [
                *GRPC,
                ("grpc-status", "12"),
                ("grpc-message", "unknown service grpc.health%2Ev1.Health"),
            ],
            b"",
            None,
            "Unimplemented desc = unknown service grpc.health.v1.Health",
        ),
        (GRPC, b"", [("grpc-status", "99")], "Code(99) desc = "),
        (
            [(":status", "404"), ("content-type", "text/plain")],
            b"no",
            None,
            (
                "Unimplemented desc = Not Found: HTTP status code 404; transport: "
                'received the unexpected content-type "text/plain"'
            ),
        ),
        (
            [(":status", "418")],
            b"",
            None,
            (
                "Unknown desc = I'm a Teapot: HTTP status code 418; transport: "
                "missing content-type field"
            ),
        ),
        (
            GRPC,
            SERVING,
            None,
            "Internal desc = server closed the stream without sending trailers",
        ),
        (GRPC, b"\0\0\0\0\5x", OK, "Internal desc = the answer is not one whole"),
        (GRPC, b"\1\0\0\0\2\x08\1", OK, "Internal desc = the answer is not one whole"),
        (GRPC, b"\0\0\0\0\2\x12\0", OK, "Internal desc = the answer is not a Health"),
    ],
)
def test_errors_of_the_call_are_told_by_code_and_description(
    host, headers, body, trailers, error
):
    """As the client library that Consul uses tells them."""
    outcome = grpc(host)
    server = Server(host.reactor)
    server.greet()
    server.answer(headers, body, trailers)
    status, output = shown(outcome)
    assert status == "critical"
    assert output.startswith(f"rpc error: code = {error}")


def test_a_stream_that_the_server_resets_is_critical(host):
    """The number is HTTP/2's error code."""
    outcome = grpc(host)
    server = Server(host.reactor)
    server.greet()
    server.http2.reset_stream(server.stream, error_code=7)
    server.flush()
    assert "RST_STREAM with error 7" in result_of(outcome).output


def test_a_refused_connection_is_told_in_the_words_of_the_library(host):
    """Captured from 1.8.7."""
    outcome = grpc(host, f"{ADDRESS}/svc")
    refuse(host.reactor)
    text = (
        'rpc error: code = Unavailable desc = connection error: desc = "transport: '
        f'Error while dialing dial tcp {ADDRESS}: connect: connection refused"'
    )
    assert shown(outcome) == ("critical", text)


@pytest.mark.parametrize("start", [grpc, ping])
def test_what_is_no_http2_is_a_closed_connection(host, start):
    """An HTTP/1 server answers with what is no frame."""
    outcome = start(host)
    server = Server(host.reactor)
    server.protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    status, output = shown(outcome)
    assert status == "critical"
    assert output in (
        "rpc error: code = Unavailable desc = connection closed",
        "HTTP2 ping failed: http2: client connection lost",
    )


@pytest.mark.parametrize("start", [grpc, ping])
@pytest.mark.parametrize("reason", [ConnectionDone(), ConnectionLost()])
def test_a_connection_that_ends_early_is_critical(host, start, reason):
    """Before and after the server has shown what it speaks."""
    for greeted in (False, True):
        outcome = start(host)
        server = Server(host.reactor)
        if greeted:
            server.greet()
        server.protocol.connectionLost(Failure(reason))
        assert result_of(outcome).status == "critical"


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (grpc, "rpc error: code = DeadlineExceeded desc = context deadline exceeded"),
        (ping, "HTTP2 ping failed: context deadline exceeded"),
    ],
)
def test_silence_ends_at_the_timeout(host, start, text):
    """And the connection is dropped."""
    outcome = start(host)
    server = Server(host.reactor)
    server.greet()
    host.reactor.advance(0.9)
    no_result_of(outcome)
    host.reactor.advance(0.1)
    assert shown(outcome) == ("critical", text)
    assert server.transport.disconnecting or server.transport.disconnected


def test_a_server_that_goes_away_is_critical(host):
    """GOAWAY ends the call."""
    outcome = grpc(host)
    server = Server(host.reactor)
    server.greet()
    server.http2.close_connection()
    server.flush()
    assert "connection closed" in result_of(outcome).output


def test_a_ping_that_is_acknowledged_passes(host):
    """One ping is enough."""
    outcome = ping(host)
    server = Server(host.reactor)
    server.greet()
    assert server.pinged
    no_result_of(outcome)
    server.flush()
    assert shown(outcome) == ("passing", "HTTP2 ping was successful")


def test_a_ping_that_reaches_nobody_is_critical(host):
    """With why there is no connection."""
    outcome = ping(host)
    refuse(host.reactor)
    assert shown(outcome) == (
        "critical",
        f"Failed to dial to {ADDRESS}: dial tcp {ADDRESS}: connect: connection refused",
    )


def test_an_address_without_a_port_is_told(host):
    """As Go's dialer tells it."""
    assert "missing port in address" in result_of(grpc(host, "localhost")).output


@pytest.mark.parametrize(
    ("check_type", "fields"),
    [(GRPCCheck(), {"grpc": ADDRESS}), (H2PingCheck(), {"h2ping": ADDRESS})],
)
def test_types_take_their_definitions(host, check_type, fields):
    """And make a runner that reports what it finds."""
    verifyObject(ICheckType, check_type)
    assert not check_type.takes(CheckType(tcp=ADDRESS))
    definition = CheckType(
        check_id="c", interval=SECOND, h2ping_use_tls=False, **fields
    )
    assert check_type.takes(definition)
    check_type.make_runner(definition, host).start()
    host.reactor.advance(1)
    refuse(host.reactor)
    assert [(name, status) for name, status, _ in host.reports] == [("c", "critical")]
