"""Host: what a machine gives to everything that runs on it."""

import random
from typing import Any

import attrs

from consultwist.clock import Clock


@attrs.frozen
class Host:
    """The reactor, the time and the randomness that all parts of an agent share.

    A simulated host provides the same three, so that whole clusters run in one test.

    Attributes:
        reactor: the one reactor; parts type it by the interfaces that they use.
        clock: the time.
        rng: randomness.
    """

    reactor: Any
    clock: Clock
    rng: random.Random
