"""Records: Go's names, generated coding, Go's zero values."""

import struct
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import WireError
from consultwist.wire import msgpack
from consultwist.wire.struct import (
    Field,
    Float32,
    Nanoseconds,
    Struct,
    field_specs,
    go_name,
)
from consultwist.wire.time import ZERO_TIME, Time


class Inner(Struct):
    """A record inside another."""

    name: str = ""
    number: int = 0


class Outer(Inner):
    """A record with a field of each kind."""

    flag: bool = False
    real: float = 0.0
    data: bytes | None = None
    texts: list[str] | None = None
    pairs: dict[str, str] | None = None
    inner: Inner = Inner()
    maybe: Inner | None = None
    inners: list[Inner] | None = None
    by_name: dict[str, Inner] | None = None
    lists: dict[str, list[str]] | None = None
    free: dict[str, Any] | None = None
    when: Time = ZERO_TIME
    http_addr: Annotated[str, Field(name="HttpAddr")] = ""


TEXT = st.text(max_size=6)
INNER = st.builds(Inner, name=TEXT, number=st.integers(-(2**63), 2**64 - 1))
FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT,
    lambda items: (
        st.lists(items, max_size=3) | st.dictionaries(TEXT, items, max_size=3)
    ),
    max_leaves=6,
)
OUTER = st.builds(
    Outer,
    name=TEXT,
    number=st.integers(-(2**63), 2**64 - 1),
    flag=st.booleans(),
    real=st.floats(allow_nan=False),
    data=st.none() | st.binary(max_size=40),
    texts=st.none() | st.lists(TEXT, max_size=3),
    pairs=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
    inner=INNER,
    maybe=st.none() | INNER,
    inners=st.none() | st.lists(INNER, max_size=3),
    by_name=st.none() | st.dictionaries(TEXT, INNER, max_size=3),
    lists=st.none() | st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3),
    free=st.none() | st.dictionaries(TEXT, FREE, max_size=3),
    when=st.builds(
        Time,
        st.integers(-(2**40), 2**40),
        st.integers(0, 999_999_999),
        st.integers(-1440, 1440),
    ),
)


@given(OUTER)
def test_every_record_survives_the_wire(record):
    """Decoded again it is equal, nil and empty kept apart."""
    assert Outer.unpack(record.pack()) == record


@given(OUTER)
def test_keys_stand_in_byte_order(record):
    """As Go's codec writes structures, so that bytes can be compared."""
    keys = list(msgpack.unpack(record.pack()))
    assert keys == sorted(keys)
    assert len(keys) == len(field_specs(Outer))


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("check_id", "CheckID"),
        ("grpc_use_tls", "GRPCUseTLS"),
        ("token_ids", "TokenIDs"),
        ("service_tags", "ServiceTags"),
        ("l_time", "LTime"),
        ("list_", "List"),
        ("ttl", "TTL"),
        ("source_ns", "SourceNS"),
    ],
)
def test_names_follow_one_rule(attribute, name):
    """Known initialisms are capitals, plurals of them too."""
    assert go_name(attribute) == name


def test_exceptions_are_written_at_the_field():
    """A name that the rule does not give."""
    assert b"HttpAddr" in msgpack.unpack(Outer().pack())


def test_unknown_keys_are_skipped_and_missing_ones_are_zero():
    """Newer and older peers understand each other."""
    raw = {b"Name": b"n", b"Future": [1, {b"a": b"b"}]}
    assert Inner.from_raw(raw) == Inner(name="n")
    assert Inner.from_raw(None) == Inner()


def test_nil_is_the_zero_value():
    """Also inside lists and maps."""
    raw = {
        b"Name": None,
        b"Texts": [b"a", None],
        b"Inner": None,
        b"Inners": [None],
        b"ByName": {b"a": None},
        b"When": None,
    }
    record = Outer.from_raw(raw)
    assert record.name == ""
    assert record.texts == ["a", ""]
    assert record.inners == [Inner()]
    assert record.by_name == {"a": Inner()}
    assert record.when is ZERO_TIME


