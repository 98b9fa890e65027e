"""IntervalRunner: the part that all checks share which probe at an interval.

The first run comes at a random moment of the first interval, so that the checks of an
agent spread out; each further run one interval after the end of the one before, so
that a slow check never overlaps itself.

Results are damped by thresholds. The counters begin there, as in Consul, so that the
very first result is published; only a check that has changed direction is held back.
"""

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.expectations import Cautions
from consultwist.checks.outcome import CRITICAL, WARNING, Outcome
from consultwist.interfaces import ICheckHost, ICheckRunner
from consultwist.structs.catalog import CheckType

log = Logger()

#: Runs a check once. The Deferred is cancelled where the check is stopped.
Probe = Callable[[], "Deferred[Outcome]"]


class Thresholds:
    """Decides which results of a check are published, and as what.

    Args:
        successes: so many in a row are needed for a check to pass or to warn.
        failures: so many for it to be critical.
        warnings: so many failures make it warn already; 0 for as many as `failures`.
    """

    def __init__(self, successes: int, failures: int, warnings: int = 0) -> None:
        self._successes_needed = successes
        self._failures_needed = failures
        self._warnings_needed = warnings or failures
        self._successes = successes
        self._failures = failures

    def admit(self, status: str) -> str | None:
        """Count a result; returns the status to publish, None for no change."""
        if status == CRITICAL:
            self._failures += 1
            self._successes = 0
            if self._failures >= self._failures_needed:
                return CRITICAL
            return WARNING if self._failures >= self._warnings_needed else None
        self._successes += 1
        self._failures = 0
        return status if self._successes >= self._successes_needed else None


@implementer(ICheckRunner)
class IntervalRunner:
    """Runs a probe again and again and reports what it finds."""

    def __init__(self, definition: CheckType, host: ICheckHost, probe: Probe) -> None:
        self._check_id = definition.check_id
        self._interval_s = definition.interval / durations.SECOND
        self._host = host
        self._probe = probe
        self._thresholds = Thresholds(
            definition.success_before_passing,
            definition.failures_before_critical,
            definition.failures_before_warning,
        )
        self._cautions = Cautions(definition)
        self._began_s = 0.0
        self._timer: IDelayedCall | None = None
        self._running: Deferred[Outcome] | None = None
        self._stopped = False

    def start(self) -> None:
        """Run first at a random moment of the interval, then at each interval."""
        self._schedule(self._host.rng.random() * self._interval_s)

    def stop(self) -> None:
        """Stop; a probe that is under way is cancelled and not reported."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None:
            self._running.cancel()

    def _schedule(self, delay_s: float) -> None:
        self._timer = self._host.reactor.callLater(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._began_s = self._host.clock.monotonic()
        self._running = running = maybeDeferred(self._probe)
        running.addErrback(self._broken).addCallback(self._finished)

    def _broken(self, failure: Failure) -> Outcome:
        if not self._stopped:
            log.failure("check {check} is broken", failure, check=self._check_id)
        return Outcome(CRITICAL, failure.getErrorMessage(), damped=False)

    def _finished(self, outcome: Outcome) -> None:
        self._running = None
        if self._stopped:
            return
        self._schedule(self._interval_s)
        clock = self._host.clock
        took_s = clock.monotonic() - self._began_s
        self._report(self._cautions.apply(outcome, took_s, clock.wall()))

    def _report(self, outcome: Outcome) -> None:
        status: str | None = outcome.status
        if outcome.damped:
            status = self._thresholds.admit(outcome.status)
        if status is None:
            log.warn(
                "check has not reached its threshold: check={check} status={status}",
                check=self._check_id,
                status=outcome.status,
            )
            return
        self._host.report(self._check_id, status, outcome.output)
