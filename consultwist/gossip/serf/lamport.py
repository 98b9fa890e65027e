"""Lamport clocks (Lamport, "Time, Clocks, and the Ordering of Events", 1978)."""

import attrs

from consultwist.errors import WireError

#: A clock never comes near its end but by an attack; beyond this a message is refused,
#: so that nobody can wind our clock to where it cannot advance.
LAMPORT_MAX = 2**63


@attrs.define
class LamportClock:
    """Orders events of one kind; starts at 1, as Serf's clocks do."""

    time: int = 1

    def witness(self, other: int) -> None:
        """Be later than a time that was seen elsewhere."""
        if other > LAMPORT_MAX:
            raise WireError("serf: a Lamport time out of bounds")
        if other >= self.time:
            self.time = other + 1

    def increment(self) -> None:
        """Advance by one."""
        self.time += 1
