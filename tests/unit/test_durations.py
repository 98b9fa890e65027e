"""Go's duration text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist import durations


@given(st.integers(-durations.DURATION_MAX, durations.DURATION_MAX))
def test_what_is_rendered_is_parsed(nanoseconds):
    """Every duration that Go can hold."""
    assert durations.parse(durations.render(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("1h30m", 5400 * durations.SECOND),
        ("-1.5h", -5400 * durations.SECOND),
        ("+5s", 5 * durations.SECOND),
        ("1.s", durations.SECOND),
        (".5s", 500 * durations.MILLISECOND),
        ("1us", 1000),
        ("1\u00b5s", 1000),
        ("1\u03bcs", 1000),
        ("3m2h", 7380 * durations.SECOND),
        ("0.1ns", 0),
        ("1.0000000009s", durations.SECOND),
    ],
)
def test_texts_mean_what_they_mean_in_go(text, nanoseconds):
    """Units in any order, fractions cut."""
    assert durations.parse(text) == nanoseconds
    assert durations.parse_seconds(text) == nanoseconds / durations.SECOND


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        ("abc", 'time: invalid duration "abc"'),
        (".s", 'time: invalid duration ".s"'),
        ("5", 'time: missing unit in duration "5"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("9999999h", 'time: invalid duration "9999999h"'),
        ("\u00fc", r'time: invalid duration "\xc3\xbc"'),
    ],
)
def test_other_texts_are_refused_in_gos_words(text, error):
    """The whole text is quoted."""
    with pytest.raises(ValueError, match=r".*") as caught:
        durations.parse(text)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1500, "1.5\u00b5s"),
        (2_000_000, "2ms"),
        (45_855_913, "45.855913ms"),
        (10 * durations.SECOND, "10s"),
        (90 * durations.SECOND, "1m30s"),
        (24 * durations.HOUR, "24h0m0s"),
        (-90 * durations.SECOND, "-1m30s"),
        (durations.HOUR + 1, "1h0m0.000000001s"),
    ],
)
def test_durations_show_as_go_shows_them(nanoseconds, text):
    """The largest unit first, no leading zeros."""
    assert durations.render(nanoseconds) == text