@pytest.mark.parametrize(
    "raw",
    [
        [],
        5,
        {b"Name": 5},
        {b"Number": b"5"},
        {b"Number": 1.5},
        {b"Flag": 1},
        {b"Real": b"x"},
        {b"Data": 7},
        {b"Texts": b"abc"},
        {b"Texts": [5]},
        {b"Pairs": []},
        {b"Pairs": {5: b"x"}},
        {b"Inner": b"x"},
        {b"Inners": [[]]},
        {b"When": b"short"},
    ],
)
def test_a_wrong_type_is_the_senders_fault(raw):
    """Always the same class of error, whatever is wrong."""
    with pytest.raises(WireError):
        Outer.from_raw(raw)


def test_numbers_of_the_other_kind_are_taken_where_nothing_is_lost():
    """Free-form encoders write 3.0 for 3 and the other way round."""
    record = Outer.from_raw({b"Number": 3.0, b"Real": 2})
    assert (record.number, record.real) == (3, 2.0)
    assert isinstance(record.number, int)
    assert isinstance(record.real, float)


def test_text_keeps_bytes_that_are_not_utf8():
    """Go's strings hold any bytes."""
    raw = msgpack.pack({"Name": "a"}).replace(b"\xa1a", b"\xa1\xff")
    record = Inner.unpack(raw)
    assert record.name == "\udcff"
    assert b"\xa1\xff" in record.pack()


def test_records_cannot_be_changed():
    """They are shared between the state, caches and answers."""
    record = Inner()
    with pytest.raises(AttributeError):
        setattr(record, "name", "x")  # noqa: B010 - mypy would see it


class Shown(Struct):
    """A record with all that JSON does differently."""

    always: str = ""
    sometimes: Annotated[str, Field(omit_empty=True)] = ""
    never: Annotated[str, Field(json="-")] = ""
    renamed: Annotated[str, Field(json="other_name")] = ""
    wait: Annotated[Nanoseconds, Field(text=True, omit_empty=True)] = 0
    inner: Annotated[Inner, Field(omit_empty=True)] = Inner()


def test_json_has_options_that_the_wire_has_not():
    """A structure is never empty, as in Go."""
    empty = Shown(never="secret")
    assert empty.to_plain() == {
        "Always": "",
        "other_name": "",
        "Inner": {"Name": "", "Number": 0},
    }
    full = Shown(sometimes="x", wait=90 * 10**9)
    assert full.to_plain()["Sometimes"] == "x"
    assert full.to_plain()["Wait"] == "1m30s"
    assert set(msgpack.unpack(empty.pack())) == {
        b"Always",
        b"Sometimes",
        b"Never",
        b"Renamed",
        b"Wait",
        b"Inner",
    }


class Based(Inner):
    """A record that adds a field to another."""

    extra: str = ""


def test_json_shows_own_fields_before_inherited_ones():
    """Go writes embedded parts where they stand, which is last in Consul."""
    assert list(Based().to_plain()) == ["Extra", "Name", "Number"]
    assert list(Inner().to_plain()) == ["Name", "Number"]


class Weighted(Struct):
    """A record with a float32."""

    weight: Float32 = 0.0
    share: float = 0.0
    parts: list[Inner] | None = None
    labels: dict[str, str] | None = None


@given(st.floats(width=32, allow_nan=False), st.floats(allow_nan=False))
def test_a_float32_has_four_bytes_beside_a_float64(single, double):
    """Each keeps its width."""
    parts = [Inner(name=str(n)) for n in range(17)]
    record = Weighted(weight=single, share=double, parts=parts, labels={"a": "b"})
    packed = record.pack()
    assert b"\xa6Weight\xca" + struct.pack(">f", single) in packed
    assert b"\xa5Share\xcb" + struct.pack(">d", double) in packed
    assert Weighted.unpack(packed) == record


@pytest.mark.parametrize("number", [2.0**63, -(2.0**63), 1e300, 0.5])
def test_floats_that_are_no_integers_of_64_bits_are_refused(number):
    """What was read as an integer could not be written again."""
    with pytest.raises(WireError, match="an integer was expected"):
        Inner.from_raw({b"Number": number})
    assert Inner.from_raw({b"Number": 7.0}).number == 7
