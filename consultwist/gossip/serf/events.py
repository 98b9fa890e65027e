"""User events: ordering, duplicates, coalescing.

The last events are kept by Lamport time, so that an event that comes again by another
way is not delivered twice, and so that a joining member can be told what it missed.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import attrs

from consultwist.gossip.schedule import Alarm, Schedule
from consultwist.gossip.serf.messages import RecentEvent, RecentEvents, UserEvent

#: Serf's EventBuffer and QueryBuffer.
BUFFER_SIZE: Final = 512

#: Serf's UserEventSizeLimit: no sender can be configured to go over it.
EVENT_SIZE_MAX: Final = 9 * 1024

#: A sender's clock advances with each event, so that only senders that have not heard
#: of each other share a time.
EVENTS_PER_TIME_MAX: Final = 64

#: All remembered events together; a state exchange must stay far below 20 MiB.
BUFFER_BYTES_MAX: Final = 4 * 1024 * 1024


@attrs.define
class _Slot:
    l_time: int
    events: list[tuple[str, bytes]]


class EventBuffer:
    """Tells new events from those seen before."""

    def __init__(self) -> None:
        self.minimum_time = 0
        self._slots: dict[int, _Slot] = {}
        self._bytes = 0

    def is_news(self, event: UserEvent, clock: int) -> bool:
        """Return whether an event is to be delivered, and remember it.

        Args:
            event: the event.
            clock: the event clock, after it has witnessed the event's time.
        """
        l_time = event.l_time
        if l_time < self.minimum_time or l_time + BUFFER_SIZE < clock:
            return False
        entry = (event.name, event.payload or b"")
        size = len(entry[0]) + len(entry[1])
        if size > EVENT_SIZE_MAX:
            return False
        slot = self._slots.get(l_time % BUFFER_SIZE)
        if slot is not None and slot.l_time == l_time:
            if entry in slot.events or len(slot.events) >= EVENTS_PER_TIME_MAX:
                return False
            slot.events.append(entry)
        else:
            self._evict(slot)
            self._slots[l_time % BUFFER_SIZE] = _Slot(l_time, [entry])
        self._bytes += size
        while self._bytes > BUFFER_BYTES_MAX:
            self._evict(min(self._slots.values(), key=lambda slot: slot.l_time))
        return True

    def _evict(self, slot: _Slot | None) -> None:
        if slot is not None:
            del self._slots[slot.l_time % BUFFER_SIZE]
            self._bytes -= sum(len(name) + len(data) for name, data in slot.events)

    def recent(self) -> list[RecentEvents]:
        """Return what is remembered, for the state exchange."""
        return [
            RecentEvents(
                l_time=slot.l_time,
                events=[RecentEvent(name=n, payload=p) for n, p in slot.events],
            )
            for slot in self._slots.values()
        ]


class QueryBuffer:
    """Tells new queries from those seen before."""

    def __init__(self) -> None:
        self.minimum_time = 0
        self._slots: dict[int, tuple[int, list[int]]] = {}

    def is_news(self, l_time: int, number: int, clock: int) -> bool:
        """Return whether a query is new, and remember it."""
        if l_time < self.minimum_time or l_time + BUFFER_SIZE < clock:
            return False
        slot = self._slots.get(l_time % BUFFER_SIZE)
        if slot is None or slot[0] != l_time:
            self._slots[l_time % BUFFER_SIZE] = (l_time, [number])
            return True
        if number in slot[1] or len(slot[1]) >= EVENTS_PER_TIME_MAX:
            return False
        slot[1].append(number)
        return True


_Item = TypeVar("_Item")


class Coalescer(Generic[_Item]):
    """Holds events back and delivers them together.

    They go out when none has come for the quiescent period, or when the coalesce
    period since the first is over.

    Args:
        schedule: for the two periods.
        coalesce_s: the longest time that an event is held back.
        quiescent_s: how long it must be quiet.
        merge: puts an event among those held back.
        deliver: takes what was held back.
    """

    def __init__(
        self,
        schedule: Schedule,
        coalesce_s: float,
        quiescent_s: float,
        merge: Callable[[dict[str, _Item], _Item], None],
        deliver: Callable[[dict[str, _Item], float], None],
    ) -> None:
        self._schedule = schedule
        self._coalesce_s = coalesce_s
        self._quiescent_s = quiescent_s
        self._merge = merge
        self._deliver = deliver
        self._held: dict[str, _Item] = {}
        self._last_at = 0.0
        self._alarm: Alarm | None = None

    def add(self, item: _Item, now: float) -> None:
        """Hold an event back."""
        self._merge(self._held, item)
        if self._alarm is not None:
            quiet_at = now + self._quiescent_s
            self._alarm.cancel()
            self._alarm = self._schedule.at(min(quiet_at, self._last_at), self._flush)
            return
        self._last_at = now + self._coalesce_s
        due = now + min(self._quiescent_s, self._coalesce_s)
        self._alarm = self._schedule.at(due, self._flush)

    def _flush(self, now: float) -> None:
        self._alarm = None
        held, self._held = self._held, {}
        self._deliver(held, now)


def merge_user_event(held: dict[str, list[UserEvent]], news: list[UserEvent]) -> None:
    """Keep, of the events of one name, those of the highest Lamport time."""
    for event in news:
        known = held.get(event.name)
        if known is None or event.l_time > known[0].l_time:
            held[event.name] = [event]
        elif event.l_time == known[0].l_time:
            known.append(event)
