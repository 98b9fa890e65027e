"""Text between quotes as Go writes it."""

import pytest

from consultwist.wire.quoting import quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain key", '"plain key"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("tab\tnew\nline", r'"tab\tnew\nline"'),
        ("\a\b\f\r\v", r'"\a\b\f\r\v"'),
        ("\x00\x1f\x7f", r'"\x00\x1f\x7f"'),
        ("\u00fc\u20ac", '"\u00fc\u20ac"'),
        ("\u200b\U000e0001", r'"\u200b\U000e0001"'),
        ("\udcff", r'"\xff"'),
        ("", '""'),
    ],
)
def test_what_cannot_be_printed_is_escaped(text, shown):
    """The rest, letters of all languages included, stands for itself."""
    assert quoted(text) == shown
