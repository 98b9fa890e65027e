"""Sending and taking user events."""

from consultwist.errors import BadRequest
from consultwist.gossip.serf import messages
from consultwist.gossip.serf.actions import UserEventReceived
from consultwist.gossip.serf.events import (
    EVENT_SIZE_MAX,
    Coalescer,
    EventBuffer,
    merge_user_event,
)
from consultwist.gossip.serf.messages import UserEvent
from consultwist.gossip.serf.parts import SerfParts


class UserEvents:
    """User events of our own and of others."""

    def __init__(self, parts: SerfParts) -> None:
        self._parts = parts
        self.buffer = EventBuffer()
        serf = parts.config.serf
        self._coalescer: Coalescer[list[UserEvent]] | None = None
        if serf.coalesce_period_s > 0 and serf.quiescent_period_s > 0:
            self._coalescer = Coalescer(
                parts.schedule,
                serf.coalesce_period_s,
                serf.quiescent_period_s,
                merge_user_event,
                self._deliver_held,
            )

    def send(self, name: str, payload: bytes, now: float, *, coalesce: bool) -> None:
        """Tell all members something.

        Raises:
            BadRequest: where it is too long.
        """
        parts = self._parts
        limit = min(parts.config.serf.event_size_max, EVENT_SIZE_MAX)
        exceeds = f"user event exceeds configured limit of {limit} bytes"
        if len(name.encode("utf-8", "surrogateescape")) + len(payload) > limit:
            raise BadRequest(f"{exceeds} before encoding")
        event = UserEvent(
            l_time=parts.event_clock.time, name=name, payload=payload, cc=coalesce
        )
        message = messages.encode(messages.USER_EVENT, event)
        if len(message) > limit:
            raise BadRequest(f"{exceeds} after encoding")
        parts.event_clock.increment()
        self.receive(message, now)

    def receive(self, message: bytes, now: float) -> None:
        """Take an event, and pass it on if it was news."""
        event = messages.decode(UserEvent, message[1:])
        if self.take(event, now):
            self._parts.spread(self._parts.event_queue, message, now)

    def take(self, event: UserEvent, now: float) -> bool:
        """Deliver an event if it is news; return whether it was."""
        clock = self._parts.event_clock
        clock.witness(event.l_time)
        if not self.buffer.is_news(event, clock.time):
            return False
        if self._coalescer is not None and event.cc:
            self._coalescer.add([event], now)
        else:
            self._parts.outbox.add(UserEventReceived(event))
        return True

    def _deliver_held(self, held: dict[str, list[UserEvent]], _now: float) -> None:
        for events in held.values():
            for event in events:
                self._parts.outbox.add(UserEventReceived(event))
