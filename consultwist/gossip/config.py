"""Settings of a pool, as Consul sets them.

`CONSUL_LAN`, `CONSUL_WAN`, `CONSUL_DEV` and `CONSUL_SERF` are what a Consul agent runs
with; `SERF_AGENT` is the difference of a Serf agent.
"""

from collections.abc import Callable, Sequence

import attrs

from consultwist.gossip.memberlist.timings import LAN, WAN, Timings
from consultwist.gossip.serf.members import PoolMember
from consultwist.gossip.serf.timings import SerfTimings

CONSUL_LAN = attrs.evolve(LAN, dead_reclaim_s=30.0)
# Consul fills the WAN number of gossip nodes from the LAN default.
CONSUL_WAN = attrs.evolve(WAN, dead_reclaim_s=30.0, gossip_nodes=3)
CONSUL_DEV = attrs.evolve(
    CONSUL_LAN,
    suspicion_mult=3,
    probe_interval_s=0.1,
    probe_timeout_s=0.1,
    gossip_interval_s=0.1,
)

SERF_AGENT = SerfTimings(leave_propagate_s=1.0, reconnect_timeout_s=24 * 3600.0)
CONSUL_SERF = SerfTimings()

#: Decides about members that want to come in; returns why not, or None.
Admission = Callable[[Sequence[PoolMember]], str | None]


@attrs.frozen(kw_only=True)
class PoolConfig:
    """Everything that is settled before a pool starts.

    Attributes:
        name: this member's name; `node.datacenter` in the WAN pool.
        bind_host: the address to listen on.
        bind_port: the port for both UDP and TCP; 0 lets the system choose.
        advertise_host: what others shall dial; empty means the bind address.
        advertise_port: the port others shall dial; 0 means the bind port.
        tags: what this member tells about itself.
        keys: the encryption keys, primary first; empty for no encryption.
        verify_incoming: refuse what is not encrypted while keys are loaded.
        verify_outgoing: encrypt what is sent while keys are loaded.
        label: a prefix of packets, for memberlist 0.3 and later; Consul sets none.
        serf_protocol: 4 for Consul, 5 for a Serf agent.
        snapshot_path: the file that remembers members; empty for none.
        keyring_path: the file that remembers keys; empty keeps them in memory.
        rejoin_after_leave: use the snapshot even after a graceful leave.
        allowed_networks: where members may be, in CIDR form; None for everywhere.
        admit: the rules for members that come in.
    """

    name: str
    bind_host: str = "0.0.0.0"  # noqa: S104 - Consul's default
    bind_port: int = 8301
    advertise_host: str = ""
    advertise_port: int = 0
    tags: dict[str, str] = attrs.Factory(dict)
    keys: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    verify_incoming: bool = True
    verify_outgoing: bool = True
    label: bytes = b""
    serf_protocol: int = 4
    timings: Timings = CONSUL_LAN
    serf: SerfTimings = CONSUL_SERF
    snapshot_path: str = ""
    keyring_path: str = ""
    rejoin_after_leave: bool = False
    allowed_networks: tuple[str, ...] | None = None
    admit: Admission | None = None
