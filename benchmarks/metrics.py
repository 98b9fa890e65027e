"""What counting costs: microseconds for each observation.

    python benchmarks/metrics.py

A counter by name must stay below half a microsecond on an idle machine. The figures
are the best of five rounds; the last two are a turn of the reactor with and without
the monitor of turns.
"""

import timeit
from types import SimpleNamespace

from twisted.internet.task import Clock

from consultwist.clock import SystemClock
from consultwist.telemetry.metrics import Metrics
from consultwist.telemetry.turns import TurnMonitor

ROUNDS, CALLS = 5, 200_000


class Poller:
    """A poller that finds nothing."""

    def poll(self, *_args: object) -> list[object]:
        """Return at once."""
        return []


def main() -> None:
    """Measure and print."""
    metrics = Metrics(Clock(), SystemClock())
    reactor = SimpleNamespace(_poller=Poller())
    watched = SimpleNamespace(_poller=Poller())
    TurnMonitor(SystemClock(), metrics).install(watched)
    series = metrics.counter_series("kept")
    labels = {"node": "n1"}
    for name, call in (
        ("kept series", series.add),
        ("counter by name", lambda: metrics.counter("by.name")),
        ("counter with a label", lambda: metrics.counter("labelled", 1, labels)),
        ("sample by name", lambda: metrics.sample("sample", 1.5)),
        ("gauge", lambda: metrics.gauge("gauge", 3)),
        ("poll", lambda: reactor._poller.poll(1, 2)),
        ("poll, turns measured", lambda: watched._poller.poll(1, 2)),
    ):
        best = min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS
        print(f"{name:22} {best * 1e6:.2f}")


if __name__ == "__main__":
    main()
