"""The HCL parser: values, and nothing but ConfigError for any text."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.config.hcl import DEPTH_MAX, SIZE_MAX, Objects, parse
from consultwist.errors import ConfigError


def test_blocks_of_one_name_become_one_list():
    """Repeated blocks add up, so that the reader knows whether there were several."""
    values = parse("a { x = 1 }\na { x = 2 }\nb = [{ y = 1 }]")
    assert values == {"a": [{"x": 1}, {"x": 2}], "b": [{"y": 1}]}
    assert isinstance(values["a"], Objects)


def test_labels_nest():
    """A label is a section of its own inside."""
    assert parse('a "b" "c" { x = 1 }') == {"a": [{"b": [{"c": [{"x": 1}]}]}]}


def test_literals():
    """Numbers, booleans, strings and heredocs have their values."""
    text = """
    hex = 0x1F  // comment
    octal = 010 # comment
    negative = -3
    real = 1.5e3
    yes = true
    text = "a\\n\\"b\\" \\u0041 \\x42 \\103 ${x("q")}"
    /* block
       comment */
    lines = <<EOF
one
  two
EOF
    indented = <<-EOF
      one
        two
      EOF
    list = [1, "a", [true],]
    """
    assert parse(text) == {
        "hex": 31,
        "octal": 8,
        "negative": -3,
        "real": 1500.0,
        "yes": True,
        "text": 'a\n"b" A B C ${x("q")}',
        "lines": "one\n  two\n",
        "indented": "one\n  two\n",
        "list": [1, "a", [True]],
    }


def test_nesting_is_bounded():
    """A text that nests without end is refused, not followed."""
    with pytest.raises(ConfigError, match="nested deeper than"):
        parse("a = " + "[" * (DEPTH_MAX + 1))
    with pytest.raises(ConfigError, match="nested deeper than"):
        parse("a {" * (DEPTH_MAX + 1))


def test_json_nesting_is_bounded():
    """The same holds where the text is JSON."""
    with pytest.raises(ConfigError):
        parse('{"a":' * 100_000)


def test_size_is_bounded():
    """A text that is too long is not read."""
    with pytest.raises(ConfigError, match="longer than"):
        parse(" " * (SIZE_MAX + 1))


def is_plain(value):
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(is_plain(element) for element in value)
    return value is None or isinstance(value, str | int | float | bool)


WORDS = st.sampled_from(
    [
        *('"', "{", "}", "[", "]", "=", ",", ".", "-", "+", "<<", "<<-EOF\n", "EOF\n"),
        *(
            "a",
            "b1",
            "true",
            "0",
            "08",
            "0x",
            "1e5",
            "1e",
            "-1",
            ".5",
            "${",
            "\\",
            "\\u",
        ),
        *("/*", "*/", "//", "#", "\n", " ", "\t", "\0", "é", "\ufeff", "\udcff", "@"),
        *('"x"', '"\\q"', '"\\ud800"', '"\\777"', "99999999999999999999", "\r"),
    ]
)


@given(st.lists(WORDS, max_size=40).map("".join))
def test_any_words_give_values_or_a_config_error(text):
    """Whatever is put together from HCL's own words, the parser answers properly."""
    with suppress(ConfigError):
        assert is_plain(parse(text))


@given(st.text(max_size=60))
def test_any_text_gives_values_or_a_config_error(text):
    """The same for any characters at all."""
    with suppress(ConfigError):
        assert is_plain(parse(text))


SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text("abc ${}é", max_size=8).filter(lambda text: "$" not in text),
)
NAMES = st.from_regex(r"[a-z][a-z0-9_\-]{0,6}", fullmatch=True).filter(
    lambda name: name not in ("true", "false")
)


def render(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


@given(st.dictionaries(NAMES, SCALARS, max_size=6))
def test_written_values_are_read_back(values):
    """What is written as HCL is read as it was."""
    text = "\n".join(f"{name} = {render(value)}" for name, value in values.items())
    assert parse(text) == values
