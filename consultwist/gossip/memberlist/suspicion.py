"""How long a suspect has to refute (Lifeguard, "dynamic suspicion timeouts").

The timeout starts long and shrinks with every member that confirms the suspicion on
its own, down to SWIM's fixed timeout. In a pool too small for the wanted number of
confirmations it is that fixed timeout from the start.
"""

import math

import attrs


def suspicion_timeout_s(mult: int, members: int, interval_s: float) -> float:
    """Return the shortest time that a suspect gets in a pool of that many members.

    The scale is cut to thousandths, as memberlist does.
    """
    scale = int(max(1.0, math.log10(max(1.0, members))) * 1000) / 1000
    return mult * scale * interval_s


@attrs.define
class Suspicion:
    """One running suspicion.

    Attributes:
        started_at: when it began.
        wanted: how many further accusers shorten it to the minimum.
        minimum_s: the shortest timeout.
        maximum_s: the timeout without confirmations.
        accusers: the first accuser and every one that confirmed.
    """

    started_at: float
    wanted: int
    minimum_s: float
    maximum_s: float
    accusers: list[str]

    def confirm(self, accuser: str) -> bool:
        """Count one more accuser; return whether that was news."""
        if len(self.accusers) - 1 >= self.wanted or accuser in self.accusers:
            return False
        self.accusers.append(accuser)
        return True

    def deadline(self) -> float:
        """Return when the suspect is to be declared dead."""
        if self.wanted < 1:
            return self.started_at + self.minimum_s
        confirmed = len(self.accusers) - 1
        share = math.log(confirmed + 1) / math.log(self.wanted + 1)
        raw_s = self.maximum_s - share * (self.maximum_s - self.minimum_s)
        timeout_s = math.floor(raw_s * 1000) / 1000
        return self.started_at + max(self.minimum_s, timeout_s)


def wanted_confirmations(mult: int, members: int) -> int:
    """Return how many confirmations a suspicion waits for; 0 in tiny pools."""
    wanted = mult - 2
    return wanted if members - 2 >= wanted else 0
