"""Packets: layers on the way out, layers and hostile bytes on the way in."""

import itertools
import struct
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import BadRequest, WireError
from consultwist.gossip.memberlist import lzw, messages
from consultwist.gossip.memberlist.keyring import KEYS_MAX, Keyring
from consultwist.gossip.memberlist.messages import Alive, Compress, Ping
from consultwist.gossip.memberlist.packet import (
    COMPOUND_PARTS_MAX,
    PACKET_INFLATED_MAX,
    PacketCodec,
    compound,
)
from consultwist.testing.lzw import deflate

KEY, OTHER = bytes(range(16)), bytes(range(32))


def counting_nonce():
    numbers = itertools.count()
    return lambda size: next(numbers).to_bytes(size, "big")


def codec(*keys, **options):
    return PacketCodec(Keyring(keys, counting_nonce()), **options)


def crc(message):
    return b"\x0c" + struct.pack(">I", zlib.crc32(message)) + message


def compressed(message):
    body = Compress(algo=0, buf=deflate(message, begins_with_clear=True))
    return messages.encode(messages.COMPRESS, body)


MESSAGES = st.binary(min_size=1, max_size=300).filter(
    lambda data: data[0] not in (7, 9, 12, 244)
)


@given(
    parts=st.lists(MESSAGES, min_size=1, max_size=COMPOUND_PARTS_MAX),
    keys=st.sampled_from([(), (KEY,), (OTHER, KEY)]),
    label=st.sampled_from([b"", b"alpha"]),
)
def test_what_is_sealed_comes_out_again(parts, keys, label):
    """Any messages survive compound, encryption and label."""
    sender, receiver = codec(*keys, label=label), codec(*keys[::-1], label=label)
    packet = sender.seal(compound(parts))
    assert receiver.unpack(packet) == parts
    assert len(packet) - len(compound(parts)) == sender.overhead()


@given(st.binary(max_size=400))
def test_no_bytes_break_the_receiver(data):
    """Whatever comes, the receiver returns messages or counts a drop."""
    for receiver in (codec(), codec(KEY), codec(label=b"x"), codec(KEY, label=b"x")):
        found = receiver.unpack(data)
        assert found or receiver.dropped or data[:1] == b"\x07"


@given(st.binary(min_size=1, max_size=6000), st.booleans())
def test_compression_is_undone_in_both_dialects(data, clears):
    """What a member compressed inflates to the same, to the last byte."""
    packed = deflate(data, begins_with_clear=clears)
    assert lzw.inflate(packed, len(data)) == data
    with pytest.raises(WireError):
        lzw.inflate(packed, len(data) - 1)
    with pytest.raises(WireError):
        lzw.inflate(packed[:-2], len(data))


def test_long_data_resets_the_table():
    """Data that overflows the table of codes several times is read correctly."""
    data = bytes((i * i + i // 7) & 255 for i in range(60_000))
    for clears in (True, False):
        assert lzw.inflate(deflate(data, begins_with_clear=clears), 60_000) == data


def test_the_layers_nest_as_memberlist_nests_them():
    """Encryption holds a checksum, that a compressed compound."""
    parts = [b"\x00a", b"\x02b", b"\x04c"]
    packet = codec(KEY).seal(crc(compressed(compound(parts))))
    assert codec(KEY).unpack(packet) == parts


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "gossip: empty message"),
        (b"\x0c\x01\x02", "gossip: truncated checksum"),
        (b"\x0c\0\0\0\0ping", "gossip: wrong checksum"),
        (crc(crc(b"\x00x")), "gossip: misplaced checksum"),
        (compound([crc(b"\x00x"), b"\x07\x00"]), "gossip: misplaced checksum"),
        (b"\x07\xff\x00", "gossip: compound without its lengths"),
        (b"\x07", None),
        (b"\x07\x01\x00\x00", "gossip: empty message"),
        (b"\x07\x02\x00\x02\x00\xff\x00a", "gossip: truncated compound"),
        (b"\xf4\x05alpha\x00", "gossip: unexpected label"),
        (b"\x09\x82\xa4Algo\x01\xa3Buf\xa0", "gossip: unknown compression"),
        (b"\x09\x81\xa3Buf\xa3abc", "gossip: broken compressed data"),
        (b"\x09\xc1", "gossip: undecodable message"),
    ],
)
def test_rubbish_is_dropped_and_counted(packet, reason):
    """Each way in which a packet can be broken has its own counter."""
    receiver = codec()
    receiver.unpack(packet)
    assert not reason or receiver.dropped[reason] == 1, receiver.dropped


def test_complete_parts_of_a_truncated_compound_are_used():
    """What came whole is not thrown away for what did not."""
    whole = compound([b"\x00a", b"\x02bb", b"\x04ccc"])
    assert codec().unpack(whole[:-1]) == [b"\x00a", b"\x02bb"]


