"""Checks run at their interval, one at a time, and their results are damped."""

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface.verify import verifyObject

from consultwist.checks.outcome import CRITICAL, PASSING, WARNING, Outcome
from consultwist.checks.runner import IntervalRunner, Thresholds
from consultwist.interfaces import ICheckRunner
from consultwist.structs.catalog import CheckType

TEN_S = 10_000_000_000


class Probe:
    """A probe whose answers a test gives."""

    def __init__(self) -> None:
        self.runs: list[Deferred[Outcome]] = []
        self.cancelled = 0

    def __call__(self) -> Deferred[Outcome]:
        """Begin a run."""
        self.runs.append(Deferred(self._cancel))
        return self.runs[-1]

    def _cancel(self, run: Deferred[Outcome]) -> None:
        self.cancelled += 1

    def answer(self, status: str, output: str = "") -> None:
        """End the run that is under way."""
        self.runs[-1].callback(Outcome(status, output))


def make_runner(host, probe, **fields):
    """Make a runner of a ten-second check."""
    definition = CheckType(check_id="c", interval=TEN_S, **fields)
    return IntervalRunner(definition, host, probe)


def test_first_run_comes_at_a_random_moment_of_the_interval(host):
    """The first run comes within one interval, at a moment that chance decides."""
    probe = Probe()
    expected = type(host.rng)(7).random() * 10
    make_runner(host, probe).start()
    host.reactor.advance(expected - 0.001)
    assert probe.runs == []
    host.reactor.advance(0.001)
    assert len(probe.runs) == 1


def test_a_slow_check_never_overlaps_itself(host):
    """The next run comes one interval after the end of the one before."""
    probe = Probe()
    make_runner(host, probe).start()
    host.reactor.advance(10)
    host.reactor.advance(35)
    assert len(probe.runs) == 1
    probe.answer(PASSING, "fine")
    host.reactor.advance(9.9)
    assert len(probe.runs) == 1
    host.reactor.advance(0.1)
    assert len(probe.runs) == 2
    assert host.reports == [("c", PASSING, "fine")]


def test_a_stopped_check_reports_nothing(host):
    """Stopping cancels the run under way and reports neither it nor another."""
    probe = Probe()
    runner = make_runner(host, probe)
    verifyObject(ICheckRunner, runner)
    runner.start()
    host.reactor.advance(10)
    runner.stop()
    assert probe.cancelled == 1
    assert host.reports == []
    assert host.reactor.getDelayedCalls() == []


def test_a_check_stopped_before_its_first_run_never_runs(host):
    """Stopping before the first run leaves no timer behind."""
    runner = make_runner(host, Probe())
    runner.start()
    runner.stop()
    assert host.reactor.getDelayedCalls() == []


def test_a_probe_that_breaks_is_critical_and_goes_on(host):
    """A fault in a check type turns the check critical; the next run still comes."""
    answers = [fail(RuntimeError("boom")), succeed(Outcome(PASSING, "well"))]
    make_runner(host, lambda: answers.pop(0)).start()
    host.reactor.advance(10)
    host.reactor.advance(10)
    assert host.reports == [("c", CRITICAL, "boom"), ("c", PASSING, "well")]


def test_the_very_first_result_is_published_whatever_the_thresholds(host):
    """As in Consul, thresholds hold back only a check that has changed direction."""
    thresholds = Thresholds(successes=4, failures=3)
    assert thresholds.admit(CRITICAL) == CRITICAL
    passes = [thresholds.admit(PASSING) for _ in range(4)]
    assert passes == [None, None, None, PASSING]
    failures = [thresholds.admit(CRITICAL) for _ in range(3)]
    assert failures == [None, None, CRITICAL]


def test_failures_can_make_a_check_warn_before_it_is_critical(host):
    """Once ``failures_before_warning`` is reached, until the critical threshold is."""
    thresholds = Thresholds(successes=0, failures=4, warnings=2)
    assert thresholds.admit(PASSING) == PASSING
    failures = [thresholds.admit(CRITICAL) for _ in range(5)]
    assert failures == [None, WARNING, WARNING, CRITICAL, CRITICAL]


def test_a_warning_counts_as_a_success(host):
    """A warning adds to the successes and zeroes the failures."""
    thresholds = Thresholds(successes=2, failures=2)
    assert thresholds.admit(CRITICAL)
    assert not thresholds.admit(WARNING)
    assert thresholds.admit(PASSING)
    assert not thresholds.admit(CRITICAL)


def test_held_back_results_are_not_reported(host):
    """Failures below the threshold leave the published status as it is."""
    probe = Probe()
    make_runner(host, probe, failures_before_critical=2).start()
    for status in (PASSING, CRITICAL, PASSING, CRITICAL, CRITICAL):
        host.reactor.advance(10)
        probe.answer(status)
    assert [status for _, status, _ in host.reports] == [PASSING, PASSING, CRITICAL]


def test_undamped_results_bypass_the_thresholds(host):
    """A script that timed out is critical at once."""
    outcomes = [Outcome(PASSING, ""), Outcome(CRITICAL, "late", damped=False)]
    runner = make_runner(
        host, lambda: succeed(outcomes.pop(0)), failures_before_critical=5
    )
    runner.start()
    host.reactor.advance(10)
    host.reactor.advance(10)
    assert host.reports[-1] == ("c", CRITICAL, "late")


def test_a_probe_that_cannot_begin_is_critical_and_goes_on(host):
    """A fault before there is anything to wait for is treated like any other."""
    calls = []

    def probe():
        calls.append(1)
        raise OSError(24, "Too many open files")

    make_runner(host, probe).start()
    host.reactor.advance(10)
    host.reactor.advance(10)
    assert len(calls) == 2
    assert host.reports[0][1] == CRITICAL
    assert "Too many open files" in host.reports[0][2]
