"""Checks over TLS, against servers on a simulated network."""

import random
from typing import Any

import msgspec
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import ContextFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from consultwist.checks.grpc import GRPCProbe
from consultwist.checks.h2ping import H2PingProbe
from consultwist.checks.http import HTTPProbe
from consultwist.checks.tcp import TCPProbe
from consultwist.structs.catalog import CheckType
from consultwist.testing.certificates import TestAuthority
from consultwist.testing.clock import SimClock
from consultwist.testing.deferred import result_of
from consultwist.testing.network import Network
from consultwist.testing.sim_host import SimHost

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
PORT = 7700
ADDRESS = f"{SERVER}:{PORT}"
SECOND = 10**9
#: When the certificates of the test authority end: 2099-01-01.
END_WALL = 4070908800.0


class Pings(Protocol):
    """A server of HTTP/2 that acknowledges what is to be acknowledged."""

    def connectionMade(self) -> None:
        """Greet."""
        self._http2 = H2Connection(config=H2Configuration(client_side=False))
        self._http2.initiate_connection()
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """Answer."""
        self._http2.receive_data(data)
        self._flush()

    def _flush(self) -> None:
        assert self.transport is not None
        self.transport.write(self._http2.data_to_send())


class Greets(Protocol):
    """A server that answers every request."""

    def dataReceived(self, data: bytes) -> None:
        """Answer, and close."""
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Contexts(ContextFactory):
    """The server's certificate."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def getContext(self) -> SSL.Context:  # noqa: N802 - Twisted's
        """Return a context that speaks HTTP/2 with whom offers it."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate_chain_file(self._files["cert_file"])
        context.use_privatekey_file(self._files["key_file"])
        context.set_alpn_select_callback(
            lambda _, offered: b"h2" if b"h2" in offered else b""
        )
        return context


class World:
    """A server and a client's host."""

    def __init__(self, host: Any, authority: TestAuthority) -> None:
        clock = SimClock()
        network = Network(clock, random.Random(1))
        self.clock = clock
        self.server = SimHost(network, SERVER)
        self.host = host
        host.reactor = SimHost(network, CLIENT)
        host.clock = clock
        host.config.enable_agent_tls_for_checks = True
        host.config.ca_file = authority.ca_file
        host.config.server_name = "agent.test"
        self.files = authority.issue("server", "agent.test", "web.test")

    def listen(self, protocol: type[Protocol]) -> None:
        """Serve over TLS."""
        plain = Factory.forProtocol(protocol)
        contexts = Contexts(self.files)
        tls: Any = TLSMemoryBIOFactory(contexts, False, plain, self.server)
        self.server.listenTCP(PORT, tls, interface=SERVER)

    def run(self, probe: Any) -> Any:
        """Run a probe to its end."""
        outcome = probe.run()
        self.clock.advance(2)
        return result_of(outcome)


@pytest.fixture
def world(host, tmp_path):
    """A network with an authority that the agent knows."""
    return World(host, TestAuthority(tmp_path))


def tcp(**fields: Any) -> CheckType:
    """Return a TCP check with TLS."""
    definition = CheckType(tcp=ADDRESS, tcp_use_tls=True, timeout=SECOND)
    return msgspec.structs.replace(definition, **fields)


def test_a_handshake_passes(world):
    """The outcome knows how long the certificate lasts."""
    world.listen(Greets)
    found = world.run(TCPProbe(tcp(), world.host))
    assert (found.status, found.output) == (
        "passing",
        f"TCP+TLS connect {ADDRESS}: Success",
    )
    assert found.certificate_end == END_WALL


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"tls_server_name": "web.test"}, f"TCP+TLS connect {ADDRESS}: Success"),
        (
            {"tls_server_name": "other.test"},
            ("x509: certificate is valid for agent.test, web.test, not other.test"),
        ),
        (
            {"tls_server_name": "other.test", "tls_skip_verify": True},
            f"TCP+TLS connect {ADDRESS}: Success",
        ),
    ],
)
def test_the_server_name_of_the_check_counts(world, fields, output):
    """Before that of the agent."""
    world.listen(Greets)
    assert world.run(TCPProbe(tcp(**fields), world.host)).output == output


def test_a_stranger_is_not_believed(world, tmp_path):
    """His authority is not known."""
    world.files = TestAuthority(tmp_path / "x").issue("server", "agent.test")
    world.listen(Greets)
    found = world.run(TCPProbe(tcp(), world.host))
    assert (found.status, found.output) == (
        "critical",
        "x509: certificate signed by unknown authority",
    )


def test_a_handshake_that_does_not_end_times_out(world):
    """The server accepts, and says nothing."""
    silent = Factory.forProtocol(Protocol)
    world.server.listenTCP(PORT, silent, interface=SERVER)
    found = world.run(TCPProbe(tcp(), world.host))
    assert (found.status, found.output) == (
        "critical",
        f"dial tcp {ADDRESS}: i/o timeout",
    )


def test_an_authority_that_cannot_be_read_is_told(world):
    """Once for each run."""
    world.host.config.ca_file = "/nonexistent/ca.pem"
    assert world.run(TCPProbe(tcp(), world.host)).output.startswith(
        "cannot load certificates: "
    )


def test_https_knows_how_long_the_certificate_lasts(world):
    """And asks for the name that the check says."""
    world.listen(Greets)
    definition = CheckType(
        http=f"https://{ADDRESS}/",
        timeout=SECOND,
        output_max_size=64,
        tls_server_name="web.test",
    )
    found = world.run(HTTPProbe(definition, world.host))
    assert found.output == f"HTTP GET https://{ADDRESS}/: 200 OK Output: ok"
    assert found.certificate_end == END_WALL


def test_a_ping_goes_over_tls_unless_told_otherwise(world):
    """HTTP/2 is offered in the handshake."""
    world.listen(Pings)
    definition = CheckType(h2ping=ADDRESS, timeout=SECOND)
    found = world.run(H2PingProbe(definition, world.host))
    assert (found.status, found.certificate_end) == ("passing", END_WALL)


def test_a_certificate_that_does_not_satisfy_fails_the_call_and_the_ping(world):
    """In the words of each client."""
    world.listen(Pings)
    name = "other.test"
    fault = "x509: certificate is valid for agent.test, web.test, not other.test"
    call = CheckType(
        grpc=ADDRESS, grpc_use_tls=True, timeout=SECOND, tls_server_name=name
    )
    found = world.run(GRPCProbe(call, world.host))
    assert found.output == (
        'rpc error: code = Unavailable desc = connection error: desc = "transport: '
        f'authentication handshake failed: {fault}"'
    )
    ping = CheckType(h2ping=ADDRESS, timeout=SECOND, tls_server_name=name)
    found = world.run(H2PingProbe(ping, world.host))
    assert found.output == f"Failed to dial to {ADDRESS}: {fault}"
