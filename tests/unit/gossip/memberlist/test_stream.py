"""Streams: one message, whatever the cutting, and bounds for the hostile ones."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import WireError
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.members import Member
from consultwist.gossip.memberlist.messages import Ack, Compress, Ping, PushPullHeader
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.memberlist.push_pull import (
    encode_state,
    interval_scale,
    to_node_state,
    version_problem,
    vsn_is_sane,
)
from consultwist.gossip.memberlist.stream import (
    NOT_CONFIGURED,
    NOT_ENCRYPTED,
    STREAM_SIZE_MAX,
    Compressed,
    PushPull,
    StreamReader,
    StreamRefused,
    inflate,
    seal,
)
from consultwist.testing.lzw import deflate

KEY, OTHER = bytes(16), bytes(32)
VSN = bytes((1, 5, 2, 2, 5, 4))


def codec(*keys, **options):
    return PacketCodec(Keyring(keys), **options)


def member(name, **fields):
    given: dict[str, Any] = {"ip": b"\x7f\0\0\1", "port": 8301, "vsn": VSN}
    given["state"] = 0
    return Member(name=name, **(given | fields))


def read(reader, data, chunk=1 << 30):
    message = None
    for start in range(0, len(data), chunk):
        assert message is None
        message = reader.feed(data[start : start + chunk])
    return message


STATE = encode_state(
    [member(f"node{number}", incarnation=number) for number in range(40)],
    b"\x02user state",
    join=True,
)


@given(
    chunk=st.integers(1, 5000),
    key=st.sampled_from([(), (KEY,)]),
    label=st.sampled_from([b"", b"alpha"]),
    is_dialing=st.booleans(),
)
def test_a_full_exchange_is_read_however_it_is_cut(chunk, key, label, is_dialing):
    """Members and state come out the same from any cutting and any wrapping."""
    data = seal(codec(*key, label=label), STATE, is_dialing=is_dialing)
    reader = StreamReader(codec(*key, label=label), is_dialing=not is_dialing)
    message = read(reader, data, chunk)
    assert isinstance(message, PushPull)
    assert message.join
    assert message.user_state == b"\x02user state"
    assert [node.name for node in message.nodes] == [f"node{n}" for n in range(40)]


@given(st.binary(max_size=300))
def test_no_bytes_break_a_reader(data):
    """Whatever comes, a reader waits, answers or refuses."""
    for keys in ((), (KEY,)):
        reader = StreamReader(codec(*keys), is_dialing=False)
        try:
            message = reader.feed(data) if data else None
            if isinstance(message, Compressed):
                inflate(message)
        except WireError:
            continue


def test_an_answer_carries_no_label_but_is_bound_to_it():
    """Only the side that dials writes the label; both authenticate it."""
    ack = messages.encode(messages.ACK, Ack(seq_no=7))
    answer = seal(codec(KEY, label=b"a"), ack, is_dialing=False)
    assert answer[0] == messages.ENCRYPT
    assert read(StreamReader(codec(KEY, label=b"a"), is_dialing=True), answer).seq_no
    with pytest.raises(StreamRefused):
        read(StreamReader(codec(KEY, label=b"b"), is_dialing=True), answer)


@pytest.mark.parametrize(
    ("sender", "receiver", "text"),
    [
        (codec(), codec(KEY), NOT_ENCRYPTED),
        (codec(KEY), codec(), NOT_CONFIGURED),
        (codec(OTHER), codec(KEY), "no installed key"),
    ],
)
def test_who_cannot_read_a_stream_says_why(sender, receiver, text):
    """The reason is answered to the sender, as memberlist does."""
    data = seal(sender, STATE, is_dialing=True)
    with pytest.raises(StreamRefused, match=text):
        read(StreamReader(receiver, is_dialing=False), data)


def test_rolling_in_encryption_accepts_plain_streams():
    """Without verify_incoming plain streams are read."""
    receiver = codec(KEY, verify_incoming=False)
    reader = StreamReader(receiver, is_dialing=False)
    assert isinstance(read(reader, STATE), PushPull)


def head(**fields):
    return messages.encode(messages.PUSH_PULL, PushPullHeader(**fields))


@pytest.mark.parametrize(
    "data",
    [
        head(nodes=2**31),
        head(nodes=-1),
        head(user_state_len=2**33),
        head(user_state_len=-5),
        b"\x08\x81\xaaUserMsgLen\xce\xff\xff\xff\xff",
        b"\x03\x80",
        b"\x00\xdd\xff\xff\xff\xff",
        b"\xf4\x05wrong\x00",
        b"\x06\x90",
    ],
)
def test_absurd_claims_are_refused_at_once(data):
    """Counts and lengths beyond all bounds end the stream before any growth."""
    with pytest.raises(WireError):
        StreamReader(codec(), is_dialing=False).feed(data + bytes(64))


def test_an_endless_stream_is_cut():
    """A stream that never completes its message is bounded."""
    reader = StreamReader(codec(), is_dialing=False)
    reader.feed(head(nodes=0, user_state_len=19 * 1024 * 1024))
    for _ in range(18):
        assert reader.feed(bytes(1024 * 1024)) is None
    reader = StreamReader(codec(), is_dialing=False)
    reader.feed(b"\x00\xdb\xff\xff\xff\xff" + bytes(STREAM_SIZE_MAX - 100))
    with pytest.raises(WireError):
        reader.feed(bytes(100))


def test_an_encrypted_stream_that_claims_gigabytes_is_refused():
    """The length before the envelope is checked before anything is stored."""
    claim = struct.pack(">BI", messages.ENCRYPT, 2**31)
    with pytest.raises(WireError):
        StreamReader(codec(KEY), is_dialing=False).feed(claim)


def test_a_compressed_stream_is_inflated_once():
    """Compression inside compression, and a truncated inside, are refused."""
    ping = messages.encode(messages.PING, Ping(seq_no=9))

    def pack(message):
        body = Compress(buf=deflate(message, begins_with_clear=False))
        return messages.encode(messages.COMPRESS, body)

    message = StreamReader(codec(), is_dialing=False).feed(pack(ping))
    assert isinstance(message, Compressed)
    assert inflate(message) == Ping(seq_no=9)
    for inner in (pack(ping), ping[:-3]):
        message = StreamReader(codec(), is_dialing=False).feed(pack(inner))
        assert isinstance(message, Compressed)
        with pytest.raises(WireError):
            inflate(message)


def test_exchanges_become_rarer_in_large_pools():
    """Each doubling from 32 members on adds one interval."""
    scales = {n: interval_scale(n) for n in (1, 32, 33, 64, 65, 128, 129, 5000)}
    assert scales == {1: 1, 32: 1, 33: 2, 64: 2, 65: 3, 128: 3, 129: 4, 5000: 9}


def test_versions_must_overlap():
    """A side that some alive member cannot understand is not merged."""
    ours = [member("a")]
    theirs = [to_node_state(member("b"))]
    assert version_problem(ours, theirs) is None
    newer = to_node_state(member("c", vsn=bytes((3, 6, 3, 2, 5, 4))))
    assert "protocol version 2" in (version_problem(ours, [newer]) or "")
    odd = to_node_state(member("d", vsn=bytes((1, 5, 2, 5, 7, 6)), state=2))
    assert "delegate protocol" in (version_problem(ours, [odd]) or "")
    assert version_problem(ours, [to_node_state(member("e", vsn=b""))]) is None


def test_versions_of_alive_messages_are_checked():
    """Missing, short and contradictory versions are no member's."""
    assert vsn_is_sane(VSN)
    for vsn in (None, b"", VSN[:5], bytes(6), bytes((5, 1, 2, 2, 5, 4))):
        assert not vsn_is_sane(vsn)
