"""From what a user gives to join to addresses."""

import pytest
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address

from consultwist.errors import BadRequest, ConfigError, WireError
from consultwist.gossip.address import (
    canonical,
    ip_bytes,
    ip_text,
    source_filter,
    split_host_port,
)
from consultwist.gossip.resolve import ADDRESSES_MAX, resolve
from consultwist.testing.deferred import failure_of, result_of


class FakeReactor:
    """A reactor whose name resolver knows some names."""

    def __init__(self, **names):
        self.names = names
        self.nameResolver = self

    def resolveHostName(self, receiver, name, *_rest):  # noqa: N802 - Twisted's name
        receiver.resolutionBegan(None)
        for found in self.names.get(name, ()):
            receiver.addressResolved(found)
        receiver.resolutionComplete()


def test_names_stand_for_all_their_addresses():
    """Every address of a name is joined, in both families, with the port given."""
    reactor = FakeReactor(
        pool=[
            IPv4Address("TCP", "10.0.0.1", 0),
            IPv6Address("TCP", "fe80::1", 0),
            IPv4Address("TCP", "10.0.0.1", 0),
            HostnameAddress(b"odd", 0),
        ]
    )
    found = result_of(resolve(reactor, "node/pool:99", 8301))
    assert found == [("10.0.0.1", 99), ("fe80::1", 99)]
    failure_of(resolve(reactor, "nobody", 8301), BadRequest)


def test_addresses_need_no_lookup():
    """IP addresses are taken as they are."""
    reactor = FakeReactor()
    assert result_of(resolve(reactor, "10.0.0.1", 8301)) == [("10.0.0.1", 8301)]
    assert result_of(resolve(reactor, "n/[::1]:2", 8301)) == [("::1", 2)]
    assert result_of(resolve(reactor, "::ffff:10.0.0.1", 1)) == [("10.0.0.1", 1)]


def test_the_addresses_of_a_name_are_bounded():
    """A name with thousands of addresses does not start thousands of streams."""
    many = [IPv4Address("TCP", f"10.0.{n // 250}.{n % 250}", 0) for n in range(2000)]
    found = result_of(resolve(FakeReactor(pool=many), "pool", 1))
    assert len(found) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", ("host", 7)),
        ("host:1", ("host", 1)),
        ("::1", ("::1", 7)),
        ("[::1]", ("::1", 7)),
        ("[::1]:1", ("::1", 1)),
    ],
)
def test_ports_are_told_from_hosts(text, expected):
    """Brackets are only needed where an IPv6 address has a port."""
    assert split_host_port(text, 7) == expected


def test_odd_ports_are_refused():
    """A port is a number up to 65535."""
    for text in ("host:x", "host:70000", "[::1]:-1"):
        with pytest.raises(BadRequest):
            split_host_port(text, 7)


def test_addresses_have_one_form_on_the_wire():
    """Mapped IPv4 addresses are the same as plain ones."""
    assert ip_bytes("::ffff:127.0.0.1") == ip_bytes("127.0.0.1") == b"\x7f\0\0\x01"
    assert ip_text(bytes(15) + b"\x01") == "::1"
    assert canonical(b"abc") == b"abc"
    with pytest.raises(ConfigError):
        ip_bytes("nonsense")
    with pytest.raises(WireError):
        ip_text(b"abc")


def test_networks_filter_sources():
    """None allows all, an empty list nobody."""
    assert source_filter(None)("192.0.2.1")
    assert not source_filter([])("192.0.2.1")
    allows = source_filter(["10.0.0.0/8", "fd00::/8"])
    assert allows("10.1.2.3")
    assert allows("fd00::1")
    assert not allows("192.0.2.1")
    with pytest.raises(ConfigError, match="invalid cidr"):
        source_filter(["x"])
