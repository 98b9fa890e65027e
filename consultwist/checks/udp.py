"""UDP checks: an empty datagram that nobody refuses is enough.

Silence is no fault, since most services do not answer what they do not understand; a
port where nobody listens is told by ICMP.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import (
    DialError,
    is_ip_address,
    join_host_port,
    port_number,
    resolve,
    split_host_port,
)
from consultwist.checks.outcome import CRITICAL, PASSING, Outcome
from consultwist.checks.runner import IntervalRunner
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

#: How long an answer is waited for where the check asks for no timeout: Consul's.
TIMEOUT_DEFAULT = 10 * durations.SECOND


@implementer(ICheckType)
class UDPCheck:
    """Checks that send a datagram."""

    kind = "udp"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with a UDP address."""
        return bool(definition.udp)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what sends at the check's interval."""
        return IntervalRunner(definition, host, UDPProbe(definition, host).run)


class UDPProbe:
    """Sends one datagram, and waits for an answer or a refusal."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._address = definition.udp
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._reactor: Any = host.reactor

    def run(self) -> Deferred[Outcome]:
        """Send once."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        try:
            found = Deferred.fromCoroutine(self._find())
            host, port = await within(self._reactor, found, self._timeout_s)
        except TimeoutError:
            return Outcome(CRITICAL, f"dial udp {self._address}: i/o timeout")
        except DialError as error:
            return Outcome(CRITICAL, str(error).replace("dial tcp", "dial udp"))
        datagrams = _Datagrams(host, port)
        try:
            interface = "::" if ":" in host else ""
            listening = self._reactor.listenUDP(0, datagrams, interface=interface)
        except OSError as error:
            return Outcome(CRITICAL, f"dial udp {self._address}: {error}")
        try:
            await within(self._reactor, datagrams.answered, self._timeout_s)
        except TimeoutError:
            pass
        except OSError as error:
            shown = join_host_port(host, port)
            return Outcome(CRITICAL, f"read udp {shown}: {error}")
        finally:
            listening.stopListening()
        return Outcome(PASSING, f"UDP connect {self._address}: Success")

    async def _find(self) -> tuple[str, int]:
        target = split_host_port(self._address)
        port = port_number(target.port)
        if not target.host or is_ip_address(target.host):
            return target.host or "127.0.0.1", port
        addresses = await resolve(self._reactor, target.host)
        if not addresses:
            raise DialError(f"dial udp: lookup {target.host}: no such host")
        return min(addresses, key=lambda address: ":" in address), port


class _Datagrams(DatagramProtocol):
    """A socket that knows one peer only."""

    noisy = False

    def __init__(self, host: str, port: int) -> None:
        self._peer = (host, port)
        self.answered: Deferred[None] = Deferred()

    def startProtocol(self) -> None:
        """Connect, so that a refusal is told to us, and send."""
        transport: Any = self.transport
        transport.connect(*self._peer)
        try:
            transport.write(b"")
        except OSError as error:
            self._finish(error)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take any answer."""
        del datagram, addr
        self._finish(None)

    def connectionRefused(self) -> None:
        """Hear that nobody listens there."""
        self._finish(ConnectionRefusedError("read: connection refused"))

    def stopProtocol(self) -> None:
        """Take an end that nobody asked for as a refusal.

        That is how it is told by the epoll reactor, which closes a socket at the first
        error of it.
        """
        self._finish(ConnectionRefusedError("read: connection refused"))

    def _finish(self, error: OSError | None) -> None:
        if self.answered.called:
            return
        if error is None:
            self.answered.callback(None)
        else:
            self.answered.errback(error)