def test_compressed_bombs_are_not_inflated():
    """A packet inflates to a bounded size, all of its parts together."""
    bomb = compressed(bytes(4) + b"a" * (PACKET_INFLATED_MAX * 2 // 3))
    receiver = codec()
    found = receiver.unpack(compound([bomb, bomb, bomb]))
    assert sum(map(len, found)) <= PACKET_INFLATED_MAX
    assert receiver.dropped["gossip: compressed data holds too much"] == 2


def test_nesting_is_bounded():
    """Compounds inside compounds end somewhere."""
    data = b"\x00x"
    for _ in range(10):
        data = b"\x07\x01" + struct.pack(">H", len(data)) + data
    receiver = codec()
    assert receiver.unpack(data) == []
    assert receiver.dropped["gossip: nested too deeply"] == 1


def test_packets_for_other_pools_are_dropped():
    """Wrong keys, wrong labels, plain text in an encrypted pool: all dropped."""
    ping = messages.encode(messages.PING, Ping(seq_no=1))
    cases = [
        (codec(OTHER), codec(KEY)),
        (codec(), codec(KEY)),
        (codec(KEY), codec(KEY, label=b"a")),
        (codec(KEY, label=b"a"), codec(KEY, label=b"b")),
        (codec(KEY, label=b"a"), codec(KEY)),
        (codec(label=b"a"), codec()),
    ]
    for sender, receiver in cases:
        assert receiver.unpack(sender.seal(ping)) == []
        assert sum(receiver.dropped.values()) == 1


def test_tampered_packets_are_dropped():
    """One flipped bit anywhere makes an encrypted packet worthless."""
    packet = codec(KEY).seal(b"\x00hello")
    for at in range(len(packet)):
        broken = bytearray(packet)
        broken[at] ^= 0x40
        assert codec(KEY).unpack(bytes(broken)) == []


def test_rolling_in_encryption_lets_plain_packets_through():
    """Without verify_incoming a keyed member reads plain text, too."""
    receiver = codec(KEY, verify_incoming=False, verify_outgoing=False)
    assert receiver.unpack(b"\x00plain") == [b"\x00plain"]
    assert receiver.unpack(codec(KEY).seal(b"\x00sealed")) == [b"\x00sealed"]
    assert receiver.seal(b"\x00x") == b"\x00x"
    assert receiver.overhead() == 0


def test_version_0_is_read_and_bad_padding_is_not():
    """Members of memberlist protocol 1 pad their messages."""

    def version_0(plain):
        return b"\x00" + bytes(12) + AESGCM(KEY).encrypt(bytes(12), plain, b"")

    assert codec(KEY).unpack(version_0(b"\x00ping" + b"\x0b" * 11)) == [b"\x00ping"]
    for padding in (b"\x00", b"\x11" * 17, b"\xff"):
        assert codec(KEY).unpack(version_0(b"\x00ping" + padding)) == []
    assert codec(KEY).unpack(b"\x02" + bytes(40)) == []


def test_a_keyring_keeps_its_rules():
    """One primary, no removal of it, only whole keys, and not too many."""
    ring = Keyring([KEY])
    ring.add(OTHER)
    ring.add(KEY)
    assert ring.keys == [KEY, OTHER]
    with pytest.raises(BadRequest, match="Removing the primary key is not allowed"):
        ring.remove(KEY)
    ring.use(OTHER)
    assert ring.primary == OTHER
    ring.remove(KEY)
    ring.remove(KEY)
    with pytest.raises(BadRequest, match="not in the keyring"):
        ring.use(KEY)
    with pytest.raises(BadRequest, match="16, 24 or 32 bytes"):
        ring.add(b"short")
    for number in range(KEYS_MAX - 1):
        ring.add(bytes([number + 1]) * 24)
    with pytest.raises(BadRequest):
        ring.add(bytes(24))


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa5SeqNo\xcf\x00\x00\x01\x00\x00\x00\x00\x00",
        b"\x81\xa5SeqNo\xff",
        b"\x81\xa5SeqNo\xa3abc",
        b"\x81\xa4Node\xcd\x01\x01",
        b"\x92\x01\xa1x",
        b"\xc0",
        b"\x81\xaaSourcePort\xce\x00\x01\x00\x00",
        b"\x81\xa5SeqNo",
        b"",
    ],
)
def test_fields_that_do_not_fit_are_refused(body):
    """Integers out of range and wrong types are errors, as in Go."""
    with pytest.raises(WireError):
        messages.decode(Ping, body)


def test_unknown_fields_and_trailing_bytes_are_ignored():
    """Newer members may say more than we understand."""
    body = b"\x82\xa5SeqNo\x07\xa3New\x93\x01\x02\x03" + b"trailing"
    assert messages.decode(Ping, body).seq_no == 7
    assert messages.decode(Ping, b"\x81\xa5seqno\x07").seq_no == 0


def test_the_new_msgpack_families_are_read():
    """Members with str8 and bin8 are understood."""
    body = b"\x83\xa4Node\xd9\x02us\xa4Addr\xc4\x04\x7f\x00\x00\x01\xa4Port\xd1\x20\x6d"
    alive = messages.decode(Alive, body)
    assert (alive.node, alive.addr, alive.port) == ("us", b"\x7f\0\0\x01", 8301)
