"""Templates of go-sockaddr, as stock Consul expanded them."""

import ipaddress
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.config.address_template import expand
from consultwist.config.network import InterfaceAddress, interface_addresses
from consultwist.errors import ConfigError

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "config" / "templates.json").read_text()
)
INTERFACES = [
    InterfaceAddress(name, ipaddress.ip_interface(address), flags, is_default)
    for name, address, flags, is_default in VECTORS["interfaces"]
]


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["template"])
def test_template(case):
    """The addresses are those that stock found on the same interfaces."""
    assert expand(case["template"], lambda: INTERFACES) == case["addresses"]


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ zz }}", 'function "zz" not defined'),
        ("{{ GetInterfaceIP }}", "want 1 got 0"),
        ("{{", "unexpected unclosed action"),
        ("{{ }}", "missing value for command"),
        ('{{ GetAllInterfaces | include "zz" "a" }}', "invalid include selector"),
        ('{{ GetAllInterfaces | join "zz" " " }}', "unsupported attribute"),
        ('{{ GetAllInterfaces | include "name" "(" }}', "unterminated"),
        ('{{ "x" | sort "name" }}', "needs a list"),
        ('{{ GetAllInterfaces | sort "zz" }}', "unknown sort type"),
        ("{{ GetAllInterfaces | limit x }}", "not defined"),
        ('{{ GetAllInterfaces | include "type" "zz" }}', "not a type"),
    ],
)
def test_wrong_template(template, reason):
    """A mistake in a template is explained."""
    with pytest.raises(ConfigError) as caught:
        expand(template, lambda: INTERFACES)
    assert reason in str(caught.value)


WORDS = st.sampled_from(
    [
        *("{{", "}}", "|", '"name"', '"x"', "`y`", "GetAllInterfaces", "GetPrivateIP"),
        *("include", "exclude", "sort", "limit", "1", "-1", "attr", "join", '"', "/*"),
        *('"network"', '"10.0.0.0/8"', '"rfc"', '"size"', '"flags"', "(", "$x"),
    ]
)


@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_any_template_gives_text_or_a_config_error(text):
    """Whatever stands in a template, the answer is a text or a ConfigError."""
    with suppress(ConfigError):
        assert isinstance(expand(text, lambda: INTERFACES), str)


def test_own_interfaces_hold_the_loopback_address():
    """The addresses of this machine are found."""
    found = {str(each.address.ip): each for each in interface_addresses()}
    assert found["127.0.0.1"].has_flag("loopback")
    assert found["127.0.0.1"].has_flag("up")
