"""HTTP/2 ping checks: a ping that is acknowledged is enough."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import DialError, split_host_port
from consultwist.checks.http2 import HTTP2Error, HTTP2Session
from consultwist.checks.outcome import CRITICAL, PASSING, Outcome
from consultwist.checks.runner import IntervalRunner
from consultwist.checks.secure_dial import SecureDial
from consultwist.checks.tls import UntrustedCertificate
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

#: How long a ping may take where the check asks for no timeout: Consul's default.
TIMEOUT_DEFAULT = 10 * durations.SECOND


@implementer(ICheckType)
class H2PingCheck:
    """Checks that ping over HTTP/2."""

    kind = "h2ping"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with an address to ping."""
        return bool(definition.h2ping)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what pings at the check's interval."""
        return IntervalRunner(definition, host, H2PingProbe(definition, host).run)


class _PingError(Exception):
    """No ping came back; the text is the check's output."""


class H2PingProbe:
    """Connects, pings once, and closes the connection."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._address = definition.h2ping
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._reactor: Any = host.reactor
        self._dial = SecureDial(
            definition, host, use_tls=definition.h2ping_use_tls, protocols=(b"h2",)
        )

    def run(self) -> Deferred[Outcome]:
        """Ping once."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        session = HTTP2Session(body_max=0)
        try:
            pinged = Deferred.fromCoroutine(self._ping(session))
            end = await within(self._reactor, pinged, self._timeout_s)
        except TimeoutError:
            return Outcome(CRITICAL, "HTTP2 ping failed: context deadline exceeded")
        except _PingError as error:
            return Outcome(CRITICAL, str(error))
        finally:
            session.close()
        return Outcome(PASSING, "HTTP2 ping was successful", certificate_end=end)

    async def _ping(self, session: HTTP2Session) -> float | None:
        tls = None
        try:
            target = split_host_port(self._address)
            tls = self._dial.tls_for(target)
            await self._dial.connect(target, lambda: session, self._timeout_s, tls)
            await session.ready
            await session.ping()
        except DialError as error:
            raise _PingError(f"Failed to dial to {self._address}: {error}") from error
        except (ConnectionClosed, HTTP2Error, SSL.Error, UntrustedCertificate) as error:
            fault = tls.fault(error) if tls is not None else ""
            if fault:
                text = f"Failed to dial to {self._address}: {fault}"
            else:
                text = "HTTP2 ping failed: http2: client connection lost"
            raise _PingError(text) from error
        return None if tls is None else tls.certificate_end
