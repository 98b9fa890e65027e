"""Which addresses the agent binds and tells others, worked out from several keys."""

import ipaddress

import attrs

from consultwist.config.address_template import expand
from consultwist.config.merge import Merged
from consultwist.config.network import InterfaceAddress, is_private
from consultwist.config.problems import Problems
from consultwist.config.runtime import ListenAddress
from consultwist.errors import ConfigError

_UNIX = "unix://"
_ANY = ("0.0.0.0", "::")  # noqa: S104 - recognized, not bound
_PORT_MAX = 65535


@attrs.frozen
class BoundAddresses:
    """The addresses of all listeners; the attributes are those of `RuntimeConfig`."""

    bind_addr: str
    advertise_addr_lan: str
    advertise_addr_wan: str
    client_addrs: tuple[str, ...]
    dns_addrs: tuple[ListenAddress, ...]
    http_addrs: tuple[ListenAddress, ...]
    https_addrs: tuple[ListenAddress, ...]
    grpc_addrs: tuple[ListenAddress, ...]
    rpc_bind_addr: ListenAddress
    rpc_advertise_addr: ListenAddress
    serf_bind_addr_lan: ListenAddress
    serf_bind_addr_wan: ListenAddress | None
    serf_advertise_addr_lan: ListenAddress
    serf_advertise_addr_wan: ListenAddress | None
    tagged_addresses: dict[str, str]


@attrs.frozen
class AddressReader:
    """Reads addresses out of a merged configuration.

    Attributes:
        merged: the configuration.
        interfaces: the addresses of this machine.
        problems: where mistakes are noted.
    """

    merged: Merged
    interfaces: list[InterfaceAddress]
    problems: Problems

    def port(self, name: str) -> int:
        """Return a port; -1 where it is turned off."""
        path = f"ports.{name}"
        port = int(self.merged.value(path))
        if port > _PORT_MAX:
            self.problems.error(f"{path}: invalid port: {port}")
        return port if 0 < port <= _PORT_MAX else -1

    def fields(self, path: str, text: str) -> list[str]:
        """Return the words of a text after its templates were expanded."""
        try:
            return expand(text, lambda: self.interfaces).split()
        except ConfigError as error:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            self.problems.error(f'{path}: error parsing "{quoted}": {error}')
            return []

    def words(self, path: str) -> tuple[str, ...]:
        """Return the texts of a list, those with a template expanded."""
        words: list[str] = []
        for text in self.merged.value(path):
            words += self.fields(path, text) if "{{" in text else [text]
        return tuple(words)

    def addresses(self, path: str) -> list[str]:
        """Return IP addresses and Unix sockets; none where one is wrong."""
        found: list[str] = []
        for word in self.fields(path, self.merged.value(path)):
            if word.startswith(_UNIX):
                found.append(word)
                continue
            try:
                found.append(str(ipaddress.ip_address(word)))
            except ValueError:
                self.problems.error(f"{path}: invalid ip address: {word}")
                return []
        return found

    def ip_addresses(self, path: str) -> list[str]:
        """Return IP addresses; none where there is a Unix socket."""
        found = self.addresses(path)
        if any(address.startswith(_UNIX) for address in found):
            self.problems.error(f"{path} cannot be a unix socket")
            return []
        return found

    def one_ip_address(self, path: str, default: str) -> str:
        """Return the one IP address of a key, or the default where it has none."""
        found = self.ip_addresses(path)
        if len(found) > 1:
            self.problems.error(f"{path}: multiple addresses found: {' '.join(found)}")
        return found[0] if len(found) == 1 else default

    def listeners(
        self, name: str, port: int, clients: list[str]
    ) -> tuple[ListenAddress, ...]:
        """Return where an interface listens: its own addresses, or the clients'."""
        found = self.addresses(f"addresses.{name}") or clients
        return tuple(
            ListenAddress("unix", address.removeprefix(_UNIX))
            if address.startswith(_UNIX)
            else ListenAddress("tcp", address, port)
            for address in found
            if port > 0 or address.startswith(_UNIX)
        )


