"""What leaves a Memberlist: its actions, and the packets among them."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from consultwist.gossip.address import Address
from consultwist.gossip.memberlist.actions import Action, SendPacket
from consultwist.gossip.memberlist.broadcast import TransmitQueue
from consultwist.gossip.memberlist.packet import (
    COMPOUND_PARTS_MAX,
    PacketCodec,
    compound,
)
from consultwist.gossip.memberlist.timings import PACKET_SIZE_MAX

#: The head of a compound, and one entry of its table of lengths.
COMPOUND_HEAD = 2
COMPOUND_ENTRY = 2

_Action = TypeVar("_Action")


class Actions(Generic[_Action]):
    """Collects actions until the driver takes them."""

    def __init__(self) -> None:
        self._actions: list[_Action] = []

    def add(self, action: _Action) -> None:
        """Ask for one more thing."""
        self._actions.append(action)

    def take(self) -> list[_Action]:
        """Return everything asked for since the last call, and forget it."""
        taken = self._actions
        if taken:
            self._actions = []
        return taken


def broadcast_size_max(codec: PacketCodec) -> int:
    """Return how long a broadcast may be to fit a packet of its own."""
    head = COMPOUND_HEAD + COMPOUND_ENTRY
    return PACKET_SIZE_MAX - head - codec.overhead()


class Outbox(Actions[Action]):
    """Actions, and the sending of messages with broadcasts riding along.

    Args:
        codec: the pool's packet codec.
        queues: what is to be spread, most important first.
    """

    def __init__(self, codec: PacketCodec, queues: Sequence[TransmitQueue]) -> None:
        super().__init__()
        self._codec = codec
        self._queues = queues

    @property
    def has_broadcasts(self) -> bool:
        """Whether there is anything to spread."""
        return any(self._queues)

    def send(self, address: Address, message: bytes) -> None:
        """Send a message, and whatever broadcasts fit behind it."""
        room = PACKET_SIZE_MAX - len(message) - COMPOUND_HEAD
        extra = self.broadcasts(room - self._codec.overhead(), COMPOUND_PARTS_MAX - 1)
        self.send_bare(address, compound([message, *extra]) if extra else message)

    def send_bare(self, address: Address, message: bytes) -> None:
        """Send a message alone."""
        self._actions.append(SendPacket(self._codec.seal(message), address))

    def gossip_to(self, address: Address) -> bool:
        """Send a packet full of broadcasts; return False where there were none."""
        room = PACKET_SIZE_MAX - COMPOUND_HEAD - self._codec.overhead()
        found = self.broadcasts(room, COMPOUND_PARTS_MAX)
        if not found:
            return False
        self.send_bare(address, compound(found))
        return True

    def broadcasts(self, room: int, count: int) -> list[bytes]:
        """Take broadcasts that fit; each counts as sent once."""
        found: list[bytes] = []
        for queue in self._queues:
            if queue:
                more = queue.take(COMPOUND_ENTRY, room, count - len(found))
                found += more
                room -= sum(map(len, more)) + COMPOUND_ENTRY * len(more)
        return found
