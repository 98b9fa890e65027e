"""Network coordinates: positions whose distances are round-trip times.

Vivaldi (Dabek and others, 2004) with a height for the access link, an adjustment term
(Ledlie and others, "Network Coordinates in the Wild", 2007) and a gentle pull towards
the origin. Positions are in seconds.
"""

import math
import random
from statistics import median_high

from consultwist.errors import WireError
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct

# Serf's coordinate.DefaultConfig.
DIMENSIONS = 8
_ERROR_MAX = 1.5
_ERROR_WEIGHT = 0.25
_FORCE_WEIGHT = 0.25
_ADJUSTMENT_WINDOW = 20
_HEIGHT_MIN = 10e-6
_LATENCY_SAMPLES = 3
_GRAVITY_RHO = 150.0
_ZERO = 1e-6

#: Serf's maxRTT: a longer round trip says nothing about the network.
_RTT_MAX_S = 10.0

#: Farther than any network; a hostile coordinate may be at the end of the scale.
_FAR_S = 1e9

#: The first byte of an ack's payload.
_PING_VERSION = b"\x01"


class Coordinate(Struct):
    """A position: a vector, and what lies beyond any vector."""

    vec: list[float] | None = None
    error: float = _ERROR_MAX
    adjustment: float = 0.0
    height: float = _HEIGHT_MIN


def origin() -> Coordinate:
    """Return where every member starts."""
    return Coordinate(vec=[0.0] * DIMENSIONS)


def is_valid(coordinate: Coordinate) -> bool:
    """Return whether a coordinate has our dimensions and only finite numbers."""
    vec = coordinate.vec
    if vec is None or len(vec) != DIMENSIONS:
        return False
    rest = (coordinate.error, coordinate.adjustment, coordinate.height)
    return all(map(math.isfinite, vec)) and all(map(math.isfinite, rest))


def encode_payload(coordinate: Coordinate) -> bytes:
    """Return what rides along with an ack."""
    return _PING_VERSION + coordinate.pack()


def decode_payload(payload: bytes) -> Coordinate | None:
    """Return the coordinate in an ack's payload, or None where it cannot be used.

    Raises:
        WireError: where the payload cannot be read.
    """
    if payload[:1] != _PING_VERSION:
        return None
    raw, _ = msgpack.unpack_first(payload[1:])
    coordinate = Coordinate.from_raw(raw)
    return coordinate if is_valid(coordinate) else None


def distance_s(a: Coordinate, b: Coordinate) -> float:
    """Return the estimated round-trip time between two members, in whole nanoseconds.

    Raises:
        WireError: where the coordinates differ in their dimensions.
    """
    if len(a.vec or ()) != len(b.vec or ()):
        raise WireError("coordinate dimensions aren't compatible")
    raw = _raw_distance(a, b)
    adjusted = raw + a.adjustment + b.adjustment
    seconds = adjusted if adjusted > 0 else raw
    return int(seconds * 1e9) / 1e9 if abs(seconds) < _FAR_S else seconds


def _raw_distance(a: Coordinate, b: Coordinate) -> float:
    return _magnitude(_difference(a, b)) + a.height + b.height


def _difference(a: Coordinate, b: Coordinate) -> list[float]:
    assert a.vec is not None
    assert b.vec is not None
    return [x - y for x, y in zip(a.vec, b.vec, strict=True)]


def _magnitude(vec: list[float]) -> float:
    return math.sqrt(sum(x * x for x in vec))


class CoordinateClient:
    """Keeps our own coordinate up to date.

    Args:
        rng: gives a direction where two members are at the same place.
    """

    def __init__(self, rng: random.Random) -> None:
        self.coordinate = origin()
        self.resets = 0
        #: Where members were when a round trip to them was last measured.
        self.positions: dict[str, Coordinate] = {}
        self._rng = rng
        self._origin = origin()
        self._samples: dict[str, list[float]] = {}
        self._adjustments = [0.0] * _ADJUSTMENT_WINDOW
        self._adjustment_index = 0

    def forget(self, name: str) -> None:
        """Drop what was measured of a member."""
        self._samples.pop(name, None)
        self.positions.pop(name, None)

    def update(self, name: str, other: Coordinate, rtt_s: float) -> bool:
        """Move according to a measured round trip; return whether it was usable."""
        if not is_valid(other) or not 0 <= rtt_s <= _RTT_MAX_S:
            return False
        self.positions[name] = other
        rtt_s = self._filtered(name, rtt_s)
        self._vivaldi(other, rtt_s)
        self._adjust(other, rtt_s)
        self._gravity()
        if not is_valid(self.coordinate):
            self.coordinate = origin()
            self.resets += 1
        return True

    def _filtered(self, name: str, rtt_s: float) -> float:
        samples = self._samples.setdefault(name, [])
        samples.append(rtt_s)
        if len(samples) > _LATENCY_SAMPLES:
            del samples[0]
        return median_high(samples)

    def _vivaldi(self, other: Coordinate, rtt_s: float) -> None:
        me = self.coordinate
        rtt_s = max(rtt_s, _ZERO)
        estimate_s = distance_s(me, other)
        wrongness = abs(estimate_s - rtt_s) / rtt_s
        weight = me.error / max(me.error + other.error, _ZERO)
        share = _ERROR_WEIGHT * weight
        error = min(share * wrongness + me.error * (1.0 - share), _ERROR_MAX)
        force = _FORCE_WEIGHT * weight * (rtt_s - estimate_s)
        self.coordinate = self._pushed(me, error, force, other)

    def _pushed(
        self, me: Coordinate, error: float, force: float, other: Coordinate
    ) -> Coordinate:
        """Return a coordinate moved from `other`, or towards it by a negative force."""
        unit, magnitude = self._direction(me, other)
        height = me.height
        if magnitude > _ZERO:
            lifted = (me.height + other.height) * force / magnitude + me.height
            height = max(lifted, _HEIGHT_MIN)
        assert me.vec is not None
        return Coordinate(
            vec=[x + u * force for x, u in zip(me.vec, unit, strict=True)],
            error=error,
            adjustment=me.adjustment,
            height=height,
        )

    def _direction(
        self, me: Coordinate, other: Coordinate
    ) -> tuple[list[float], float]:
        difference = _difference(me, other)
        magnitude = _magnitude(difference)
        if magnitude > _ZERO:
            return [x * (1.0 / magnitude) for x in difference], magnitude
        while True:
            drawn = [self._rng.random() - 0.5 for _ in range(DIMENSIONS)]
            length = _magnitude(drawn)
            if length > _ZERO:
                return [x * (1.0 / length) for x in drawn], 0.0

    def _adjust(self, other: Coordinate, rtt_s: float) -> None:
        error_s = rtt_s - _raw_distance(self.coordinate, other)
        self._adjustments[self._adjustment_index] = error_s
        self._adjustment_index = (self._adjustment_index + 1) % _ADJUSTMENT_WINDOW
        me = self.coordinate
        self.coordinate = Coordinate(
            vec=me.vec,
            error=me.error,
            adjustment=sum(self._adjustments) / (2.0 * _ADJUSTMENT_WINDOW),
            height=me.height,
        )

    def _gravity(self) -> None:
        me = self.coordinate
        away_s = distance_s(self._origin, me)
        force = -((away_s / _GRAVITY_RHO) ** 2)
        self.coordinate = self._pushed(me, me.error, force, self._origin)
