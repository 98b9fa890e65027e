"""The numbers of protobuf."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import WireError
from consultwist.wire import varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=12))
def test_numbers_come_back(value, before, behind):
    """Wherever they stand, and whatever stands behind them."""
    data = before + varint.encode(value)
    assert varint.decode(data + behind, len(before)) == (value, len(data))


def test_numbers_are_written_as_protobuf_does():
    """The example of protobuf's documentation."""
    assert varint.encode(150) == b"\x96\x01"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\xff" * 11, b"\xff" * 9 + b"\x02"],
    ids=["nothing", "cut", "endless", "over 64 bits"],
)
def test_what_is_no_number_is_refused(data):
    """It would not fit the field, or is cut off."""
    with pytest.raises(WireError, match="malformed varint"):
        varint.decode(data, 0)
