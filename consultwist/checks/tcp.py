"""TCP checks: a connection that comes about is enough."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import DialError, split_host_port
from consultwist.checks.outcome import CRITICAL, PASSING, Outcome
from consultwist.checks.runner import IntervalRunner
from consultwist.checks.secure_dial import SecureDial
from consultwist.checks.tls import UntrustedCertificate
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

#: How long a connection may take where the check asks for no timeout: Consul's.
TIMEOUT_DEFAULT = 10 * durations.SECOND


@implementer(ICheckType)
class TCPCheck:
    """Checks that connect to an address."""

    kind = "tcp"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with a TCP address."""
        return bool(definition.tcp)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what connects at the check's interval."""
        return IntervalRunner(definition, host, TCPProbe(definition, host).run)


@implementer(IHandshakeListener)
class _Connection(Protocol):
    """Tells when the connection can be used: over TLS, after the handshake."""

    def __init__(self, *, use_tls: bool) -> None:
        self._use_tls = use_tls
        self.usable: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Be content, unless TLS is still to come."""
        if not self._use_tls:
            self.usable.callback(None)

    def handshakeCompleted(self) -> None:
        """Be content with a handshake whose certificate was accepted."""
        if not self.usable.called:
            self.usable.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell why the handshake failed, unless it is over."""
        if not self.usable.called:
            self.usable.errback(reason)


class TCPProbe:
    """Connects once and closes the connection."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._address = definition.tcp
        self._use_tls = definition.tcp_use_tls
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._reactor = host.reactor
        self._dial = SecureDial(definition, host, use_tls=self._use_tls)

    def run(self) -> Deferred[Outcome]:
        """Connect once."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        connection = _Connection(use_tls=self._use_tls)
        try:
            made = Deferred.fromCoroutine(self._connect(connection))
            # The name server, too, has no more than the timeout.
            end = await within(self._reactor, made, self._timeout_s)
        except TimeoutError:
            _abort(connection)
            return Outcome(CRITICAL, f"dial tcp {self._address}: i/o timeout")
        except DialError as error:
            _abort(connection)
            return Outcome(CRITICAL, str(error))
        assert connection.transport is not None
        connection.transport.loseConnection()
        what = "TCP+TLS" if self._use_tls else "TCP"
        text = f"{what} connect {self._address}: Success"
        return Outcome(PASSING, text, certificate_end=end)

    async def _connect(self, connection: _Connection) -> float | None:
        target = split_host_port(self._address)
        tls = self._dial.tls_for(target)
        await self._dial.connect(target, lambda: connection, self._timeout_s, tls)
        try:
            await connection.usable
        except (ConnectionClosed, SSL.Error, UntrustedCertificate) as error:
            fault = "" if tls is None else tls.fault(error)
            raise DialError(fault or "EOF") from error
        if tls is None:
            return None
        if tls.verdict:
            # Twisted tells of the handshake all the same.
            raise DialError(tls.verdict)
        return tls.certificate_end


def _abort(connection: _Connection) -> None:
    transport: Any = connection.transport
    if transport is not None:
        transport.abortConnection()
