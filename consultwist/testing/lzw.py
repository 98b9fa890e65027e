"""Writing the LZW streams of memberlist, as its Go members do.

The product only reads them; tests and benchmarks need a writer.
"""

from typing import Final

_CLEAR: Final = 256
_END: Final = 257
_CODES_MAX: Final = 4095


class _BitWriter:
    def __init__(self) -> None:
        self.out = bytearray()
        self._bits = 0
        self._count = 0

    def write(self, code: int, width: int) -> None:
        self._bits |= code << self._count
        self._count += width
        while self._count >= 8:
            self.out.append(self._bits & 0xFF)
            self._bits >>= 8
            self._count -= 8

    def flush(self) -> bytes:
        if self._count:
            self.out.append(self._bits & 0xFF)
        return bytes(self.out)


def deflate(data: bytes, *, begins_with_clear: bool) -> bytes:
    """Return the compressed form of `data`, which must not be empty.

    Args:
        data: the plain bytes.
        begins_with_clear: as writers since Go 1.17 do.
    """
    writer = _BitWriter()
    width, high, limit = 9, _END, 512
    if begins_with_clear:
        writer.write(_CLEAR, width)
    table: dict[tuple[int, int], int] = {}
    code = data[0]
    for byte in data[1:]:
        found = table.get((code, byte))
        if found is not None:
            code = found
            continue
        writer.write(code, width)
        high += 1
        if high == limit:
            width, limit = width + 1, limit * 2
        if high == _CODES_MAX:
            writer.write(_CLEAR, width)
            table.clear()
            width, high, limit = 9, _END, 512
        else:
            table[code, byte] = high
        code = byte
    writer.write(code, width)
    high += 1
    if high == limit:
        width += 1
    if high == _CODES_MAX:
        writer.write(_CLEAR, width)
        width = 9
    writer.write(_END, width)
    return writer.flush()
