"""The runtime of the program is shown under Consul's names."""

import gc

from consultwist.telemetry.runtime import RuntimeGauges, memory_bytes, resource_usage


class Reactor:
    """A reactor that reads three descriptors."""

    def getReaders(self):  # noqa: N802 - Twisted's name
        """Return them."""
        return [1, 2, 3]


def test_gauges_are_found_out_when_they_are_shown(metrics, clock):
    """Memory, blocks and collections are gauges with likely values."""
    remove = RuntimeGauges(metrics, clock, Reactor()).install()
    try:
        gauges = {g.name: g.value for g in metrics.summary().gauges or []}
    finally:
        remove()
    assert set(gauges) == {
        f"consul.runtime.{name}"
        for name in (
            "alloc_bytes",
            "sys_bytes",
            "heap_objects",
            "num_goroutines",
            "total_gc_runs",
            "total_gc_pause_ns",
        )
    }
    assert 0 < gauges["consul.runtime.alloc_bytes"] < gauges["consul.runtime.sys_bytes"]
    assert gauges["consul.runtime.num_goroutines"] >= 4


def test_collections_are_timed_until_removed(metrics, clock):
    """Each collection is an observation; afterwards the interpreter is as it was."""
    before = list(gc.callbacks)
    remove = RuntimeGauges(metrics, clock, Reactor()).install()
    try:
        gc.collect()
    finally:
        remove()
    assert gc.callbacks == before
    samples = {s.name: s.count for s in metrics.summary().samples or []}
    assert samples["consul.runtime.gc_pause_ns"] >= 1


def test_memory_and_resources_are_positive():
    """The system's figures are those of a living program."""
    resident, shared = memory_bytes()
    assert resident > shared >= 0
    usage = resource_usage()
    assert usage["process_open_fds"] >= 3
    assert usage["process_start_time_seconds"] > 1.6e9
    assert (
        usage["process_virtual_memory_bytes"] > usage["process_resident_memory_bytes"]
    )
