"""A reactor that is watched while it is idle, busy and too busy; prints what was seen.

The argument is the address of a statsd server.
"""

import json
import sys
import time

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import reactor as installed  # noqa: E402, TID251 - a program

from consultwist.clock import SystemClock  # noqa: E402
from consultwist.telemetry.metrics import Metrics  # noqa: E402
from consultwist.telemetry.runtime import RuntimeGauges  # noqa: E402
from consultwist.telemetry.statsd import StatsdSink  # noqa: E402
from consultwist.telemetry.turns import TurnMonitor  # noqa: E402


def main() -> None:
    """Run for a second."""
    reactor = installed
    clock = SystemClock()
    metrics = Metrics(reactor, clock, sinks=[StatsdSink(reactor, sys.argv[1])])
    monitor = TurnMonitor(clock, metrics)
    remove = RuntimeGauges(metrics, clock, reactor).install()
    metrics.startService()
    seen: dict[str, float] = {}

    def look(name: str) -> None:
        seen[name] = monitor.longest_s
        monitor.longest_s = 0.0

    end = monitor.install(reactor)
    reactor.callLater(0.3, look, "idle")
    reactor.callLater(0.35, time.sleep, 0.02)
    reactor.callLater(0.45, look, "busy")
    reactor.callLater(0.5, time.sleep, 0.2)
    reactor.callLater(0.8, look, "too busy")
    reactor.callLater(0.9, reactor.stop)
    reactor.addSystemEventTrigger("before", "shutdown", metrics.stopService)
    reactor.run()
    end()
    remove()
    samples = metrics.summary().samples or []
    slow = sum(s.count for s in samples if s.name == "consul.runtime.slow_turn")
    json.dump({"seen": seen, "slow": slow}, sys.stdout)


if __name__ == "__main__":
    main()
