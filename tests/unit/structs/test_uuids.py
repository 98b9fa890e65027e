"""UUIDs: made, judged, compared by value."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import ConsultwistError
from consultwist.structs.uuids import make_uuid, uuid_key, uuid_problem, uuid_text

GOOD = "abcdef01-2345-6789-abcd-ef0123456789"


@given(st.integers(0, 2**128 - 1))
def test_a_made_text_is_a_uuid(number):
    """And stands for the number."""
    text = uuid_text(number)
    assert uuid_problem(text) == ""
    assert int(uuid_key(text), 16) == number


def test_ids_are_made_of_the_given_randomness():
    """The same seed gives the same ids, none twice."""
    one, other = random.Random(5), random.Random(5)
    ids = [make_uuid(one) for _ in range(100)]
    assert ids == [make_uuid(other) for _ in range(100)]
    assert len(set(ids)) == 100


def test_keys_compare_without_case_and_hyphens():
    """As tables of Consul's do, which look at the 16 bytes."""
    assert uuid_key(GOOD) == uuid_key(GOOD.upper()) == GOOD.replace("-", "")
    assert uuid_key("abcdef0123456789-abcd-ef0-123456-789") == uuid_key(GOOD)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "UUID must be 36 characters"),
        (GOOD[:-1], "UUID must be 36 characters"),
        (GOOD + "0", "UUID must be 36 characters"),
        ("-" * 5 + "0" * 31, 'UUID should have maximum of 4 "-"; got 5'),
        ("-" * 3 + "0" * 33, "Input (without hyphens) must be even length"),
        (
            "g" + GOOD[1:],
            "Invalid UUID: encoding/hex: invalid byte: U+0067 'g'",
        ),
        (
            "\udc80" + GOOD[1:],
            "Invalid UUID: encoding/hex: invalid byte: U+0080",
        ),
    ],
)
def test_what_is_none_cannot_be_looked_up(text, problem):
    """With the words of Go's index."""
    with pytest.raises(ConsultwistError, match=f"^index error: {re.escape(problem)}$"):
        uuid_key(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD, ""),
        (GOOD.upper(), ""),
        (GOOD[:-1], "uuid string is wrong length"),
        (GOOD.replace("-", "_"), "uuid is improperly formatted"),
        ("\u00fc" + GOOD[2:], "uuid is improperly formatted"),
        ("x" + GOOD[1:], "encoding/hex: invalid byte: U+0078 'x'"),
    ],
)
def test_the_form_of_an_id_is_judged(text, problem):
    """With the words of Consul's parser."""
    assert uuid_problem(text) == problem
