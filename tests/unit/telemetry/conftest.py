"""A world for metrics whose time a test advances."""

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock as TwistedClock
from zope.interface import implementer

from consultwist.interfaces import ITelemetrySink
from consultwist.telemetry.metrics import Metrics
from consultwist.testing.clock import ReactorClock


class Datagrams:
    """A UDP transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.is_open = True
        self.error: OSError | None = None

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Keep a datagram."""
        if self.error is not None:
            raise self.error
        self.sent.append((data, address))

    def stopListening(self) -> None:
        """Close."""
        self.is_open = False


class UDPReactor(TwistedClock):
    """A reactor with time and datagrams."""

    def __init__(self) -> None:
        super().__init__()
        self.datagrams = Datagrams()
        self.answer: Deferred[str] | None = None

    def listenUDP(self, port: int, protocol: Any) -> Any:
        """Connect the protocol to what keeps its datagrams."""
        protocol.transport = self.datagrams
        return self.datagrams

    def resolve(self, name: str) -> Deferred[str]:
        """Return what the test has laid down, or the name itself."""
        return self.answer or succeed(name)


@implementer(ITelemetrySink)
@attrs.define
class Sink:
    """Keeps what it is given."""

    seen: list[tuple[str, str, float, dict[str, str]]] = attrs.Factory(list)

    def counter(self, name, value, labels):
        """Keep a count."""
        self.seen.append(("counter", name, value, dict(labels)))

    def gauge(self, name, value, labels):
        """Keep a gauge."""
        self.seen.append(("gauge", name, value, dict(labels)))

    def sample(self, name, value, labels):
        """Keep a sample."""
        self.seen.append(("sample", name, value, dict(labels)))


@pytest.fixture
def reactor() -> UDPReactor:
    """A reactor whose time stands still."""
    return UDPReactor()


@pytest.fixture
def clock(reactor: UDPReactor) -> ReactorClock:
    """The time of that reactor."""
    # No multiple of ten seconds.
    return ReactorClock(reactor, 1_700_000_003.0)


@pytest.fixture
def metrics(reactor: UDPReactor, clock: ReactorClock) -> Metrics:
    """A registry without sinks."""
    return Metrics(reactor, clock)


@pytest.fixture
def sink() -> Sink:
    """A sink that keeps what it is given."""
    return Sink()
