"""Truth values and numbers as Go reads them."""

import pytest

from consultwist.wire.strconv import parse_bool, parse_uint


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("T", True), ("f", False), ("FALSE", False)]
)
def test_truth_values_have_several_spellings(text, value):
    """Digits, letters and words, in lower or upper case."""
    assert parse_bool(text) is value


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "2", " true"])
def test_other_words_are_no_truth_values(text):
    """The error is Go's."""
    with pytest.raises(ValueError, match='ParseBool: parsing "'):
        parse_bool(text)


def test_numbers_are_unsigned_and_of_64_bits():
    """What does not fit is refused in Go's words, however long."""
    assert parse_uint("18446744073709551615") == 2**64 - 1
    assert parse_uint("007") == 7
    for text in ("x", "", "-1", "+1", "1.0", "\u0661"):
        with pytest.raises(ValueError, match="invalid syntax"):
            parse_uint(text)
    for text in ("18446744073709551616", "9" * 5000):
        with pytest.raises(ValueError, match="value out of range"):
            parse_uint(text)
