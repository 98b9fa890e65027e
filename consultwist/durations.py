"""Go's duration text (``1m30s``) to and from nanoseconds and seconds.

Inside consultwist intervals are seconds as float. Records that cross a wire keep
nanoseconds as int, because their bytes must come back unchanged.
"""

import re

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

#: Go's Duration is an int64.
DURATION_MAX = 2**63 - 1

_UNITS = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "\u00b5s": MICROSECOND,  # micro sign
    "\u03bcs": MICROSECOND,  # Greek letter mu
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_NUMBER = re.compile(r"(\d*)(?:\.(\d*))?")
_UNIT = re.compile(r"[^\d.]+")


def parse(text: str) -> int:
    """Return the nanoseconds that a Go duration text stands for.

    Raises:
        ValueError: with the text of Go's ``time.ParseDuration``.
    """
    rest = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {_quoted(text)}")
    total = 0
    while rest:
        number = _NUMBER.match(rest)
        assert number is not None
        whole, fraction = number.group(1), number.group(2) or ""
        if not whole and not fraction:
            raise ValueError(f"time: invalid duration {_quoted(text)}")
        rest = rest[number.end() :]
        unit = _UNIT.match(rest)
        if unit is None:
            raise ValueError(f"time: missing unit in duration {_quoted(text)}")
        size = _UNITS.get(unit.group())
        if size is None:
            wrong = _quoted(unit.group())
            raise ValueError(f"time: unknown unit {wrong} in duration {_quoted(text)}")
        rest = rest[unit.end() :]
        total += int(whole or "0") * size
        if fraction:
            total += int(fraction) * size // 10 ** len(fraction)
        if total > DURATION_MAX:
            raise ValueError(f"time: invalid duration {_quoted(text)}")
    return -total if text.startswith("-") else total


def parse_seconds(text: str) -> float:
    """Return the seconds that a Go duration text stands for."""
    return parse(text) / SECOND


def render(nanoseconds: int) -> str:
    """Return the text that Go prints for a duration: ``1m30s``, ``1.5ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    value = abs(nanoseconds)
    if value < MICROSECOND:
        return f"{sign}{value}ns"
    if value < MILLISECOND:
        return f"{sign}{_decimal(value, MICROSECOND)}\u00b5s"
    if value < SECOND:
        return f"{sign}{_decimal(value, MILLISECOND)}ms"
    minutes, rest = divmod(value, MINUTE)
    text = _decimal(rest, SECOND) + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    if minutes:
        return f"{sign}{minutes}m{text}"
    return sign + text


def _quoted(text: str) -> str:
    """Quote a text as Go's time package does: bytes outside ASCII as escapes."""
    data = text.encode("utf-8", "surrogateescape")
    return '"' + "".join(_QUOTED.get(byte) or chr(byte) for byte in data) + '"'


#: What does not stand for itself between Go's quotes.
_QUOTED = {byte: f"\\x{byte:02x}" for byte in (*range(0x20), *range(0x80, 0x100))} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{len(str(unit)) - 1}d}".rstrip("0")
