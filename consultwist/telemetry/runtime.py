"""What the interpreter and the system say about this program.

Consul shows Go's runtime under ``consul.runtime``. The names are kept where Python has
something like it:

==================== ==============================================================
``alloc_bytes``      memory that is this program's alone: resident less shared
``sys_bytes``        resident memory
``heap_objects``     blocks that the interpreter has allocated
``num_goroutines``   what runs side by side: threads, and descriptors that are read
``total_gc_runs``    collections since the start, of all generations
``total_gc_pause_ns`` the time that they took
``gc_pause_ns``      each of them (a sample)
==================== ==============================================================

``malloc_count`` and ``free_count`` have no likeness and are left out.
"""

import gc
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from consultwist.clock import Clock
from consultwist.telemetry.metrics import Metrics

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SELF = Path("/proc/self")


class RuntimeGauges:
    """Sets the gauges of the runtime whenever gauges are shown, and times the GC."""

    def __init__(self, metrics: Metrics, clock: Clock, reactor: Any) -> None:
        self._metrics = metrics
        self._clock = clock
        self._reactor = reactor
        self._pauses = metrics.sample_series("runtime.gc_pause_ns")
        self._pause_total_ns = 0.0
        self._begin = 0.0

    def install(self) -> Callable[[], None]:
        """Begin; returns what ends it."""
        self._metrics.add_collector(self.collect)
        gc.callbacks.append(self._collected)
        return lambda: gc.callbacks.remove(self._collected)

    def collect(self) -> None:
        """Set the gauges."""
        resident, shared = memory_bytes()
        running = threading.active_count() + len(self._reactor.getReaders())
        gauge = self._metrics.gauge
        gauge("runtime.alloc_bytes", resident - shared)
        gauge("runtime.sys_bytes", resident)
        gauge("runtime.heap_objects", sys.getallocatedblocks())
        gauge("runtime.num_goroutines", running)
        runs = sum(generation["collections"] for generation in gc.get_stats())
        gauge("runtime.total_gc_runs", runs)
        gauge("runtime.total_gc_pause_ns", self._pause_total_ns)

    def _collected(self, phase: str, _details: dict[str, int]) -> None:
        now = self._clock.monotonic()
        if phase == "start":
            self._begin = now
        else:
            pause_ns = (now - self._begin) * 1e9
            self._pause_total_ns += pause_ns
            self._pauses.add(pause_ns)


def memory_bytes() -> tuple[int, int]:
    """Return resident and shared memory; (peak resident, 0) without Linux's /proc."""
    try:
        fields = (_SELF / "statm").read_text().split()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, 0
    return int(fields[1]) * _PAGE_SIZE, int(fields[2]) * _PAGE_SIZE


def resource_usage() -> dict[str, float]:
    """Return what Prometheus clients show of every program, by metric name."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    shown: dict[str, float] = {
        "process_cpu_seconds_total": usage.ru_utime + usage.ru_stime,
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "process_resident_memory_bytes": memory_bytes()[0],
    }
    try:
        fields = (_SELF / "stat").read_text().rpartition(")")[2].split()
        boot = _boot_time()
        shown["process_open_fds"] = len(list((_SELF / "fd").iterdir()))
    except OSError:
        return shown
    # proc(5): behind the name, field 22 is the start in ticks, 23 the virtual size.
    shown["process_start_time_seconds"] = boot + int(fields[19]) / _TICKS_PER_S
    shown["process_virtual_memory_bytes"] = int(fields[20])
    return shown


def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
