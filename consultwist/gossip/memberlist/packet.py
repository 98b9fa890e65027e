"""Packets: label, encryption, checksum, compression, compound.

Layers from the outside in, as memberlist nests them::

    label (new members only) -> encryption -> one checksum -> compound and compression

A packet that cannot be read is dropped without an answer; the reason is counted. What
is sent has no checksum and no compression: both are optional for the sender, UDP has a
checksum of its own and encryption another.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Sequence

import attrs

from consultwist.errors import WireError
from consultwist.gossip.memberlist import keyring, lzw
from consultwist.gossip.memberlist.messages import (
    COMPOUND,
    COMPRESS,
    HAS_CRC,
    HAS_LABEL,
    Compress,
    decode,
    drop_reason,
)

#: An old receiver computes twice the count in 8 bits, so 128 parts are misread.
COMPOUND_PARTS_MAX = 127

#: What one datagram may grow to, all compressed parts together. No sender compresses
#: a message that would not have fit a datagram of 64 KiB.
PACKET_INFLATED_MAX = 128 * 1024

#: memberlist writes compression around one compound; anything deeper is hostile.
NESTING_MAX = 4

#: The label's length is one byte.
LABEL_SIZE_MAX = 255

_WRAPPERS = (COMPOUND, COMPRESS, HAS_CRC)

_CRC_HEADER = struct.Struct(">BI")


@attrs.define
class _Inflation:
    """How many more bytes the parts of one packet may inflate to."""

    left: int = PACKET_INFLATED_MAX


class PacketCodec:
    """Puts messages into packets and takes them out again.

    Args:
        keys: the keyring; an empty one means no encryption.
        label: the label that all packets of the pool carry, or nothing.
        verify_incoming: whether plain packets are refused while there are keys.
        verify_outgoing: whether to encrypt while there are keys.
        dropped: counts what was dropped, by reason.
    """

    def __init__(
        self,
        keys: keyring.Keyring,
        *,
        label: bytes = b"",
        verify_incoming: bool = True,
        verify_outgoing: bool = True,
        dropped: Counter[str] | None = None,
    ) -> None:
        assert len(label) <= LABEL_SIZE_MAX
        self.keys = keys
        self.label = label
        self.verify_incoming = verify_incoming
        self.verify_outgoing = verify_outgoing
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        self.prefix = bytes((HAS_LABEL, len(label))) + label if label else b""

    @property
    def is_encrypting(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.verify_outgoing and bool(self.keys)

    def overhead(self) -> int:
        """Return what sealing adds to a message."""
        return len(self.prefix) + (keyring.OVERHEAD if self.is_encrypting else 0)

    def seal(self, message: bytes) -> bytes:
        """Return the packet that carries a message or compound."""
        if self.is_encrypting:
            message = self.keys.encrypt(message, self.label)
        return self.prefix + message if self.prefix else message

    def unpack(self, packet: bytes) -> list[bytes]:
        """Return the messages in a packet; what cannot be read is counted."""
        try:
            data = self._decrypt(self._strip_label(packet))
            if data[:1] == b"\x0c":
                data = _strip_crc(data)
        except WireError as error:
            return self._drop(str(error))
        if not data:
            return self._drop("gossip: empty message")
        if data[0] not in _WRAPPERS:
            return [data]
        messages: list[bytes] = []
        self._split(data, _Inflation(), NESTING_MAX, messages)
        return messages

    def _drop(self, reason: str) -> list[bytes]:
        self.dropped[reason] += 1
        return []

    def _strip_label(self, packet: bytes) -> bytes:
        if not self.prefix:
            if packet[:1] == b"\xf4":
                raise WireError("gossip: unexpected label")
            return packet
        if not packet.startswith(self.prefix):
            raise WireError("gossip: missing or wrong label")
        return packet[len(self.prefix) :]

    def _decrypt(self, data: bytes) -> bytes:
        if not self.keys:
            return data
        try:
            return self.keys.decrypt(data, self.label)
        except WireError:
            if self.verify_incoming:
                raise
            return data

    def _split(
        self, data: bytes, inflation: _Inflation, depth: int, out: list[bytes]
    ) -> None:
        if not data:
            self.dropped["gossip: empty message"] += 1
        elif data[0] == COMPOUND:
            if depth == 0:
                self.dropped["gossip: nested too deeply"] += 1
                return
            for part in self._parts(data):
                self._split(part, inflation, depth - 1, out)
        elif data[0] == COMPRESS:
            if depth == 0:
                self.dropped["gossip: nested too deeply"] += 1
                return
            try:
                plain = expand(data[1:], inflation.left)
            except WireError as error:
                self.dropped[drop_reason(error)] += 1
                return
            inflation.left -= len(plain)
            self._split(plain, inflation, depth - 1, out)
        elif data[0] == HAS_CRC:
            # A checksum is only understood at the outside.
            self.dropped["gossip: misplaced checksum"] += 1
        else:
            out.append(data)

    def _parts(self, data: bytes) -> list[bytes]:
        """Cut a compound; parts that run over its end are counted and left out."""
        count = data[1] if len(data) > 1 else 0
        start = 2 + 2 * count
        if len(data) < start:
            return self._drop("gossip: compound without its lengths")
        parts = []
        for size in struct.unpack_from(f">{count}H", data, 2):
            if start + size > len(data):
                self.dropped["gossip: truncated compound"] += 1
                break
            parts.append(data[start : start + size])
            start += size
        return parts


def expand(body: bytes, size_max: int) -> bytes:
    """Return the message inside a compress message, given behind its type byte.

    Raises:
        WireError: where it cannot be read or holds more than `size_max` bytes.
    """
    compressed = decode(Compress, body)
    if compressed.algo != 0:
        raise WireError("gossip: unknown compression")
    return lzw.inflate(compressed.buf or b"", size_max)


def _strip_crc(data: bytes) -> bytes:
    if len(data) < _CRC_HEADER.size:
        raise WireError("gossip: truncated checksum")
    (_, expected) = _CRC_HEADER.unpack_from(data)
    if zlib.crc32(data[_CRC_HEADER.size :]) != expected:
        raise WireError("gossip: wrong checksum")
    return data[_CRC_HEADER.size :]


def compound(messages: Sequence[bytes]) -> bytes:
    """Return one message that holds several; a single one stays bare."""
    if len(messages) == 1:
        return messages[0]
    assert 0 < len(messages) <= COMPOUND_PARTS_MAX
    count = len(messages)
    lengths = struct.pack(f">{count}H", *map(len, messages))
    return b"".join((bytes((COMPOUND, count)), lengths, *messages))
