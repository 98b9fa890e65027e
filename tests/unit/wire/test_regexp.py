"""Regular expressions as Go has them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import BadRequest
from consultwist.wire.regexp import PATTERN_MAX_CHARS, compile_regexp


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("srv", "my-srv1", True),
        ("^srv", "my-srv1", False),
        ("^srv", "srv1", True),
        ("1$", "srv1", True),
        ("1$", "srv1\n", False),
        ("^srv1$", "srv1", True),
        ("^srv1$", "srv12", False),
        ("", "anything", True),
        ("s.v[0-9]+", "srv42", True),
        ("(?i)SRV", "srv", True),
        ("é", "café", True),
    ],
)
def test_expressions_search_anywhere(pattern, text, found):
    """An expression matches anywhere in the text unless it is anchored."""
    assert bool(compile_regexp(pattern)(text)) is found


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("[", "missing closing ]: `[`"),
        ("(a", "missing closing ): `(a`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("\\", "trailing backslash at end of expression: ``"),
        ("a)", "unexpected ): `a)`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("(?<n>a)", "invalid or unsupported Perl syntax: `(?<`"),
        (r"\\C[", "missing closing ]: `[`"),
    ],
)
def test_mistakes_are_told_in_the_words_of_go(pattern, error):
    """The error text is that of Go's package."""
    with pytest.raises(BadRequest) as refusal:
        compile_regexp(pattern)
    assert str(refusal.value) == f"error parsing regexp: {error}"


def test_no_expression_takes_exponential_time():
    """What would stop a backtracking engine for years is answered at once."""
    assert not compile_regexp("(a*)*b")("a" * 5000)


def test_long_expressions_are_refused():
    """An expression has a greatest length."""
    with pytest.raises(BadRequest, match="too long"):
        compile_regexp("(a)" * PATTERN_MAX_CHARS)


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
    assert compile_regexp(ours)(text) == bool(re.search(theirs, text, re.ASCII))


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
    assert compile_regexp(pattern)(text) is matches


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "[", "[z-a]", "*", "a**", "a{2000}", "(?=a)", r"\1", r"\pX", "a\\",
     "(?<n>a)", "[[:nope:]]", r"\x{zz}", "(" * 200, "((a{100}){100}){100}", "a{3,2}"],
)  # fmt: skip
def test_broken_and_oversize_expressions_are_refused(pattern):
    """An error in words, never a hang."""
    with pytest.raises(BadRequest):
        compile_regexp(pattern)("a")


@given(st.text(alphabet="ab()[]{}*+?|^$\\.,2-:i", max_size=20))
def test_no_expression_breaks_the_engine(pattern):
    """Any text either matches, does not, or is refused."""
    try:
        compile_regexp(pattern)("abab")
    except BadRequest:
        return
