"""Addresses and names as text."""

import pytest

from consultwist.dns.records import (
    Address,
    first_label,
    label_bytes,
    packed_address,
    qualified,
    split_name,
)
from consultwist.errors import WireError


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("10.0.0.1", b"\x0a\0\0\x01"),
        ("::ffff:10.1.1.1", b"\x0a\x01\x01\x01"),
        ("2001:DB8::6", b"\x20\x01\x0d\xb8" + bytes(11) + b"\x06"),
        ("", None),
        ("10.1", None),
        ("010.0.0.1 x", None),
        ("web.service.consul", None),
        ("fe80::1%eth0", None),
        ("bücher", None),
        ("a\0b", None),
    ],
)
def test_only_addresses_are_packed(text, packed):
    """Host names and the short forms of C's inet_aton are no addresses."""
    assert packed_address(text) == packed


def test_addresses_are_shown():
    """In the usual text form of their family."""
    assert str(Address(b"\x0a\0\0\x01")) == "10.0.0.1"
    assert str(Address(b"\x20\x01\x0d\xb8" + bytes(11) + b"\x06")) == "2001:db8::6"


def test_names_are_parted_at_unescaped_dots():
    """An escaped dot belongs to its label."""
    assert split_name("a\\.b.node.consul.") == ["a\\.b", "node", "consul"]
    assert split_name("n1.node.") == ["n1", "node"]
    assert split_name(".") == split_name("") == []
    assert first_label("a\\.b.node.") == ("a\\.b", "node.")
    assert first_label("\\.") == ("\\.", "")
    assert qualified("n1") == qualified("n1.") == "n1."
    assert qualified("n1\\.") == "n1\\.."


def test_wrong_labels_are_refused():
    """Empty ones, and escapes that stand for no byte."""
    with pytest.raises(WireError, match="a label of 0 bytes"):
        label_bytes("")
    with pytest.raises(WireError, match="an escape above 255"):
        label_bytes("\\999")
