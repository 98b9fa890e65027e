"""Truth values and numbers from text, as Go's package of that name reads them."""

from typing import Final

_TRUTH_VALUES: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}

_UINT64_MAX: Final = 2**64 - 1

#: More digits than any 64-bit number has, leading zeros aside.
_DIGITS_MAX: Final = 64


def parse_bool(text: str) -> bool:
    """Return a truth value.

    Raises:
        ValueError: with the text of Go's ``strconv.ParseBool``.
    """
    value = _TRUTH_VALUES.get(text)
    if value is None:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return value


def parse_uint(text: str) -> int:
    """Return an unsigned integer of 64 bits.

    Raises:
        ValueError: with the text of Go's ``strconv.ParseUint``.
    """
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    value = int(text) if len(text) < _DIGITS_MAX else _UINT64_MAX + 1
    if value > _UINT64_MAX:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return value
