"""Go's time.Time as Consul writes it: 15 raw bytes in msgpack, RFC 3339 in JSON."""

import datetime as dt
import struct
from typing import Final, Self

from consultwist.errors import WireError

#: Seconds from year 1 to 1970, Go's zero time being the first of January of year 1.
_UNIX_TO_GO: Final = 62135596800
_HEAD = struct.Struct(">Bqih")
_UTC_OFFSET: Final = -1


class Time:
    """An instant with nanoseconds and a zone offset, immutable by convention.

    Attributes:
        seconds: whole seconds since the Unix epoch.
        nanoseconds: 0 to 999,999,999.
        offset_min: the zone's offset in minutes, or -1 for UTC.
    """

    __slots__ = ("nanoseconds", "offset_min", "seconds")

    def __init__(
        self, seconds: int, nanoseconds: int = 0, offset_min: int = _UTC_OFFSET
    ) -> None:
        self.seconds = seconds
        self.nanoseconds = nanoseconds
        self.offset_min = offset_min

    @classmethod
    def from_wall(cls, wall: float) -> Self:
        """Return the UTC instant of a wall clock reading in seconds."""
        whole = int(wall // 1)
        return cls(whole, int((wall - whole) * 1e9))

    @classmethod
    def from_raw(cls, raw: object) -> Self:
        """Return the instant that Go's binary form stands for; accepts version 2."""
        if (
            not isinstance(raw, bytes)
            or len(raw) not in (15, 16)
            or raw[0] not in (1, 2)
        ):
            raise WireError("time: not a Go binary time")
        _, seconds, nanoseconds, offset = _HEAD.unpack(raw[:15])
        return cls(seconds - _UNIX_TO_GO, nanoseconds, offset)

    def to_raw(self) -> bytes:
        """Return Go's binary form, version 1."""
        return _HEAD.pack(
            1, self.seconds + _UNIX_TO_GO, self.nanoseconds, self.offset_min
        )

    @property
    def is_zero(self) -> bool:
        """Tell whether this is Go's zero time."""
        return self.seconds == -_UNIX_TO_GO and self.nanoseconds == 0

    def wall(self) -> float:
        """Return seconds since the epoch, as a wall clock would give."""
        return self.seconds + self.nanoseconds / 1e9

    def json(self) -> str:
        """Return RFC 3339 with as many fraction digits as are needed, as Go does."""
        offset = 0 if self.offset_min == _UTC_OFFSET else self.offset_min
        local = self.seconds + offset * 60
        when = dt.datetime(1, 1, 1) + dt.timedelta(  # noqa: DTZ001
            seconds=local + _UNIX_TO_GO
        )
        text = when.isoformat(timespec="seconds")
        if self.nanoseconds:
            text += f".{self.nanoseconds:09d}".rstrip("0")
        if offset == 0:
            return text + "Z"
        sign = "-" if offset < 0 else "+"
        return f"{text}{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the instant of an RFC 3339 text.

        Raises:
            ValueError: where the text is none.
        """
        head, dot, tail = text.partition(".")
        digits = ""
        if dot:
            digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
            head += tail[len(digits) :]
        when = dt.datetime.fromisoformat(head)
        if when.tzinfo is None:
            raise ValueError(f"time: no zone in {text!r}")
        offset = int((when.utcoffset() or dt.timedelta()).total_seconds()) // 60
        start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        seconds = (when - start) // dt.timedelta(seconds=1)
        return cls(seconds, int(digits[:9].ljust(9, "0") or "0"), offset or _UTC_OFFSET)

    def __eq__(self, other: object) -> bool:
        """Compare instants as Go's DeepEqual does: zone and all."""
        return isinstance(other, Time) and self.to_raw() == other.to_raw()

    def __hash__(self) -> int:
        return hash((self.seconds, self.nanoseconds))

    def __repr__(self) -> str:
        return f"Time({self.json()})"


ZERO_TIME: Final = Time(-_UNIX_TO_GO)
