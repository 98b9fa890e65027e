"""Regular expressions match as RE2's do, in bounded time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import BadRequest
from consultwist.gossip.serf.expression import search

AGREED = [
    "", "a", "ab", "^a", "b$", "^$", "a|b", "a*", "a+b", "ab?c", "(ab)+", "(a|b)*c",
    "[abc]", "[^abc]", "[a-c]+x", "a{2}", "a{2,}", "a{1,3}b", "(?:ab){2}", r"\d+",
    r"\w\W", r"\s", r"\bab\b", r"a\.b", r"[\d-]+", "a.c", "x*", "(a|)b", "[]a]",
    "[a-]", r"\$", "(?i)AB", "a+?b", "^(a|b)+$", r"\Aab\Z".replace("Z", "Z"),
]  # fmt: skip


@pytest.mark.parametrize("pattern", AGREED)
@given(text=st.text(alphabet="abcxAB01. -$\n", max_size=12))
def test_common_syntax_means_what_it_means_elsewhere(pattern, text):
    """On the shared subset the answers are those of Python's matcher."""
    theirs = pattern.replace(r"\Z", r"\Z")
    ours = pattern.replace(r"\Z", r"\z")
    # RE2's `$` is only the very end, Python's also stands before a last newline.
    theirs = re.sub(r"(?<!\\)\$", r"\\Z", theirs)
    assert search(ours, text) == bool(re.search(theirs, text, re.ASCII))


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("(?s)a.b", "a\nb", True),
        ("(?m)^b$", "a\nb\nc", True),
        ("(?i:a)b", "Ab", True),
        ("(?i:a)b", "AB", False),
        ("(?P<name>a)+", "aa", True),
        ("[[:alpha:]]+[[:^digit:]]", "ab", True),
        (r"\x41\x{42}", "AB", True),
        (r"[\n\t]", "\t", True),
        ("a{x}", "a{x}", True),
        ("(?-i)a", "A", False),
    ],
)
def test_syntax_of_re2(pattern, text, matches):
    """What Python writes differently is read as RE2 reads it."""
    assert search(pattern, text) is matches


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[", "[z-a]", "*", "a**", "a{2000}", "(?=a)", r"\1", r"\pL", "a\\",
     "(?<n>a)", "[[:nope:]]", r"\x{zz}", "(" * 200, "((a{100}){100}){100}", "a{3,2}"],
)  # fmt: skip
def test_broken_and_oversize_expressions_are_refused(pattern):
    """An error in words, never a hang."""
    with pytest.raises(BadRequest):
        search(pattern, "a")


@given(st.text(alphabet="ab()[]{}*+?|^$\\.,2-:i", max_size=20))
def test_no_expression_breaks_the_matcher(pattern):
    """Any text either matches, does not, or is refused."""
    try:
        search(pattern, "abab")
    except BadRequest:
        return
