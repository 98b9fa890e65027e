"""What the parts of a Serf share."""

import random

import attrs

from consultwist.gossip.config import PoolConfig
from consultwist.gossip.memberlist.broadcast import TransmitQueue
from consultwist.gossip.memberlist.core import Memberlist
from consultwist.gossip.memberlist.outbox import Actions
from consultwist.gossip.schedule import Schedule
from consultwist.gossip.serf import messages
from consultwist.gossip.serf.actions import SerfAction
from consultwist.gossip.serf.coordinate import CoordinateClient
from consultwist.gossip.serf.lamport import LamportClock
from consultwist.gossip.serf.members import SerfMembers


@attrs.frozen(kw_only=True)
class SerfParts:
    """The shared parts.

    Attributes:
        config: the settings of the pool.
        memberlist: who answers.
        members: who is in the pool, in Serf's terms.
        coordinates: where we are in the network.
        clock: orders intents.
        event_clock: orders user events.
        query_clock: orders queries.
        intent_queue: intents to spread.
        query_queue: queries to spread.
        event_queue: user events to spread.
        outbox: for what is asked and told.
        schedule: for what is due later.
        rng: the source of randomness.
    """

    config: PoolConfig
    memberlist: Memberlist
    members: SerfMembers
    coordinates: CoordinateClient
    clock: LamportClock
    event_clock: LamportClock
    query_clock: LamportClock
    intent_queue: TransmitQueue
    query_queue: TransmitQueue
    event_queue: TransmitQueue
    outbox: Actions[SerfAction]
    schedule: Schedule
    rng: random.Random

    def spread(self, queue: TransmitQueue, message: bytes, now: float) -> int:
        """Pass a Serf message on; returns its number in the queue."""
        number = queue.queue(messages.user(message))
        self.memberlist.wake(now)
        return number

    def count(self, reason: str) -> None:
        """Count something that was dropped."""
        self.memberlist.counters[reason] += 1
