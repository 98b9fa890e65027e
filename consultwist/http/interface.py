"""The HTTP interface as a plugin: listeners on TCP, TLS and unix sockets."""

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

from consultwist.errors import ConfigError
from consultwist.http.direct import listen_tcp, listen_unix
from consultwist.http.protocol import HTTPProtocol, HTTPSProtocol
from consultwist.http.router import Route
from consultwist.http.site import Site
from consultwist.http.ui import ui_routes
from consultwist.interfaces import IAgent, IAgentInterface

log = Logger()


@implementer(IAgentInterface)
class HTTPInterface:
    """Answers the HTTP API."""

    name = "http"

    def make_service(self, agent: IAgent) -> IService | None:
        """Make the listeners, with the routes of all endpoints that are installed."""
        if not agent.config.http_addrs and not agent.config.https_addrs:
            return None
        routes = (
            route
            for endpoint in agent.plugins.http_endpoints
            for route in endpoint.routes(agent)
        )
        return HTTPService(agent, chain(routes, ui_routes(agent.config)))


class HTTPService(Service):
    """Listens on the configured addresses.

    Raises:
        ConfigError: where two endpoints claim the same path.
    """

    name = "http"

    def __init__(self, agent: IAgent, routes: Iterable[Route]) -> None:
        self.site = Site(agent, routes)
        self._agent = agent
        self._ports: list[Any] = []

    def privilegedStartService(self) -> None:
        """Bind while that is still allowed."""
        self._listen()

    def startService(self) -> None:
        """Bind, where that was not done before."""
        super().startService()
        self._listen()

    def stopService(self) -> Deferred[Any]:
        """Close the listeners and all connections."""
        ports, self._ports = self._ports, []
        closed = [maybeDeferred(port.stopListening) for port in ports]
        self.site.close()
        return DeferredList([*closed, maybeDeferred(super().stopService)])

    def reconfigure(self, config: Any) -> None:
        """Take over what can change at run time."""
        self.site.reconfigure(config)

    @property
    def addresses(self) -> list[IAddress]:
        """Where the listeners are bound."""
        return [port.getHost() for port in self._ports]

    def _listen(self) -> None:
        if self._ports:
            return
        config = self._agent.config
        for address in config.http_addrs:
            self._ports.append(self._bind(address, HTTPFactory(self.site)))
        if config.https_addrs:
            factory = self._tls_factory(config)
            for address in config.https_addrs:
                self._ports.append(self._bind(address, factory))

    def _bind(self, address: Any, factory: Any) -> Any:
        reactor = self._agent.reactor
        log.info("Started HTTP server: {address}", address=str(address))
        if address.is_unix:
            return bind_unix(reactor, address.host, factory, self._agent.config)
        return listen_tcp(reactor, address.host, address.port, factory)

    def _tls_factory(self, config: Any) -> Any:
        # Late, because OpenSSL costs memory and most agents serve no HTTPS.
        from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: PLC0415

        from consultwist.http.tls import server_context  # noqa: PLC0415

        plain = HTTPFactory(self.site, HTTPSProtocol)
        site = self.site

        class Factory(TLSMemoryBIOFactory):
            """Refuses clients with too many connections before TLS begins."""

            noisy = False

            def buildProtocol(self, addr: IAddress | None) -> Any:
                return (
                    super().buildProtocol(addr)
                    if site.has_room(_client_of(addr))
                    else None
                )

        return Factory(server_context(config), False, plain, self._agent.reactor)


class HTTPFactory(ServerFactory):
    """Makes the protocols of one listener."""

    noisy = False

    def __init__(self, site: Site, protocol: type[HTTPProtocol] = HTTPProtocol) -> None:
        self._site = site
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> HTTPProtocol | None:
        """Return a protocol, or None for a client with too many connections."""
        client = _client_of(addr)
        if not self._site.has_room(client):
            # Stock Consul 1.8 closes without an answer, too.
            return None
        return self._protocol(self._site, client, getattr(addr, "port", 0))


def _client_of(address: IAddress | None) -> str:
    return str(getattr(address, "host", ""))


def bind_unix(reactor: Any, path: str, factory: ServerFactory, config: Any) -> Any:
    """Listen on a unix socket with the configured owner and mode.

    Raises:
        ConfigError: where something else is at that path, or a name is not known.
    """
    remove_stale_socket(path)
    mode = _mode(config.unix_socket_mode)
    port = listen_unix(reactor, path, factory, mode)
    user = _user_id(config.unix_socket_user)
    group = _group_id(config.unix_socket_group)
    if user != -1 or group != -1:
        os.chown(path, user, group)
    return port


def remove_stale_socket(path: str) -> None:
    """Remove the socket that an earlier run left behind.

    Raises:
        ConfigError: where the path is taken by something else.
    """
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"cannot listen on {path}: it exists and is no socket")
    Path(path).unlink()


def _mode(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text, 8)
    except ValueError as error:
        raise ConfigError(f"invalid unix socket mode {text!r}") from error


def _user_id(name: str) -> int:
    if not name or name.isdigit():
        return int(name or -1)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise ConfigError(f"unknown unix socket user {name!r}") from error


def _group_id(name: str) -> int:
    if not name or name.isdigit():
        return int(name or -1)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigError(f"unknown unix socket group {name!r}") from error
