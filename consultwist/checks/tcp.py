"""TCP checks: a connection that comes about is enough."""

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.dial import DialError, dial, split_host_port
from consultwist.checks.outcome import CRITICAL, PASSING, Outcome
from consultwist.checks.runner import IntervalRunner
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


class TCPProbe:
    """Connects once and closes the connection."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._address = definition.tcp
        self._timeout_s = (definition.timeout or TIMEOUT_DEFAULT) / durations.SECOND
        self._reactor = host.reactor

    def run(self) -> Deferred[Outcome]:
        """Connect once."""
        return Deferred.fromCoroutine(self._run())

    async def _run(self) -> Outcome:
        try:
            target = split_host_port(self._address)
            made = Deferred.fromCoroutine(
                dial(self._reactor, target, Protocol, self._timeout_s)
            )
            # The name server, too, has no more than the timeout.
            connection = await within(self._reactor, made, self._timeout_s)
        except TimeoutError:
            return Outcome(CRITICAL, f"dial tcp {self._address}: i/o timeout")
        except DialError as error:
            return Outcome(CRITICAL, str(error))
        assert isinstance(connection, Protocol)
        assert connection.transport is not None
        connection.transport.loseConnection()
        return Outcome(PASSING, f"TCP connect {self._address}: Success")
