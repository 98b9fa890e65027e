"""Regular expressions as Go has them."""

import pytest

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
