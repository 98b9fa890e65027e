"""Transmit-limited broadcasts (SWIM, "infection-style dissemination").

A message leaves this member a limited number of times, which grows with the logarithm
of the pool; every member for which it was news does the same. Messages that were sent
least go first, and among those the longest that still fits, then the newest.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Callable

import attrs


def transmit_limit(mult: int, members: int) -> int:
    """Return how often a message is sent in a pool of that many members."""
    return mult * math.ceil(math.log10(members + 1))


@attrs.define
class _Broadcast:
    message: bytes
    name: str | None
    transmits: int = 0


class TransmitQueue:
    """Messages on their way to the pool.

    Args:
        mult: memberlist's RetransmitMult.
        members: how many members the pool has at present.
        depth: how many messages are kept at most; the most sent ones go first.
        size_max: a message longer than this never fits a packet and is refused.
    """

    def __init__(
        self,
        mult: int,
        members: Callable[[], int],
        depth: Callable[[], int],
        size_max: int,
    ) -> None:
        self._mult = mult
        self._members = members
        self._depth = depth
        self._size_max = size_max
        self._entries: dict[int, _Broadcast] = {}
        self._named: dict[str, int] = {}
        # Per number of transmissions, keys of (-length, -id) in order.
        self._tiers: list[list[tuple[int, int]]] = []
        self._last_id = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, broadcast: object) -> bool:
        return broadcast in self._entries

    def queue(self, message: bytes, name: str | None = None) -> int:
        """Take a message; it replaces an earlier one of the same name.

        Returns:
            A number that is `in` the queue until the message has been sent out.
        """
        if name is not None and (replaced := self._named.get(name)) is not None:
            self._forget(replaced)
        self._last_id += 1
        if len(message) > self._size_max:
            self.dropped += 1
            return self._last_id
        self._entries[self._last_id] = _Broadcast(message, name)
        if name is not None:
            self._named[name] = self._last_id
        self._file(self._last_id, 0)
        if len(self._entries) > self._depth():
            self._prune()
        return self._last_id

    def take(self, overhead: int, space: int, count: int) -> list[bytes]:
        """Return up to `count` messages that fit into `space`, and count them as sent.

        Args:
            overhead: what each message costs besides its own length.
            space: the bytes that are free.
            count: the number of messages that are free.
        """
        if not self._entries:
            return []
        taken: list[int] = []
        for tier in self._tiers:
            while len(taken) < count:
                at = bisect_left(tier, (overhead - space,))
                if at == len(tier):
                    break
                length, number = tier.pop(at)
                taken.append(-number)
                space += length - overhead
        limit = transmit_limit(self._mult, self._members()) if taken else 0
        messages = []
        for number in taken:
            entry = self._entries[number]
            messages.append(entry.message)
            entry.transmits += 1
            if entry.transmits >= limit:
                self._discard(number, entry)
            else:
                self._file(number, entry.transmits)
        return messages

    def _file(self, number: int, transmits: int) -> None:
        while len(self._tiers) <= transmits:
            self._tiers.append([])
        length = len(self._entries[number].message)
        insort(self._tiers[transmits], (-length, -number))

    def _discard(self, number: int, entry: _Broadcast) -> None:
        del self._entries[number]
        if entry.name is not None:
            del self._named[entry.name]

    def _forget(self, number: int) -> None:
        entry = self._entries[number]
        tier = self._tiers[entry.transmits]
        del tier[bisect_left(tier, (-len(entry.message), -number))]
        self._discard(number, entry)

    def _prune(self) -> None:
        """Drop what has been sent most; among those the oldest."""
        tier = next(tier for tier in reversed(self._tiers) if tier)
        self._forget(-max(tier, key=lambda key: key[1])[1])
        self.dropped += 1
