"""The UDP socket of a pool."""

import socket

from consultwist.gossip.udp import PacketPort


class FakeSocket:
    """Keeps what is sent; grants a receive buffer up to a bound."""

    def __init__(self, *, buffer_max=1 << 30, error=None):
        self.sent = []
        self.buffer = 0
        self.buffer_max = buffer_max
        self.error = error

    def setsockopt(self, level, option, value):
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVBUF)
        if value > self.buffer_max:
            raise OSError("too much")
        self.buffer = value

    def sendto(self, data, address):
        if self.error is not None:
            raise self.error
        self.sent.append((data, address))


class FakeTransport:
    """The part of a UDP port that is used."""

    def __init__(self, host, sock):
        self.host = host
        self.socket = sock

    def getHost(self):
        return self


def port(host="10.0.0.1", **options):
    received = []
    packets = PacketPort(lambda data, source: received.append((data, source)))
    sock = FakeSocket(**options)
    packets.transport = FakeTransport(host, sock)  # type: ignore[assignment]
    packets.startProtocol()
    return packets, sock, received


def test_the_receive_buffer_is_raised_as_far_as_the_kernel_allows():
    """Two MiB, or half as often as needed."""
    assert port()[1].buffer == 2 * 1024 * 1024
    assert port(buffer_max=600_000)[1].buffer == 512 * 1024
    assert port(buffer_max=1)[1].buffer == 0


def test_packets_go_out_by_the_socket_and_come_in_by_the_protocol():
    """One system call out; the source is host and port."""
    packets, sock, received = port()
    packets.send(b"x", ("10.0.0.2", 8301))
    packets.datagramReceived(b"y", ("10.0.0.3", 1))
    assert sock.sent == [(b"x", ("10.0.0.2", 8301))]
    assert received == [(b"y", ("10.0.0.3", 1))]
    packets.stopProtocol()


def test_an_ipv6_socket_serves_ipv4_members():
    """Their addresses are mapped on the way out and plain on the way in."""
    packets, sock, received = port("::")
    packets.send(b"x", ("10.0.0.2", 8301))
    packets.send(b"x", ("fe80::2", 8301))
    packets.datagramReceived(b"y", ("::ffff:10.0.0.3", 1, 0, 0))
    packets.datagramReceived(b"y", ("fe80::3", 1, 0, 0))
    assert [address[0] for _, address in sock.sent] == ["::ffff:10.0.0.2", "fe80::2"]
    assert [source[0] for _, source in received] == ["10.0.0.3", "fe80::3"]


def test_a_packet_that_cannot_be_sent_is_counted():
    """A full buffer or a missing route loses the packet, nothing else."""
    packets, _, _ = port(error=BlockingIOError())
    packets.send(b"x", ("10.0.0.2", 8301))
    assert packets.unsent == 1
