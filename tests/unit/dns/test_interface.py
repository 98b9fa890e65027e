"""Listeners: datagrams, connections, and how they end."""

import struct
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from consultwist.config.runtime import ListenAddress
from consultwist.dns import interface as module
from consultwist.dns.interface import (
    IDLE_TIMEOUT_S,
    DNSDatagrams,
    DNSInterface,
    DNSStreamFactory,
)
from consultwist.errors import ConfigError
from consultwist.interfaces import IAgentInterface
from consultwist.structs.catalog import Node
from consultwist.testing.catalog import CatalogFake
from consultwist.testing.resolver import ResolverReactor

PEER = IPv4Address("TCP", "192.0.2.9", 40000)


class Wire(StringTransport):
    """A connection that remembers how it ended."""

    aborted = False

    def abortConnection(self):
        self.aborted = True


@pytest.fixture
def world(dns_world):
    """An agent over one node."""
    catalog = CatalogFake("dc1")
    catalog.register(Node(node="n1", address="10.0.0.1"))
    return dns_world(catalog)


def framed(message):
    """Return a message with its length."""
    return struct.pack(">H", len(message)) + message


def messages(data):
    """Return the messages of a stream."""
    found = []
    while data:
        size = struct.unpack_from(">H", data)[0]
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return found


# --- binding -------------------------------------------------------------------------


class Taken:
    """A reactor whose addresses are all taken, or not its own."""

    def listenUDP(self, port, protocol, interface="", **_):
        raise CannotListenError(interface, port, OSError(98, "Address in use"))

    def listenTCP(self, port, factory, interface="", **_):
        raise CannotListenError(interface, port, OSError("no number"))


def test_all_addresses_that_cannot_be_bound_are_told(world):
    """In one error, so that a user can mend them at once."""
    agent: Any = world.agent
    agent.reactor = Taken()
    agent.config = attrs.evolve(
        agent.config,
        dns_addrs=(
            ListenAddress("tcp", "192.0.2.7", 8600),
            ListenAddress("udp", "2001:db8::7", 8600),
        ),
    )
    agent.plugins = SimpleNamespace(dns_forms=())
    service: Any = DNSInterface().make_service(agent)
    with pytest.raises(ConfigError) as caught:
        service.startService()
    assert str(caught.value) == (
        "2 errors occurred:\n"
        "\t* listen tcp 192.0.2.7:8600: bind: no number\n"
        "\t* listen udp [2001:db8::7]:8600: bind: address already in use\n\n"
    )


# --- datagrams -----------------------------------------------------------------------


def datagrams(responder):
    """Return a protocol and what it sends."""
    sent: list[tuple[bytes, object]] = []
    protocol = DNSDatagrams(responder)
    socket = SimpleNamespace(sendto=lambda data, to: sent.append((data, to)))
    port: Any = SimpleNamespace(socket=socket)
    protocol.transport = port
    protocol.startProtocol()
    return protocol, sent


def test_datagrams_are_answered_to_their_sender(world, dns_query):
    """What deserves no answer gets none."""
    protocol, sent = datagrams(world.responder)
    protocol.datagramReceived(dns_query("n1.node.consul"), ("192.0.2.9", 4242))
    protocol.datagramReceived(b"junk", ("192.0.2.9", 4242))
    ((answer, peer),) = sent
    assert peer == ("192.0.2.9", 4242)
    assert answer[:2] == dns_query("n1.node.consul")[:2]


def test_late_answers_are_sent_when_they_are_known(world, dns_query):
    """To whoever asked."""
    reply = world.catalog.methods()["Catalog.NodeServices"]
    waiting: Deferred[object] = Deferred()
    world.agent.methods["Catalog.NodeServices"] = lambda request: waiting
    protocol, sent = datagrams(world.responder)
    protocol.datagramReceived(dns_query("n1.node.consul"), ("192.0.2.9", 4242))
    assert sent == []
    waiting.callback(reply(world.agent.calls[0][1]))
    assert [peer for _, peer in sent] == [("192.0.2.9", 4242)]


def test_a_full_socket_loses_an_answer_only(world, dns_query):
    """The next question is answered."""
    protocol, sent = datagrams(world.responder)
    send = protocol._send

    def refuse(*_):
        raise BlockingIOError

    protocol._send = refuse
    protocol.datagramReceived(dns_query("n1.node.consul"), ("192.0.2.9", 1))
    protocol._send = send
    protocol.datagramReceived(dns_query("n1.node.consul"), ("192.0.2.9", 2))
    assert [peer for _, peer in sent] == [("192.0.2.9", 2)]


