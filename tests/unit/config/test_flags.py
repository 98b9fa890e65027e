"""Flags in the manner of Go."""

import pytest

from consultwist.config.agent_flags import AGENT_FLAGS, CONFIG_PATHS, flag_values
from consultwist.config.flags import HelpRequested
from consultwist.errors import ConfigError


def test_one_or_two_dashes_with_or_without_equals():
    """All four spellings of Go mean the same."""
    for words in (["-bind=a"], ["--bind=a"], ["-bind", "a"], ["--bind", "a"]):
        assert AGENT_FLAGS.parse(words).values == {"bind": "a"}


def test_boolean_takes_a_value_only_with_equals():
    """A word after a boolean flag is an argument."""
    parsed = AGENT_FLAGS.parse(["-server", "false"])
    assert (parsed.values, parsed.arguments) == ({"server": True}, ["false"])
    assert AGENT_FLAGS.parse(["-server=F"]).values == {"server": False}


def test_repeated_flags_keep_their_order():
    """Lists grow, maps merge, single values are replaced."""
    parsed = AGENT_FLAGS.parse(
        ["-recursor=1", "-recursor=2", "-node-meta=a:b:c", "-node-meta=d", "-node=x"]
    )
    assert flag_values(parsed) == {
        "recursors": ["1", "2"],
        "node_meta": {"a": "b:c", "d": ""},
        "node_name": "x",
    }


def test_files_and_directories_keep_their_common_order():
    """What comes later on the command line wins, whichever flag it is."""
    parsed = AGENT_FLAGS.parse(["-config-dir=a", "-config-file=b", "-config-dir", "c"])
    assert parsed.values == {CONFIG_PATHS: ["a", "b", "c"]}


def test_flags_end_at_the_first_argument_or_two_dashes():
    """The rest is left for the command."""
    assert AGENT_FLAGS.parse(["-dev", "x", "-ui"]).arguments == ["x", "-ui"]
    assert AGENT_FLAGS.parse(["-dev", "--", "-ui"]).arguments == ["-ui"]
    assert AGENT_FLAGS.parse(["-"]).arguments == ["-"]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("-zz", "flag provided but not defined: -zz"),
        ("---x", "bad flag syntax: ---x"),
        ("-=x", "bad flag syntax: -=x"),
        ("-bind", "flag needs an argument: -bind"),
        (
            "-bootstrap=x",
            (
                'invalid boolean value "x" for -bootstrap: '
                'strconv.ParseBool: parsing "x": invalid syntax'
            ),
        ),
        (
            "-bootstrap-expect=0x2",
            (
                'invalid value "0x2" for flag -bootstrap-expect: '
                'strconv.Atoi: parsing "0x2": invalid syntax'
            ),
        ),
        (
            "-retry-max=99999999999999999999",
            (
                'invalid value "99999999999999999999" for flag -retry-max: '
                'strconv.Atoi: parsing "99999999999999999999": value out of range'
            ),
        ),
    ],
)
def test_mistake_has_the_text_of_go(word, text):
    """Scripts and people know these texts."""
    with pytest.raises(ConfigError) as caught:
        AGENT_FLAGS.parse([word])
    assert str(caught.value) == text


@pytest.mark.parametrize("word", ["-h", "-help", "--help"])
def test_help(word):
    """Asking for help is no mistake, but ends the parsing."""
    with pytest.raises(HelpRequested):
        AGENT_FLAGS.parse([word])


def test_leading_zero_is_decimal():
    """Go's Atoi knows no octal numbers."""
    assert AGENT_FLAGS.parse(["-dns-port=010"]).values == {"dns-port": 10}


def test_help_page_names_every_flag_within_its_width():
    """No line of the help page is wider than a terminal."""
    page = AGENT_FLAGS.help_sections({"HTTP API Options": ("datacenter",)})
    assert "-retry-join-wan=<value>" in page
    assert page.index("-datacenter") < page.index("Command Options")
    assert max(len(line) for line in page.splitlines()) <= 79
