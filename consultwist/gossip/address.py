"""Addresses: text for sockets, bytes on the wire, and which ones are allowed.

An IPv4 address is always 4 bytes: old members compare addresses bytewise, so that
the same host in its 16-byte mapped form would be a name conflict.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache

from consultwist.errors import BadRequest, ConfigError, WireError

#: The host as text and the port, as sockets want them.
Address = tuple[str, int]

_MAPPED = b"\x00" * 10 + b"\xff\xff"

#: One entry per member of a very large pool.
_CACHE_SIZE = 16384


@lru_cache(maxsize=_CACHE_SIZE)
def ip_bytes(host: str) -> bytes:
    """Return the wire form of an address: 4 bytes, or 16 for IPv6.

    Raises:
        ConfigError: where the text is no IP address.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return canonical(socket.inet_pton(family, host.partition("%")[0]))
        except OSError:
            continue
    raise ConfigError(f"not an IP address: {host!r}")


def canonical(ip: bytes) -> bytes:
    """Return the 4-byte form of a mapped IPv4 address, anything else unchanged."""
    return ip[12:] if len(ip) == 16 and ip.startswith(_MAPPED) else ip


@lru_cache(maxsize=_CACHE_SIZE)
def ip_text(ip: bytes) -> str:
    """Return the text of an address from the wire.

    Raises:
        WireError: where it has neither 4 nor 16 bytes.
    """
    ip = canonical(ip)
    if len(ip) == 4:
        return socket.inet_ntop(socket.AF_INET, ip)
    if len(ip) == 16:
        return socket.inet_ntop(socket.AF_INET6, ip)
    raise WireError("gossip: an address of odd size")


def source_filter(networks: Iterable[str] | None) -> Callable[[str], bool]:
    """Return a test whether a host lies in one of `networks`; None allows all.

    Raises:
        ConfigError: where a network is not in CIDR form.
    """
    if networks is None:
        return lambda _host: True
    try:
        allowed = [ipaddress.ip_network(text, strict=False) for text in networks]
    except ValueError as error:
        raise ConfigError(f"invalid cidr: {error}") from error

    @lru_cache(maxsize=_CACHE_SIZE)
    def is_allowed(host: str) -> bool:
        ip = ipaddress.ip_address(ip_text(ip_bytes(host)))
        return any(ip in network for network in allowed)

    return is_allowed


def split_host_port(text: str, default_port: int) -> Address:
    """Return host and port of ``host``, ``host:port``, ``ip6`` or ``[ip6]:port``.

    Raises:
        BadRequest: where the port is none.
    """
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not port:
        return host, default_port
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise BadRequest(f"address {text}: invalid port")
    return host, int(port)


def format_address(address: Address) -> str:
    """Return ``host:port``, an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
