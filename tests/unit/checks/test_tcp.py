"""TCP checks connect, and say what Consul says where they cannot."""

import re

import msgspec
import pytest
from zope.interface.verify import verifyObject

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
