"""TCP checks connect, and say what Consul says where they cannot."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from consultwist.checks.dial import DialError, port_number, split_host_port
from consultwist.checks.tcp import TCPCheck, TCPProbe
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.testing.deferred import no_result_of, result_of
from tests.unit.checks.network import PROBES, Network

TCP_PROBES = [c for c in PROBES["checks"] if c["id"].startswith("t-")]


@pytest.mark.parametrize("captured", TCP_PROBES, ids=lambda c: c["id"])
def test_outcomes_are_those_of_consul(host, captured):
    """Each captured address has Consul's status and words."""
    network = Network(host.reactor, {})
    definition = CheckType(tcp=captured["definition"]["tcp"], timeout=10**9)
    outcome = TCPProbe(definition, host).run()
    network.serve()
    host.reactor.advance(1)
    found = result_of(outcome)
    expected = re.sub(r" on [0-9.]+:53: ", ": ", captured["output"])
    assert (found.status, found.output) == (captured["status"], expected)


def test_a_connection_passes_and_is_closed(host):
    """A connection that comes about is enough; nothing is sent on it."""
    network = Network(host.reactor, {})
    outcome = TCPProbe(CheckType(tcp="127.76.0.9:7601"), host).run()
    network.serve()
    found = result_of(outcome)
    assert (found.status, found.output) == (
        "passing",
        "TCP connect 127.76.0.9:7601: Success",
    )
    assert network.transports[0].disconnecting
    assert network.transports[0].value() == b""


def test_the_default_timeout_is_ten_seconds(host):
    """A check without a timeout waits ten seconds."""
    outcome = TCPProbe(CheckType(tcp="127.76.0.9:7620"), host).run()
    host.reactor.advance(9.9)
    no_result_of(outcome)
    host.reactor.advance(0.1)
    assert result_of(outcome).output == "dial tcp 127.76.0.9:7620: i/o timeout"


def test_a_silent_name_server_counts_into_the_timeout(host):
    """A name that is never resolved times out like a connection."""

    class Silent:
        def resolveHostName(self, receiver, name):  # noqa: N802
            return receiver

    host.reactor.nameResolver = Silent()
    outcome = TCPProbe(CheckType(tcp="a.test:80", timeout=10**9), host).run()
    host.reactor.advance(1)
    assert result_of(outcome).output == "dial tcp a.test:80: i/o timeout"


def test_takes_definitions_with_an_address(host):
    """The type takes what names an address, and makes a runner of it."""
    check_type = TCPCheck()
    verifyObject(ICheckType, check_type)
    definition = CheckType(check_id="c", tcp="127.76.0.9:7601", interval=10**9)
    assert check_type.takes(definition)
    assert not check_type.takes(msgspec.structs.replace(definition, tcp=""))
    network = Network(host.reactor, {})
    check_type.make_runner(definition, host).start()
    host.reactor.advance(1)
    network.serve()
    assert host.reports == [("c", "passing", "TCP connect 127.76.0.9:7601: Success")]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("[::1]a:80", "missing port in address"),
        ("[::1]:80:90", "too many colons in address"),
        ("a]b:80", "unexpected ']' in address"),
        ("a[b:80", "unexpected '[' in address"),
        ("::1", "too many colons in address"),
        ("[::1", "missing ']' in address"),
        ("host", "missing port in address"),
    ],
)
def test_addresses_are_refused_in_the_words_of_go(address, reason):
    """What is no host and port is refused before anything is resolved."""
    with pytest.raises(DialError) as caught:
        split_host_port(address)
    assert str(caught.value) == f"dial tcp: address {address}: {reason}"


@given(st.text(max_size=20))
def test_any_text_is_an_address_or_refused(text):
    """Nothing makes the reader of addresses stumble; a port is a number or a name."""
    try:
        target = split_host_port(text)
        number = port_number(target.port)
    except DialError:
        return
    assert 0 <= number <= 65535


def test_ports_have_numbers_or_names():
    """A port may be left out, given in digits, or by the name of its service."""
    assert [port_number(port) for port in ("", "80", "+80", "http")] == [0, 80, 80, 80]