# --- connections ---------------------------------------------------------------------


@pytest.fixture
def connect(world):
    """Open connections to one listener."""
    factory = DNSStreamFactory(world.agent.reactor, world.responder)

    def make():
        protocol = factory.buildProtocol(PEER)
        if protocol is None:
            return None, None
        wire = Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    make.factory = factory  # type: ignore[attr-defined]
    return make


def test_questions_come_in_pieces_and_in_numbers(connect, dns_query):
    """Answers keep the order of the questions."""
    protocol, wire = connect()
    data = b"".join(
        framed(struct.pack(">H", i) + dns_query("n1.node.consul")[2:]) for i in range(5)
    )
    for index in range(0, len(data), 7):
        protocol.dataReceived(data[index : index + 7])
    answers = messages(wire.value())
    assert [answer[:2] for answer in answers] == [
        struct.pack(">H", i) for i in range(5)
    ]


def test_a_late_answer_holds_the_next_question(connect, world, dns_query):
    """Nothing is read meanwhile: what waits is bounded by the connection's buffers."""
    reply = world.catalog.methods()["Catalog.NodeServices"]
    waiting: Deferred[object] = Deferred()
    world.agent.methods["Catalog.NodeServices"] = lambda request: waiting
    protocol, wire = connect()
    protocol.dataReceived(
        framed(dns_query("n1.node.consul")) + framed(dns_query("7f000001.addr.consul"))
    )
    assert wire.value() == b""
    assert wire.producerState == "paused"
    waiting.callback(reply(world.agent.calls[0][1]))
    assert wire.producerState == "producing"
    assert len(messages(wire.value())) == 2


def test_silent_connections_are_closed(connect, world, dns_query):
    """Each question gives new time."""
    protocol, wire = connect()
    world.agent.reactor.advance(IDLE_TIMEOUT_S - 1)
    protocol.dataReceived(framed(dns_query("n1.node.consul")))
    world.agent.reactor.advance(IDLE_TIMEOUT_S - 1)
    assert not wire.aborted
    protocol.dataReceived(b"\0")
    world.agent.reactor.advance(2)
    assert wire.aborted


def test_connections_have_an_upper_number(connect, monkeypatch):
    """One that ends makes room."""
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 2)
    first, _ = connect()
    assert connect()[0] is not None
    assert connect()[0] is None
    first.connectionLost(Failure(ConnectionDone()))
    assert connect()[0] is not None


def test_a_lost_connection_takes_its_question_along(connect, world, dns_query):
    """Nothing is left waiting, and no timer."""
    cancelled: list[object] = []
    world.agent.methods["Catalog.NodeServices"] = lambda request: Deferred(
        cancelled.append
    )
    protocol, _ = connect()
    protocol.dataReceived(framed(dns_query("n1.node.consul")))
    protocol.connectionLost(Failure(ConnectionDone()))
    assert len(cancelled) == 1
    assert world.agent.reactor.getDelayedCalls() == []


# --- the service ---------------------------------------------------------------------


def test_the_interface_listens_where_it_is_told(world, dns_config):
    """On all addresses, for both transports, until it is stopped."""
    reactor = ResolverReactor(lambda *_: None)
    world.agent.reactor = reactor
    world.agent.plugins = SimpleNamespace(dns_forms=())
    world.agent.config = dns_config(
        dns_addrs=(
            ListenAddress("tcp", "127.0.0.1", 8600),
            ListenAddress("udp", "127.0.0.1", 8600),
            ListenAddress("udp", "127.0.0.2", 8600),
        )
    )
    plugin = DNSInterface()
    assert verifyObject(IAgentInterface, plugin)
    service = plugin.make_service(world.agent)
    assert service is not None
    service.privilegedStartService()
    service.startService()
    ((port, factory, _, host),) = reactor.tcpServers
    assert (port, host) == (8600, "127.0.0.1")
    assert len(reactor.sockets) == 2
    protocol = factory.buildProtocol(PEER)
    assert protocol is not None
    wire = Wire()
    protocol.makeConnection(wire)
    done: list[object] = []
    service.stopService().addCallback(done.append)
    assert len(done) == 1
    assert wire.aborted
    assert all(socket.closed for socket in reactor.sockets)


def test_the_interface_can_be_switched_off(world, dns_config):
    """Without addresses there is no service."""
    world.agent.config = dns_config(dns_addrs=())
    assert DNSInterface().make_service(world.agent) is None
