"""Servers and pools on simulated hosts."""

import random
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol

from consultwist.acl.authorizer import PUBLIC
from consultwist.config.runtime import ListenAddress
from consultwist.errors import ConsultwistError
from consultwist.host import Host
from consultwist.rpc.dial import Dialer
from consultwist.rpc.dispatch import Dispatcher, Method
from consultwist.rpc.listener import RPCListener
from consultwist.rpc.pool import ConnectionPool
from consultwist.rpc.replies import reply_type
from consultwist.rpc.security import Security
from consultwist.structs.kv import KeyRequest
from consultwist.testing.clock import SimClock
from consultwist.testing.network import Network
from consultwist.testing.sim_host import SimHost

SERVER = "10.0.0.1"
CLIENT = "10.0.0.2"
ADDRESS = f"{SERVER}:8300"


def settings(**more: Any) -> Any:
    """Return what security and listener look at in a configuration."""
    given = {
        "rpc_bind_addr": ListenAddress("tcp", SERVER, 8300),
        "rpc_handshake_timeout": 5.0,
        "rpc_max_conns_per_client": 100,
        "cert_file": "",
        "key_file": "",
        "ca_file": "",
        "ca_path": "",
        "verify_incoming": False,
        "verify_incoming_rpc": False,
        "verify_outgoing": False,
        "verify_server_hostname": False,
        "dns_domain": "consul.",
        "tls_min_version": "tls12",
        "tls_cipher_suites": (),
        "tls_prefer_server_cipher_suites": False,
    }
    return SimpleNamespace(**(given | more))


class Raw(Protocol):
    """A connection whose bytes a test looks at."""

    def __init__(self, data: bytes) -> None:
        self.to_send = data
        self.received = b""
        self.is_lost = False

    def connectionMade(self) -> None:
        """Write what there is to write."""
        self.write(self.to_send)

    def write(self, data: bytes) -> None:
        """Write bytes."""
        assert self.transport is not None
        self.transport.write(data)

    def end(self) -> None:
        """Write no more."""
        transport: Any = self.transport
        transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        """Note the end."""
        self.is_lost = True


class World:
    """A server whose methods a test can watch, and a client's pool."""

    def __init__(self, *, server: Any = None, client: Any = None) -> None:
        self.clock = SimClock()
        self.network = Network(self.clock, random.Random(1))
        self.hosts = {ip: SimHost(self.network, ip) for ip in (SERVER, CLIENT)}
        self.asked: list[KeyRequest] = []
        self.waiting: list[Deferred[Any]] = []
        self.cancelled: list[Deferred[Any]] = []
        self.dispatcher = Dispatcher(
            [
                Method(
                    name="Echo.Say",
                    request=KeyRequest,
                    acl=PUBLIC,
                    reply=reply_type(str),
                    run=lambda *_: None,
                )
            ]
        )
        self.raft: list[Any] = []
        self.server_security = Security(server or settings(), self.hosts[SERVER])
        self.listener = self.make_listener(server or settings())
        self.listener.startService()
        self.client_security = Security(client or settings(), self.hosts[CLIENT])
        self.dialer = Dialer(self.hosts[CLIENT], self.client_security, CLIENT)
        self.pool = ConnectionPool(self.hosts[CLIENT], self.clock, self.dialer)

    def make_listener(self, config: Any) -> RPCListener:
        host = Host(self.hosts[SERVER], self.clock, random.Random(2))
        return RPCListener(host, config, self.server_security, self, {1: self.raft.pop})

    def answer(self, method: Method, request: Any) -> Any:
        """Do what the key says."""
        assert method.name == "Echo.Say"
        self.asked.append(request)
        if request.key == "wait":
            done: Deferred[Any] = Deferred(self.cancelled.append)
            self.waiting.append(done)
            return done
        if request.key == "fail":
            raise ConsultwistError("it failed")
        if request.key == "break":
            raise ZeroDivisionError("secret detail")
        return request.key

    def say(self, key: str, method: str = "Echo.Say", **options: Any) -> Deferred[Any]:
        """Call the method; fires with the raw reply."""
        request = KeyRequest(key=key)
        return self.pool.call(ADDRESS, "dc1", method, request.pack(), **options)

    def run(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def dial(self, data: bytes = b"", port: int = 8300) -> "Raw":
        """Open a plain connection from the client and write bytes to it."""
        raw = Raw(data)
        factory = ClientFactory()
        factory.buildProtocol = lambda _: raw  # type: ignore[method-assign,assignment]
        self.hosts[CLIENT].connectTCP(SERVER, port, factory)
        self.run(0.5)
        return raw

    @property
    def connections(self) -> int:
        """Tell how many connections the server has."""
        return len(self.listener._connections)
