"""The timings and fan-outs of memberlist, and its defaults."""

import attrs

#: A packet stays below this by design; memberlist's UDPBufferSize.
PACKET_SIZE_MAX = 1400


@attrs.frozen(kw_only=True)
class Timings:
    """The timings and fan-outs of memberlist."""

    stream_timeout_s: float = 10.0
    indirect_checks: int = 3
    retransmit_mult: int = 4
    suspicion_mult: int = 4
    suspicion_max_mult: int = 6
    push_pull_interval_s: float = 30.0
    probe_interval_s: float = 1.0
    probe_timeout_s: float = 0.5
    awareness_max: int = 8
    gossip_interval_s: float = 0.2
    gossip_nodes: int = 3
    gossip_to_the_dead_s: float = 30.0
    dead_reclaim_s: float = 0.0
    use_nacks: bool = True
    use_stream_probes: bool = True


LAN = Timings()
WAN = Timings(
    stream_timeout_s=30.0,
    suspicion_mult=6,
    push_pull_interval_s=60.0,
    probe_interval_s=5.0,
    probe_timeout_s=3.0,
    gossip_interval_s=0.5,
    gossip_nodes=4,
    gossip_to_the_dead_s=60.0,
)
LOCAL = Timings(
    stream_timeout_s=1.0,
    indirect_checks=1,
    retransmit_mult=2,
    suspicion_mult=3,
    push_pull_interval_s=15.0,
    probe_timeout_s=0.2,
    gossip_interval_s=0.1,
    gossip_to_the_dead_s=15.0,
)
