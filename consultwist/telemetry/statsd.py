"""statsd and DogStatsD: each observation as a line in a UDP datagram.

Lines are gathered until a datagram is full or a second has passed, so that an agent
that does nothing sends nothing. What cannot be sent at once is lost, as is the way of
these protocols: nothing is ever kept for a server that is not there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.interfaces import ITelemetrySink

log = Logger()

#: A datagram of this size passes an Ethernet whole; the same as Consul's.
DATAGRAM_SIZE_MAX = 1400

#: How long a line waits for others. Consul waits 100 ms and wakes ten times as often.
FLUSH_AFTER_S = 1.0

_CLEAN = str.maketrans(": ", "__")


class DatagramBatch(Service):
    """Gathers lines and sends them to one server."""

    def __init__(self, reactor: Any, address: str) -> None:
        """Prepare to send.

        Args:
            reactor: provides IReactorUDP, IReactorTime and, for names, IReactorCore.
            address: the server as ``host:port``; the port is 8125 where missing.
        """
        self._reactor = reactor
        host, _, port = address.rpartition(":")
        self._host, self._port = (host, int(port)) if host else (address, 8125)
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._protocol: DatagramProtocol | None = None
        self._ip = ""

    def startService(self) -> None:
        """Open the socket and find the server."""
        super().startService()
        self._protocol = DatagramProtocol()
        self._reactor.listenUDP(0, self._protocol)
        found = self._reactor.resolve(self._host.strip("[]"))
        found.addCallbacks(self._found, self._not_found)

    def stopService(self) -> None:
        """Send what has been gathered and close the socket."""
        super().stopService()
        self._flush()
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.stopListening()
        self._protocol = None

    def write(self, line: str) -> None:
        """Take a line; it leaves within a second."""
        data = line.encode("utf-8", "replace")
        if self._size + len(data) + 1 > DATAGRAM_SIZE_MAX:
            self._flush()
        self._lines.append(data)
        self._size += len(data) + 1
        if self._timer is None:
            self._timer = self._reactor.callLater(FLUSH_AFTER_S, self._flush)

    def _found(self, ip: str) -> None:
        self._ip = ip

    def _not_found(self, failure: Failure) -> None:
        log.warn(
            "cannot resolve the metrics server {host}: {error}",
            host=self._host,
            error=failure.getErrorMessage(),
        )

    def _flush(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        transport = self._protocol.transport if self._protocol is not None else None
        if not lines or not self._ip or transport is None:
            return
        data = b"\n".join(lines) + b"\n"
        try:
            transport.write(data, (self._ip, self._port))
        except OSError as error:
            log.debug("metrics were lost: {error}", error=error)


@implementer(ITelemetrySink)
class StatsdSink(DatagramBatch):
    """Sends observations to a statsd server; values of labels become parts of names."""

    def counter(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""
        self.write(f"{_flat(name, labels)}:{value:f}|c")

    def gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge."""
        self.write(f"{_flat(name, labels)}:{value:f}|g")

    def sample(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Record one observation."""
        self.write(f"{_flat(name, labels)}:{value:f}|ms")


def _flat(name: str, labels: Mapping[str, str]) -> str:
    whole = ".".join([name, *labels.values()]) if labels else name
    return whole.translate(_CLEAN)


@implementer(ITelemetrySink)
class DogStatsdSink(DatagramBatch):
    """Sends observations to a DogStatsD server, labels as tags.

    The name of this host is taken out of the names of gauges, because that server
    knows by itself where a datagram comes from.
    """

    def __init__(
        self, reactor: Any, address: str, tags: Sequence[str], hostname: str
    ) -> None:
        """Prepare to send; `tags` go with every observation."""
        super().__init__(reactor, address)
        self._tags = tuple(tags)
        self._hostname = hostname

    def counter(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter; the protocol counts in whole numbers."""
        self._send(name, f"{int(value)}|c", labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge."""
        self._send(name, f"{value:f}|g", labels)

    def sample(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Record one observation."""
        self._send(name, f"{value:f}|ms", labels)

    def _send(self, name: str, value: str, labels: Mapping[str, str]) -> None:
        if self._hostname:
            name = name.replace(f".{self._hostname}.", ".", 1)
        own = (f"{k}:{v}" if v else k for k, v in labels.items())
        tags = ",".join(tag.replace("\n", "") for tag in (*self._tags, *own))
        end = f"|#{tags}" if tags else ""
        self.write(f"{name.translate(_CLEAN)}:{value}{end}")
