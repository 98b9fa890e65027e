"""How healthy this member believes itself to be (Lifeguard, "self-awareness").

A member that misses answers may itself be the slow one. Its health score counts such
signs; the higher it is, the longer the member waits before it suspects others.
"""

import attrs


@attrs.define
class Awareness:
    """The local health score: 0 is healthy, `maximum - 1` the worst."""

    maximum: int
    score: int = 0

    def change(self, delta: int) -> None:
        """Add to the score, within its bounds."""
        self.score = min(max(self.score + delta, 0), self.maximum - 1)

    def scale(self, timeout_s: float) -> float:
        """Return a timeout stretched by the score."""
        return timeout_s * (self.score + 1)
