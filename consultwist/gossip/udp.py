"""Packets over UDP, always from the listening socket.

A member answers to the address that a packet came from where the packet names none, so
one socket does both.
"""

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import DatagramProtocol

from consultwist.gossip.address import Address

#: A datagram never holds more.
PACKET_READ_SIZE = 65536

#: memberlist's udpRecvBufSize, halved until the kernel grants it.
_RECEIVE_BUFFER_SIZE = 2 * 1024 * 1024
_RECEIVE_BUFFER_MIN = 64 * 1024

_MAPPED = "::ffff:"


class PacketPort(DatagramProtocol):
    """Sends and receives the packets of a pool.

    Args:
        received: takes a packet and where it came from.
    """

    noisy = False

    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received
        self._socket: Any = None
        self._is_v6 = False
        self.unsent = 0

    def startProtocol(self) -> None:
        """Raise the kernel's receive buffer, for the bursts of a large pool."""
        assert self.transport is not None
        self._is_v6 = ":" in self.transport.getHost().host
        self._socket = getattr(self.transport, "socket", None)
        size = _RECEIVE_BUFFER_SIZE
        while self._socket is not None and size >= _RECEIVE_BUFFER_MIN:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                return
            except OSError:
                size //= 2

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take a packet."""
        host: str = addr[0]
        if self._is_v6 and host.startswith(_MAPPED):
            host = host.removeprefix(_MAPPED)
        self._received(datagram, (host, addr[1]))

    def send(self, data: bytes, address: Address) -> None:
        """Send a packet now or never: gossip repeats what matters."""
        if self._is_v6 and ":" not in address[0]:
            address = (_MAPPED + address[0], address[1])
        try:
            if self._socket is not None:
                self._socket.sendto(data, address)
            elif self.transport is not None:
                self.transport.write(data, address)
        except OSError:
            self.unsent += 1

    def stopProtocol(self) -> None:
        """Send nothing any more."""
        self._socket = None