def read_addresses(reader: AddressReader) -> BoundAddresses:
    """Work out all addresses.

    Raises:
        ConfigError: where the agent could not be reached.
    """
    bind = _bind_address(reader)
    advertise = reader.one_ip_address("advertise_addr", bind)
    if advertise in _ANY:
        advertise = _detect(reader.interfaces, advertise)
    server, lan, wan = (reader.port(n) for n in ("server", "serf_lan", "serf_wan"))
    serf_lan = reader.one_ip_address("serf_lan", bind)
    serf_wan = reader.one_ip_address("serf_wan", bind) if wan > 0 else ""
    advertise_lan = reader.one_ip_address("advertise_addr", advertise)
    tagged = _family_tags(reader, "lan", "advertise_addr", advertise_lan)
    advertise_wan = reader.one_ip_address("advertise_addr_wan", advertise_lan)
    tagged |= _family_tags(reader, "wan", "advertise_addr_wan", advertise_wan)
    clients = reader.ip_addresses("client_addr")
    dns = reader.listeners("dns", reader.port("dns"), clients)
    udp = [attrs.evolve(a, network="udp") for a in dns if not a.is_unix]
    return BoundAddresses(
        bind_addr=bind,
        advertise_addr_lan=advertise_lan,
        advertise_addr_wan=advertise_wan,
        client_addrs=tuple(clients),
        dns_addrs=(*dns, *udp),
        http_addrs=reader.listeners("http", reader.port("http"), clients),
        https_addrs=reader.listeners("https", reader.port("https"), clients),
        grpc_addrs=reader.listeners("grpc", reader.port("grpc"), clients),
        rpc_bind_addr=ListenAddress("tcp", bind, server),
        rpc_advertise_addr=ListenAddress("tcp", advertise_lan, server),
        serf_bind_addr_lan=ListenAddress("tcp", serf_lan, lan),
        serf_bind_addr_wan=ListenAddress("tcp", serf_wan, wan) if wan > 0 else None,
        serf_advertise_addr_lan=ListenAddress("tcp", advertise_lan, lan),
        serf_advertise_addr_wan=(
            ListenAddress("tcp", advertise_wan, wan) if wan > 0 else None
        ),
        tagged_addresses={**reader.merged.value("tagged_addresses"), **tagged},
    )


def _bind_address(reader: AddressReader) -> str:
    found = reader.addresses("bind_addr")
    if not found:
        raise ConfigError("bind_addr cannot be empty")
    if len(found) > 1:
        raise ConfigError(
            "bind_addr cannot contain multiple addresses. "
            "Use 'addresses.{dns,http,https}' instead."
        )
    if found[0].startswith(_UNIX):
        raise ConfigError("bind_addr cannot be a unix socket")
    for key, name in (("advertise_addr", ""), ("advertise_addr_wan", "WAN ")):
        if reader.merged.value(key) in (*_ANY, "[::]"):
            raise ConfigError(f"Advertise {name}address cannot be 0.0.0.0, :: or [::]")
    return found[0]


def _family_tags(
    reader: AddressReader, tag: str, path: str, address: str
) -> dict[str, str]:
    """Return the tagged addresses of a pool: in general, and by address family."""
    tags = {tag: address}
    version = ipaddress.ip_address(address).version
    for family in (4, 6):
        own = address if version == family else ""
        key = f"{path}_ipv{family}"
        found = reader.one_ip_address(key, own)
        if found and ipaddress.ip_address(found).version != family:
            raise ConfigError(f"{key} must be an ipv{family} address")
        if found:
            tags[f"{tag}_ipv{family}"] = found
    return tags


def _detect(interfaces: list[InterfaceAddress], unspecified: str) -> str:
    """Find the address to tell others where the agent binds to all of them."""
    version, private = (4, True) if unspecified == _ANY[0] else (6, False)
    kind = "private IPv4" if private else "public IPv6"
    found = [
        each.address.ip
        for each in interfaces
        if each.address.version == version
        and not each.address.is_loopback
        and is_private(each.address.ip) == private
    ]
    if not found:
        raise ConfigError(f"No {kind} address found")
    if len(found) > 1:
        raise ConfigError(
            f"Multiple {kind} addresses found. "
            "Please configure one with 'bind' and/or 'advertise'."
        )
    return str(found[0])
