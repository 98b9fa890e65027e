"""yamux frames: twelve bytes of header, and a payload where data is carried.

::

    version(1)=0  type(1)  flags(2)  stream id(4)  length(4)       all big-endian

The numbers are those of the yamux specification (`spec.md` of its first
implementation).
"""

import struct
from typing import Final

from consultwist.errors import WireError

VERSION: Final = 0

DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

#: Reasons of a go-away.
NORMAL: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2

HEADER_SIZE: Final = 12

#: What each side may send on a stream before it is told more.
INITIAL_WINDOW: Final = 256 * 1024

_HEADER: Final = struct.Struct(">BBHII")


def encode(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Return a frame's header; a data frame's payload follows it."""
    return _HEADER.pack(VERSION, kind, flags, stream, length)


def decode(buffer: bytes | bytearray, offset: int = 0) -> tuple[int, int, int, int]:
    """Return type, flags, stream id and length of the header at an offset.

    Raises:
        WireError: for another version or an unknown type.
    """
    version, kind, flags, stream, length = _HEADER.unpack_from(buffer, offset)
    if version != VERSION:
        raise WireError(f"yamux: version {version} is not known")
    if kind > GO_AWAY:
        raise WireError(f"yamux: frame type {kind} is not known")
    return kind, flags, stream, length
