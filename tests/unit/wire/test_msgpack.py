"""MessagePack in the old dialect, within bounds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import WireError
from consultwist.wire import msgpack
from consultwist.wire.msgpack import StreamUnpacker

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.binary(max_size=300),
    lambda items: (
        st.lists(items, max_size=20)
        | st.dictionaries(st.binary(max_size=5), items, max_size=20)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_packed_is_unpacked(value):
    """Raw strings come back as bytes."""
    assert msgpack.unpack(msgpack.pack(value)) == value


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65535, 65536])
def test_strings_and_bytes_are_one_raw_type(size):
    """Neither ``str8`` nor ``bin`` is ever written: Go's old codec knows neither."""
    heads = {31: b"\xbf", 32: b"\xda", 255: b"\xda", 256: b"\xda", 65535: b"\xda"}
    head = heads.get(size, b"\xdb")
    assert msgpack.pack("x" * size)[:1] == head
    assert msgpack.pack(b"x" * size) == msgpack.pack("x" * size)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x81\xa1a", b"\xdb\xff\xff\xff\xff", b"\x01\x02", b"\xd4\x01x"],
    ids=["nothing", "reserved", "half a map", "huge", "two values", "extension"],
)
def test_what_is_not_one_value_is_refused(data):
    """As the sender's fault, whatever the library calls it."""
    with pytest.raises(WireError):
        msgpack.unpack(data)


def test_deep_nesting_is_refused():
    """Before the interpreter's stack is."""
    with pytest.raises(WireError):
        msgpack.unpack(b"\x91" * 100_000 + b"\xc0")
    value: object = b"x"
    for _ in range(msgpack.DEPTH_MAX + 2):
        value = [value]
    with pytest.raises(WireError, match="too deeply"):
        msgpack.plain(value)


def test_the_rest_behind_a_value_is_given_back():
    """For messages that hold a value and then something else."""
    assert msgpack.unpack_first(b"\x93\x01\x02\x03rest") == ([1, 2, 3], b"rest")
    assert msgpack.unpack_first(b"\x05") == (5, b"")
    with pytest.raises(WireError):
        msgpack.unpack_first(b"\x92\x01")


@given(st.lists(VALUES, max_size=6), st.lists(st.integers(0, 200), max_size=20))
def test_a_stream_gives_its_values_however_it_is_cut(values, cuts):
    """None is lost, none comes early."""
    data = b"".join(msgpack.pack(value) for value in values)
    unpacker = StreamUnpacker()
    found = []
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(places):
        unpacker.feed(data[start:end])
        found += list(unpacker)
    assert found == values
    assert unpacker.pending == 0


def test_what_is_pending_is_counted():
    """So that a stream that ends inside a value can be told."""
    unpacker = StreamUnpacker()
    unpacker.feed(b"\x01\x92\x01")
    assert list(unpacker) == [1]
    assert unpacker.pending == 2


def test_a_stream_is_bounded():
    """A peer that never completes a value cannot grow our memory."""
    unpacker = StreamUnpacker(size_max=1000)
    unpacker.feed(b"\xda\xff\xff")
    taken = 0
    with pytest.raises(WireError, match="too large"):  # noqa: PT012 - one of many
        while taken < 100_000:
            unpacker.feed(b"x" * 100)
            assert list(unpacker) == []
            taken += 100
    assert taken <= 1000


def test_a_malformed_stream_is_refused():
    """As a single value is."""
    unpacker = StreamUnpacker()
    unpacker.feed(b"\xc1")
    with pytest.raises(WireError):
        list(unpacker)


def test_free_form_values_become_text():
    """Keys of maps, too; bytes that are not UTF-8 survive."""
    assert msgpack.plain({b"a": [b"b", 1, None, {b"\xff": True}]}) == {
        "a": ["b", 1, None, {"\udcff": True}]
    }
