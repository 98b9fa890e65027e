"""What the parts of a Memberlist share."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from consultwist.gossip.memberlist.awareness import Awareness
from consultwist.gossip.memberlist.broadcast import TransmitQueue
from consultwist.gossip.memberlist.members import MemberTable
from consultwist.gossip.memberlist.messages import NodeState
from consultwist.gossip.memberlist.outbox import Outbox
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.timings import Timings
from consultwist.gossip.schedule import Schedule


@attrs.frozen(kw_only=True)
class Upper:
    """What the layer above lends to a Memberlist.

    Attributes:
        queues: its broadcasts, most important first; each message begins with the
            user type byte.
        user_state: its part of a full exchange; the argument says whether for a join.
        ack_payload: what rides along with acks to direct pings.
        admit: returns why members may not come in, or None.
        allows: whether a host may be a member.
    """

    queues: Sequence[TransmitQueue] = ()
    user_state: Callable[[bool], bytes] = lambda _join: b""
    ack_payload: Callable[[], bytes | None] = lambda: None
    admit: Callable[[Sequence[NodeState]], str | None] = lambda _nodes: None
    allows: Callable[[str], bool] = lambda _host: True


@attrs.frozen(kw_only=True)
class Parts:
    """The shared parts.

    Attributes:
        timings: intervals and fan-outs.
        table: what is believed about whom.
        awareness: our own health.
        queue: the broadcasts of memberlist itself.
        outbox: for what is sent and told.
        codec: keys and label of the pool.
        schedule: for what is due later.
        rng: the source of randomness.
        upper: what the layer above lends.
    """

    timings: Timings
    table: MemberTable
    awareness: Awareness
    queue: TransmitQueue
    outbox: Outbox
    codec: PacketCodec
    schedule: Schedule
    rng: random.Random
    upper: Upper

    @property
    def counters(self) -> Counter[str]:
        """What was dropped, by reason."""
        return self.codec.dropped
