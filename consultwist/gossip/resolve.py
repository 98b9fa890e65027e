"""Finding the addresses behind what a user gives to join."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from consultwist.errors import BadRequest, ConfigError
from consultwist.gossip.address import Address, ip_bytes, ip_text, split_host_port

#: A name with more addresses than this is not a pool's.
ADDRESSES_MAX = 64


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._found: dict[Address, None] = {}
        self.done: Deferred[list[Address]] = Deferred()

    def resolutionBegan(
        self,
        resolutionInProgress: IHostResolution,  # noqa: N803 - the same
    ) -> None:
        """Wait for addresses."""

    def addressResolved(self, address: IAddress) -> None:
        """Take one address."""
        if len(self._found) < ADDRESSES_MAX and isinstance(
            address, (IPv4Address, IPv6Address)
        ):
            self._found[address.host, self._port] = None

    def resolutionComplete(self) -> None:
        """Give what was found."""
        if self._found:
            self.done.callback(list(self._found))
        else:
            error = BadRequest(f"lookup {self._host}: no such host")
            self.done.errback(error)


def resolve(reactor: Any, text: str, default_port: int) -> Deferred[list[Address]]:
    """Return the addresses that a join address stands for.

    Args:
        reactor: has a name resolver with timeouts of its own.
        text: ``host``, ``host:port`` or ``[ip6]:port``, after a ``name/`` or not.
        default_port: the port where the text has none.
    """
    host, port = split_host_port(text.rpartition("/")[2], default_port)
    try:
        return succeed([(ip_text(ip_bytes(host)), port)])
    except ConfigError:
        resolver: IReactorPluggableNameResolver = reactor
        receiver = _Receiver(host, port)
        kinds: Sequence[Any] = (IPv4Address, IPv6Address)
        resolver.nameResolver.resolveHostName(receiver, host, port, kinds, "TCP")
        return receiver.done
