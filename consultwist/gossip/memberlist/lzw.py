"""Inflating the LZW streams of memberlist.

Bits come lowest first, literals have 8 bits, codes grow from 9 to 12, 256 clears the
table and 257 ends the stream. The width grows exactly when the next free code reaches
512, 1024 and 2048, which is neither GIF's nor TIFF's habit. Writers of older Go
releases do not begin with a clear code, newer ones do; starting from the cleared state
takes both. Nothing is ever compressed here: a receiver must accept plain messages, and
compression is the only dear part of gossip.
"""

from consultwist.errors import WireError

_CLEAR = 256
_END = 257
_WIDTH_MIN = 9
_WIDTH_MAX = 12
_LITERALS = [bytes((value,)) for value in range(256)] + [b"", b""]


def inflate(data: bytes, size_max: int) -> bytes:
    """Return what a compressed stream holds; bytes behind its end are ignored.

    Raises:
        WireError: where the stream is broken, unfinished, or holds more than
            `size_max` bytes.
    """
    table = _LITERALS.copy()
    out: list[bytes] = []
    size = 0
    last: bytes | None = None
    # `high` is the highest code so far; it counts the first code after a clear, too.
    width, high, limit = _WIDTH_MIN, _END, 1 << _WIDTH_MIN
    bits, bit_count, position, end = 0, 0, 0, len(data)
    while True:
        while bit_count < width:
            if position == end:
                raise WireError("gossip: compressed data without an end")
            bits |= data[position] << bit_count
            position += 1
            bit_count += 8
        code = bits & ((1 << width) - 1)
        bits >>= width
        bit_count -= width
        if code == _CLEAR:
            table = _LITERALS.copy()
            last, width, high, limit = None, _WIDTH_MIN, _END, 1 << _WIDTH_MIN
            continue
        if code == _END:
            return b"".join(out)
        if code < len(table):
            entry = table[code]
        elif code == len(table) and last is not None:
            entry = last + last[:1]
        else:
            raise WireError("gossip: broken compressed data")
        if last is not None:
            table.append(last + entry[:1])
        size += len(entry)
        if size > size_max:
            raise WireError("gossip: compressed data holds too much")
        out.append(entry)
        last = entry
        high += 1
        if high == limit:
            if width == _WIDTH_MAX:
                # The table is full: nothing is added until a clear code.
                last, high = None, high - 1
            else:
                width += 1
                limit <<= 1
