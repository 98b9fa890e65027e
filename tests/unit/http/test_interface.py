"""The HTTP interface as a plugin."""

import socket
import stat
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from consultwist.errors import ConfigError
from consultwist.http.interface import (
    HTTPFactory,
    HTTPInterface,
    bind_unix,
    remove_stale_socket,
)
from consultwist.http.router import collect_routes, route
from consultwist.interfaces import IAgentInterface
from consultwist.testing.http import HTTPAgent, HTTPSettings, make_site, parse_answer


class _Endpoints:
    """One route."""

    def __init__(self, agent):
        self.agent = agent

    @route("GET", "/v1/hello")
    def hello(self, request):
        return request.client


class _Routes:
    """A plugin with one route."""

    name = "hello"

    def routes(self, agent):
        return collect_routes(_Endpoints(agent))


class _Address:
    """A TCP address as the configuration has it."""

    network = "tcp"
    is_unix = False

    def __init__(self, host, port):
        self.host = host
        self.port = port


def _agent(endpoints=(), **addresses):
    config = SimpleNamespace(
        **attrs.asdict(HTTPSettings(), recurse=False),
        http_addrs=addresses.get("http", ()),
        https_addrs=addresses.get("https", ()),
        unix_socket_mode="",
        unix_socket_user="",
        unix_socket_group="",
    )
    agent = HTTPAgent(config)
    agent.plugins = SimpleNamespace(http_endpoints=endpoints)
    return agent


def test_it_is_an_interface_of_the_agent():
    """The plugin provides what the agent asks for."""
    assert verifyObject(IAgentInterface, HTTPInterface())


def test_it_is_off_without_addresses():
    """No address, no service."""
    assert HTTPInterface().make_service(_agent()) is None


def test_it_listens_where_configured():
    """Each address gets a listener, which serves the routes of all endpoints."""
    agent = _agent(
        [_Routes()], http=(_Address("127.0.0.1", 8500), _Address("10.0.0.1", 80))
    )
    service: Any = HTTPInterface().make_service(agent)
    service.privilegedStartService()
    service.startService()
    bound = [(port, host) for port, _, _, host in agent.reactor.tcpServers]
    assert bound == [(8500, "127.0.0.1"), (80, "10.0.0.1")]
    assert len(service.addresses) == 2
    factory = agent.reactor.tcpServers[0][1]
    protocol = factory.buildProtocol(IPv4Address("TCP", "10.9.8.7", 4000))
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(b"GET /v1/hello HTTP/1.1\r\nHost: x\r\n\r\n")
    answer, _ = parse_answer(transport.value())
    assert answer.json == "10.9.8.7"
    service.reconfigure(agent.config)
    service.stopService()
    assert transport.disconnecting


def test_two_plugins_may_not_claim_one_path():
    """The start is stopped, and both are named."""
    agent = _agent([_Routes(), _Routes()], http=(_Address("127.0.0.1", 8500),))
    with pytest.raises(ConfigError, match="GET /v1/hello is claimed by"):
        HTTPInterface().make_service(agent)


def _https(agent, **settings):
    """Return a service that listens for HTTPS."""
    for name, value in {**_NO_FILES, **settings}.items():
        setattr(agent.config, name, value)
    return HTTPInterface().make_service(agent)


_NO_FILES = {
    "cert_file": "",
    "key_file": "",
    "ca_file": "",
    "ca_path": "",
    "tls_min_version": "tls12",
    "tls_cipher_suites": (),
    "tls_prefer_server_cipher_suites": False,
    "verify_incoming": False,
    "verify_incoming_https": False,
}


def test_https_listens_without_a_certificate():
    """As the stock agent does, although no client can connect."""
    agent = _agent([_Routes()], https=(_Address("127.0.0.1", 8501),))
    _https(agent).startService()
    assert [bound[0] for bound in agent.reactor.tcpServers] == [8501]


def test_a_certificate_needs_its_key():
    """One without the other stops the start."""
    agent = _agent([_Routes()], https=(_Address("127.0.0.1", 8501),))
    with pytest.raises(ConfigError, match="cert_file and key_file"):
        _https(agent, cert_file="cert.pem").startService()


def test_clients_with_too_many_connections_are_turned_away():
    """Over the limit a connection is closed without an answer."""
    agent = HTTPAgent(HTTPSettings(http_max_conns_per_client=1))
    factory = HTTPFactory(make_site(_Endpoints, agent))
    address = IPv4Address("TCP", "10.0.0.1", 4000)
    first = factory.buildProtocol(address)
    assert first is not None
    first.makeConnection(StringTransport())
    assert factory.buildProtocol(address) is None
    assert factory.buildProtocol(IPv4Address("TCP", "10.0.0.2", 4000)) is not None


def test_only_a_stale_socket_is_removed(tmp_path):
    """What an earlier run left is removed; anything else is left alone."""
    path = tmp_path / "s.sock"
    remove_stale_socket(str(path))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    remove_stale_socket(str(path))
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        remove_stale_socket(str(path))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("unix_socket_mode", "rwx"),
        ("unix_socket_user", "nobody-of-that-name"),
        ("unix_socket_group", "no-such-group"),
    ],
)
def test_owners_and_modes_of_sockets_are_checked(tmp_path, key, value):
    """Names that do not exist are refused in words."""
    agent = _agent()
    setattr(agent.config, key, value)
    factory = HTTPFactory(make_site(_Endpoints))
    with pytest.raises(ConfigError, match=value):
        bind_unix(agent.reactor, str(tmp_path / "s"), factory, agent.config)
