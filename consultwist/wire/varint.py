"""Varints: the numbers of protobuf, seven bits a byte, the lowest first."""

from typing import Final

from consultwist.errors import WireError

#: Ten times seven bits are enough for 64.
_BYTES_MAX: Final = 10
_UINT64_MAX: Final = 2**64 - 1


def encode(value: int) -> bytes:
    """Return the bytes of an unsigned number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at an offset, and the offset behind it.

    Raises:
        WireError: where the data ends in it, or it has more than 64 bits.
    """
    value = 0
    for count, byte in enumerate(data[at : at + _BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80 and value <= _UINT64_MAX:
            return value, at + count + 1
    raise WireError("protobuf: malformed varint")
