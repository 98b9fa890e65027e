"""Go's time: its binary form, and its text in JSON."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import WireError
from consultwist.wire.time import ZERO_TIME, Time

VECTORS = Path(__file__).parents[2] / "vectors" / "rpc" / "methods.json"

#: From year 1 to year 9999, as RFC 3339 can show them.
SECONDS = st.integers(-62135596800, 253402300799)
TIMES = st.builds(Time, SECONDS, st.integers(0, 999_999_999))


@given(
    st.builds(
        Time,
        st.integers(-(2**62), 2**62),
        st.integers(0, 999_999_999),
        st.integers(-1440, 1440),
    )
)
def test_the_binary_form_comes_back(time):
    """Fifteen bytes: version, seconds since year 1, nanoseconds, offset."""
    raw = time.to_raw()
    assert len(raw) == 15
    assert Time.from_raw(raw) == time
    assert hash(Time.from_raw(raw)) == hash(time)


@given(TIMES)
def test_the_text_comes_back(time):
    """With as many digits as are needed."""
    assert Time.parse(time.json()) == time


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (ZERO_TIME, "0001-01-01T00:00:00Z"),
        (Time(0), "1970-01-01T00:00:00Z"),
        (Time(1, 500_000_000), "1970-01-01T00:00:01.5Z"),
        (Time(1, 1), "1970-01-01T00:00:01.000000001Z"),
        (Time(0, 0, 90), "1970-01-01T01:30:00+01:30"),
        (Time(0, 0, -300), "1969-12-31T19:00:00-05:00"),
        (Time(0, 0, 0), "1970-01-01T00:00:00Z"),
    ],
)
def test_times_show_as_go_shows_them(time, text):
    """RFC 3339 with nanoseconds."""
    assert time.json() == text
    assert repr(time) == f"Time({text})"


def test_an_offset_in_the_text_is_kept():
    """Two texts of one instant differ, as Go's values do."""
    east = Time.parse("2020-01-01T01:00:00+01:00")
    assert (east.seconds, east.offset_min) == (1577836800, 60)
    assert east != Time.parse("2020-01-01T00:00:00Z")


@pytest.mark.parametrize("text", ["", "now", "2020-01-01", "2020-01-01T00:00:00"])
def test_other_texts_are_none(text):
    """A time without a zone is not an instant."""
    with pytest.raises(ValueError, match=r".*"):
        Time.parse(text)


@pytest.mark.parametrize("raw", [b"", b"\x01" * 14, b"\x03" + b"\0" * 14, 5, "text"])
def test_other_bytes_are_none(raw):
    """Too short, another version, no bytes at all."""
    with pytest.raises(WireError):
        Time.from_raw(raw)


def test_only_the_zero_time_is_zero():
    """The first instant of year 1, whatever its zone."""
    assert ZERO_TIME.is_zero
    assert not Time(0).is_zero


def test_a_clock_reading_becomes_an_instant():
    """In UTC, with what precision a float has."""
    time = Time.from_wall(1577836800.25)
    assert (time.seconds, time.nanoseconds) == (1577836800, 250_000_000)
    assert time.wall() == 1577836800.25
    assert Time.from_wall(-0.5).json() == "1969-12-31T23:59:59.5Z"


def _captured(value):
    if isinstance(value, dict):
        if "$time" in value:
            yield value["$time"]
        for item in value.values():
            yield from _captured(item)
    elif isinstance(value, list):
        for item in value:
            yield from _captured(item)


def test_captured_times_come_back():
    """The bytes that a real server sent are those of the time that they show."""
    count = 0
    for vector in json.loads(VECTORS.read_text()):
        for part in ("request", "response"):
            for text in _captured(vector[part]):
                raw = Time.parse(text).to_raw()
                # The zone comes last; a local zone that is UTC shows the same.
                assert raw.hex()[:-4] in vector[f"{part}_hex"]
                assert Time.from_raw(raw).to_raw() == raw
                count += 1
    assert count > 50
