"""Listening ports whose connections write at once.

Twisted's `write` only queues: the bytes leave in the next turn of the reactor, after
two calls of ``epoll_ctl`` and another wake-up. Trying the socket first saves a third
of the whole cost of a small answer. It rests on two attributes of Twisted's
`FileDescriptor`, ``dataBuffer`` and ``_tempDataBuffer``, which hold what is queued;
a test watches over them.
"""

import os
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ServerFactory

#: Connections that wait to be accepted; Twisted's own default of 50 loses some of a
#: thousand that come at once.
BACKLOG = 1024


class DirectWrite:
    """Mixed into a Twisted connection: tries the socket before it queues."""

    # What Twisted's connection gives; declared for the type checker only.
    connected: int
    disconnecting: int
    dataBuffer: bytes  # noqa: N815 - Twisted's
    _writeDisconnected: bool  # noqa: N815 - Twisted's
    _tempDataBuffer: list[bytes]  # noqa: N815 - Twisted's
    socket: Any

    def write(self, data: bytes) -> None:
        """Send what the socket takes now and queue the rest."""
        if (
            self.connected
            and not self.disconnecting
            and not self._writeDisconnected
            and not self.dataBuffer
            and not self._tempDataBuffer
        ):
            try:
                sent = self.socket.send(data)
            except OSError:
                # The queue meets it again, and reports it where it is an error.
                sent = 0
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
        super().write(data)  # type: ignore[misc]  # the connection's


class DirectServer(DirectWrite, tcp.Server):
    """A TCP connection that writes at once."""


class DirectPort(tcp.Port):
    """A listening TCP port whose connections write at once."""

    transport = DirectServer


class DirectUNIXServer(DirectWrite, unix.Server):
    """A unix connection that writes at once."""


class DirectUNIXPort(unix.Port):
    """A listening unix socket whose connections write at once."""

    transport = DirectUNIXServer


def listen_tcp(reactor: Any, host: str, port: int, factory: ServerFactory) -> Any:
    """Listen on a TCP port; returns what Twisted's ``listenTCP`` would.

    Reactors that are not built on file descriptors, such as a simulated one, listen in
    their own way.
    """
    if not isinstance(reactor, PosixReactorBase):
        return reactor.listenTCP(port, factory, BACKLOG, host)
    listening = DirectPort(port, factory, BACKLOG, host, reactor)
    listening.startListening()
    return listening


def listen_unix(
    reactor: Any, path: str, factory: ServerFactory, mode: int | None
) -> Any:
    """Listen on a unix socket; returns what Twisted's ``listenUNIX`` would."""
    if not isinstance(reactor, PosixReactorBase):
        return reactor.listenUNIX(path, factory, BACKLOG, mode)
    mode = 0o666 if mode is None else mode
    listening: Any = DirectUNIXPort(os.fsencode(path), factory, BACKLOG, mode, reactor)
    listening.startListening()
    return listening
