"""Connecting to ``host:port``, with the words that Go's ``net`` uses when it fails.

Users read these words as the output of their checks, and match them in their
monitoring, so they are part of the contract.
"""

import os
import socket
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

#: The least time that each of several addresses is given: as Go's dialer.
ADDRESS_TIMEOUT_MIN_S = 2.0


class DialError(Exception):
    """No connection came about; the text is Go's."""


@attrs.frozen
class HostPort:
    """The two parts of an address, the port still as a user writes it."""

    host: str
    port: str


def split_host_port(address: str) -> HostPort:
    """Split ``host:port`` or ``[host]:port``.

    Raises:
        DialError: with the words of Go's ``net.SplitHostPort``.
    """
    colon = address.rfind(":")
    if colon < 0:
        raise _address_error(address, "missing port in address")
    if address.startswith("["):
        end = address.find("]")
        if end < 0:
            raise _address_error(address, "missing ']' in address")
        if end + 1 == len(address):
            raise _address_error(address, "missing port in address")
        if end + 1 != colon:
            found = "too many colons" if address[end + 1] == ":" else "missing port"
            raise _address_error(address, f"{found} in address")
        host = address[1:end]
    else:
        host = address[:colon]
        if ":" in host:
            raise _address_error(address, "too many colons in address")
    for bracket in "[]":
        if bracket in host + address[colon:]:
            raise _address_error(address, f"unexpected '{bracket}' in address")
    return HostPort(host, address[colon + 1 :])


def _address_error(address: str, reason: str) -> DialError:
    return DialError(f"dial tcp: address {address}: {reason}")


def port_number(port: str) -> int:
    """Return the number of a port given as digits or as a service name.

    Raises:
        DialError: where there is no such port.
    """
    if not port:
        return 0
    digits = port[1:] if port[0] in "+-" else port
    if digits.isdecimal() and digits.isascii():
        number = int(port) if len(port) < 10 else -1
        if not 0 <= number <= 65535:
            raise _address_error(port, "invalid port")
        return number
    try:
        return socket.getservbyname(port, "tcp")
    except (OSError, UnicodeError) as error:
        raise _address_error(f"tcp/{port}", "unknown port") from error


def join_host_port(host: str, port: int | str) -> str:
    """Return ``host:port``, with brackets where the host has colons."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def dial(
    reactor: Any,
    target: HostPort,
    protocol: Callable[[], Protocol],
    timeout_s: float,
    wrap: Callable[[IStreamClientEndpoint], IStreamClientEndpoint] | None = None,
) -> IProtocol:
    """Connect to the first address of a host that answers.

    Args:
        reactor: provides IReactorTCP, IReactorTime, IReactorPluggableNameResolver.
        target: the host and the port.
        protocol: makes the protocol that gets the connection.
        timeout_s: the time for all addresses together.
        wrap: puts TLS around an endpoint, where wanted.

    Raises:
        DialError: with the failure of the first address.
    """
    port = port_number(target.port)
    addresses = await _addresses(reactor, target.host)
    deadline = reactor.seconds() + timeout_s
    first_error: DialError | None = None
    for number, address in enumerate(addresses):
        left_s = deadline - reactor.seconds()
        share_s = max(left_s / (len(addresses) - number), ADDRESS_TIMEOUT_MIN_S)
        endpoint = _endpoint(reactor, address, port, min(left_s, share_s))
        factory = Factory.forProtocol(protocol)
        try:
            made: IProtocol = await (wrap(endpoint) if wrap else endpoint).connect(
                factory
            )
        except ConnectError as error:
            shown = join_host_port(address if target.host else "", port)
            failed = DialError(f"dial tcp {shown}: {_reason(error)}")
            first_error = first_error or failed
            if reactor.seconds() >= deadline:
                break
        else:
            return made
    assert first_error is not None
    raise first_error


def _endpoint(
    reactor: Any, address: str, port: int, timeout_s: float
) -> IStreamClientEndpoint:
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, address, port, timeout=timeout_s)
    return endpoint


def _reason(error: ConnectError) -> str:
    number = error.osError
    if isinstance(error, ConnectTimeout) and not number:
        return "i/o timeout"
    if isinstance(number, int):
        return f"connect: {os.strerror(number).lower()}"
    return f"connect: {error}"


async def _addresses(reactor: Any, host: str) -> list[str]:
    if not host:
        return ["127.0.0.1"]
    if is_ip_address(host):
        return [host]
    addresses = await resolve(reactor, host)
    if not addresses:
        raise DialError(f"dial tcp: lookup {host}: no such host")
    # As Go's dialer: IPv4 first, since it has been told to prefer neither and most
    # services listen there.
    return sorted(addresses, key=lambda address: ":" in address)


def is_ip_address(text: str) -> bool:
    """Tell whether a text is an address rather than a name."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        socket.inet_pton(family, text.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def resolve(reactor: Any, host: str) -> Deferred[list[str]]:
    """Ask the reactor's resolver for the addresses of a name."""
    receiver = _AddressList()
    try:
        reactor.nameResolver.resolveHostName(receiver, host)
    except UnicodeError:
        # A label that IDNA cannot encode; there is no such host.
        receiver.resolutionComplete()
    return receiver.result


@implementer(IResolutionReceiver)
class _AddressList:
    """Collects the addresses of a name."""

    def __init__(self) -> None:
        self.result: Deferred[list[str]] = Deferred()
        self._addresses: list[str] = []

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        """Hear that the resolver has begun; it cannot be stopped."""

    def addressResolved(self, address: IAddress) -> None:
        """Take one address."""
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        """Hand out what came."""
        self.result.callback(list(dict.fromkeys(self._addresses)))
