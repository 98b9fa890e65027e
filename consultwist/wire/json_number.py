"""Numbers in JSON as Go's encoder writes them.

A float without a fraction has no point, small and large ones have an exponent only
below 1e-6 and from 1e21 on, and the exponent has no leading zero.
"""

from decimal import Decimal
from typing import Any

import msgspec


def json_number(value: float) -> Any:
    """Return what msgspec's encoder writes as Go would write this float."""
    size = abs(value)
    if value.is_integer() and size < 1e21:
        return int(value) if value or str(value) == "0.0" else msgspec.Raw(b"-0")
    if 1e-4 <= size < 1e16:
        return value
    return msgspec.Raw(_text(value).encode())


def json_any(value: Any) -> Any:
    """Return a value without a type with its floats replaced by `json_number`."""
    kind = value.__class__
    if kind is float:
        return json_number(value)
    if kind is dict:
        return {key: json_any(item) for key, item in value.items()}
    if kind is list:
        return [json_any(item) for item in value]
    return value


def _text(value: float) -> str:
    size = abs(value)
    if value != value or size == float("inf"):  # noqa: PLR0124 - not a number
        return "null"  # Go refuses to encode these; no record of ours holds one
    if 1e-6 <= size < 1e21:
        return f"{Decimal(repr(value)):f}"
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
