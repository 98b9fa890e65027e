"""Keys that may not be locked again yet.

When a session ends while holding a lock, its keys stay unlockable for the session's
lock delay, so that the former holder can notice. The delays are no part of the
replicated state: every server that applies the end of the session notes them.
"""

from typing import Final

import attrs

from consultwist import durations
from consultwist.clock import Clock

#: The longest delay that counts (Consul: 60 s).
LOCK_DELAY_MAX_S: Final = 60.0

#: Expired delays are swept out when this many are held.
_SWEEP_AT: Final = 4096


@attrs.frozen
class LockReleased:
    """A note: a session that held a key has ended."""

    key: str
    lock_delay: int


class LockDelays:
    """Until when which key may not be locked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def __len__(self) -> int:
        """Return how many delays are held, expired ones included."""
        return len(self._until)

    def observe(self, note: object) -> None:
        """Take the notes of committed transactions, of any kind."""
        if isinstance(note, LockReleased) and note.lock_delay > 0:
            delay_s = min(note.lock_delay / durations.SECOND, LOCK_DELAY_MAX_S)
            if len(self._until) >= _SWEEP_AT:
                self._sweep()
            self._until[note.key] = self._clock.monotonic() + delay_s

    def holds(self, key: str) -> bool:
        """Tell whether a key may not be locked at this moment."""
        until = self._until.get(key)
        if until is None:
            return False
        if until > self._clock.monotonic():
            return True
        del self._until[key]
        return False

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        self._until = {key: at for key, at in self._until.items() if at > now}
