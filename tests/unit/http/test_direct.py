"""Connections that write at once."""

import socket
from typing import Any

import pytest
from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.protocol import Protocol

from consultwist.http.direct import DirectServer, DirectUNIXServer, DirectWrite


class _Reactor:
    """Records which descriptors want to be called."""

    def __init__(self):
        self.writers = []

    def addReader(self, reader):  # noqa: N802 - Twisted's
        pass

    def removeReader(self, reader):  # noqa: N802 - Twisted's
        pass

    def addWriter(self, writer):  # noqa: N802 - Twisted's
        self.writers.append(writer)

    def removeWriter(self, writer):  # noqa: N802 - Twisted's
        if writer in self.writers:
            self.writers.remove(writer)


class _Port:
    """Stands for the listening port of a connection."""

    _realPortNumber = 0  # noqa: N815 - Twisted's
    factory = None


@pytest.fixture(params=[DirectServer, DirectUNIXServer])
def connected(request):
    """Return a connection, its reactor and the client's socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reactor: Any = _Reactor()
    port: Any = _Port()
    protocol = Protocol()
    if request.param is DirectServer:
        connection: Any = DirectServer(ours, protocol, ("c", 1), port, 1, reactor)
    else:
        connection = DirectUNIXServer(ours, protocol, "", port, 1, reactor)
    protocol.makeConnection(connection)
    yield connection, reactor, theirs
    ours.close()
    theirs.close()


def test_what_fits_leaves_at_once(connected):
    """A small answer needs no turn of the reactor."""
    connection, reactor, theirs = connected
    connection.write(b"answer")
    assert theirs.recv(100) == b"answer"
    assert reactor.writers == []


def test_what_does_not_fit_is_queued_in_order(connected):
    """The rest waits for the reactor, and later writes wait behind it."""
    connection, reactor, theirs = connected
    data = bytes(range(256)) * 16384
    connection.write(data)
    connection.write(b"later")
    assert reactor.writers
    theirs.setblocking(False)
    received = bytearray()
    for _ in range(1000):
        try:
            received += theirs.recv(1 << 20)
        except BlockingIOError:
            if not reactor.writers:
                break
            connection.doWrite()
    assert bytes(received) == data + b"later"


def test_nothing_is_sent_on_a_closing_connection(connected):
    """After the connection is being closed, writes go Twisted's way."""
    connection, _, theirs = connected
    connection.loseConnection()
    connection.write(b"late")
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(10)


def test_a_gone_client_is_left_to_twisted(connected):
    """A broken connection is met by the reactor, not by whoever wrote."""
    connection, reactor, theirs = connected
    theirs.close()
    for _ in range(3):
        connection.write(b"x")
    assert set(reactor.writers) == {connection}


def test_twisted_keeps_its_queue_where_we_look():
    """The trick rests on these attributes: look at `http.direct` if this fails."""
    reactor: Any = _Reactor()
    descriptor = FileDescriptor(reactor)
    assert descriptor.dataBuffer == b""
    assert descriptor._tempDataBuffer == []
    assert descriptor._writeDisconnected is False
    assert (descriptor.connected, descriptor.disconnecting) == (0, 0)
    descriptor.connected = 1
    descriptor.write(b"x")
    assert descriptor._tempDataBuffer == [b"x"]
    assert tcp.Port.transport is tcp.Server
    assert unix.Port.transport is unix.Server
    assert DirectServer.__mro__[1:3] == (DirectWrite, tcp.Server)
