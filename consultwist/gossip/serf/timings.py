"""The timings and limits of Serf."""

import attrs


@attrs.frozen(kw_only=True)
class SerfTimings:
    """The timings and limits of Serf; the defaults are what Consul runs with."""

    broadcast_timeout_s: float = 5.0
    leave_propagate_s: float = 3.0
    reap_interval_s: float = 15.0
    reconnect_interval_s: float = 30.0
    reconnect_timeout_s: float = 72 * 3600.0
    tombstone_timeout_s: float = 24 * 3600.0
    intent_timeout_s: float = 300.0
    event_size_max: int = 512
    query_size_max: int = 1024
    query_timeout_mult: int = 16
    queue_depth_min: int = 4096
    coalesce_period_s: float = 0.0
    quiescent_period_s: float = 0.0
