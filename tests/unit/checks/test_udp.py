"""UDP checks send a datagram that nobody refuses."""

from typing import Any

import pytest
from zope.interface.verify import verifyObject

from consultwist.checks.udp import UDPCheck, UDPProbe
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.testing.deferred import no_result_of, result_of
from tests.unit.checks.network import Resolver

SECOND = 10**9


class Port:
    """A listening port, as the reactor returns it."""

    def __init__(self) -> None:
        self.stopped = False

    def stopListening(self) -> None:
        """Note the end."""
        self.stopped = True


class Transport:
    """The transport of a datagram protocol."""

    def __init__(self, error: OSError | None) -> None:
        self.peer: Any = None
        self.sent: list[bytes] = []
        self._error = error

    def connect(self, host: str, port: int) -> None:
        """Note the peer."""
        self.peer = (host, port)

    def write(self, data: bytes) -> None:
        """Send, or fail as the system does."""
        if self._error is not None:
            raise self._error
        self.sent.append(data)


class World:
    """A host whose reactor listens for datagrams."""

    def __init__(self, host: Any, error: OSError | None = None) -> None:
        self.host = host
        self.port = Port()
        self.transport = Transport(error)
        self.protocol: Any = None
        self.interface = ""
        host.reactor.listenUDP = self.listen
        host.reactor.nameResolver = Resolver()

    def listen(self, _port: int, protocol: Any, interface: str = "") -> Port:
        """Start a protocol."""
        self.protocol = protocol
        self.interface = interface
        protocol.transport = self.transport
        protocol.startProtocol()
        return self.port

    def probe(self, address: str = "127.76.0.9:7601") -> Any:
        """Run once."""
        return UDPProbe(CheckType(udp=address, timeout=SECOND), self.host).run()


def test_silence_until_the_timeout_passes(host):
    """Most services answer nothing to what they do not understand."""
    world = World(host)
    outcome = world.probe()
    assert world.transport.peer == ("127.76.0.9", 7601)
    assert world.transport.sent == [b""]
    host.reactor.advance(0.9)
    no_result_of(outcome)
    host.reactor.advance(0.1)
    found = result_of(outcome)
    assert (found.status, found.output) == (
        "passing",
        "UDP connect 127.76.0.9:7601: Success",
    )
    assert world.port.stopped


def test_an_answer_passes_at_once(host):
    """Whatever it says."""
    world = World(host)
    outcome = world.probe()
    world.protocol.datagramReceived(b"?", ("127.76.0.9", 7601))
    assert result_of(outcome).status == "passing"


def test_a_port_where_nobody_listens_is_critical(host):
    """The refusal comes by ICMP, after the datagram or with it."""
    world = World(host)
    outcome = world.probe()
    world.protocol.connectionRefused()
    found = result_of(outcome)
    assert found.status == "critical"
    assert found.output.endswith("read: connection refused")
    assert world.port.stopped
    closed = World(host)
    outcome = closed.probe()
    closed.protocol.stopProtocol()
    assert result_of(outcome).status == "critical"
    broken = World(host, ConnectionRefusedError(111, "Connection refused"))
    assert result_of(broken.probe()).status == "critical"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("127.0.0.1", "dial udp: address 127.0.0.1: missing port in address"),
        ("unknown.test:80", "dial udp: lookup unknown.test: no such host"),
    ],
)
def test_an_address_that_leads_nowhere_is_critical(host, address, text):
    """In the words of Go's dialer."""
    found = result_of(World(host).probe(address))
    assert (found.status, found.output) == ("critical", text)


def test_names_are_resolved_and_ipv6_has_a_socket_of_its_kind(host):
    """IPv4 goes first."""
    world = World(host)
    world.probe("localhost:80")
    assert world.transport.peer == ("127.0.0.1", 80)
    world.probe("[::1]:80")
    assert (world.transport.peer, world.interface) == (("::1", 80), "::")


def test_takes_definitions_with_an_address(host):
    """The type makes a runner of them."""
    check_type = UDPCheck()
    verifyObject(ICheckType, check_type)
    definition = CheckType(check_id="c", udp="127.76.0.9:1", interval=SECOND)
    assert check_type.takes(definition)
    assert not check_type.takes(CheckType(tcp="x:1"))
    World(host)
    check_type.make_runner(definition, host).start()
    host.reactor.advance(1)
    host.reactor.advance(10)
    assert host.reports == [("c", "passing", "UDP connect 127.76.0.9:1: Success")]
