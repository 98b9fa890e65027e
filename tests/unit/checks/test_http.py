"""HTTP checks ask as Consul asks, and say what Consul says about the answers."""

import re
import zlib
from types import SimpleNamespace

import msgspec
import pytest
from twisted.internet.defer import CancelledError
from zope.interface.verify import verifyObject

from consultwist.checks.http import HTTPCheck, HTTPProbe
from consultwist.checks.http_response import UNPACKED_SIZE_MAX, HTTPResponse
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.structs.check_definition import CheckDefinition
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from tests.unit.checks.network import PROBES, REPLIES, REQUESTS, Network

HTTP_PROBES = [c for c in PROBES["checks"] if "http" in c["definition"]]


def definition_of(fields):
    """Return the check type of a captured definition."""
    known = {k: v for k, v in fields.items() if k not in ("timeout", "args")}
    definition = CheckDefinition(id="c", name="c", timeout=10**9, **known)
    return msgspec.structs.replace(definition.check_type(), output_max_size=4096)


def run(host, fields, replies=REPLIES):
    """Run a probe to its end, and return its outcome and the network."""
    network = Network(host.reactor, replies)
    outcome = HTTPProbe(definition_of(fields), host).run()
    network.serve()
    host.reactor.advance(1)
    return result_of(outcome), network


def expected_output(captured):
    """Return a captured output without what depended on that machine."""
    output = re.sub(r" on [0-9.]+:53: ", ": ", captured["output"])
    output = re.sub(r"127\.0\.0\.1:\d+->", "127.0.0.1:50000->", output)
    if captured["id"] == "h-garbage":
        # Go puts these words before or not, as its threads happen to run.
        before = "net/http: HTTP/1.x transport connection broken: "
        output = output.replace("malformed", before + "malformed")
    return output


@pytest.mark.parametrize("captured", HTTP_PROBES, ids=lambda c: c["id"])
def test_outcomes_are_those_of_consul(host, captured):
    """Each captured request, answer and fault has Consul's status and words."""
    outcome, _ = run(host, captured["definition"])
    assert outcome.status == captured["status"]
    assert outcome.output == expected_output(captured)


@pytest.mark.parametrize(
    "captured",
    [c for c in HTTP_PROBES if c["id"] != "hd-lowerhost"],
    ids=lambda c: c["id"],
)
def test_requests_are_those_of_consul(host, captured):
    """Whatever is sent was seen of Consul, to the order of the headers.

    Consul sends a ``host`` written in lower case as a second header; see below.
    """
    _, network = run(host, captured["definition"])
    for request in network.requests:
        head, _, body = request.partition(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        assert [headers, body.decode()] in REQUESTS[line]


def test_a_host_in_lower_case_is_not_sent_twice(host):
    """A request has one Host, also where a definition writes one in lower case."""
    fields = {"http": "http://127.76.0.9:7601/end", "header": {"host": ["l.test"]}}
    _, network = run(host, fields)
    assert network.requests[0].lower().count(b"\r\nhost:") == 1


def test_outcome_of_each_class_of_status(host):
    """2xx passes, 429 warns, anything else is critical."""
    for status, expected in ((204, "passing"), (429, "warning"), (404, "critical")):
        replies = {"/": b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status}
        outcome, _ = run(host, {"http": "http://127.76.0.9:7601/"}, replies)
        assert outcome.status == expected


def test_a_long_body_keeps_its_tail(host):
    """Of a long body the last bytes are shown, without a word about the others."""
    body = b"a" * 10_000 + b"z" * 4096
    replies = {"/": b"HTTP/1.0 200 OK\r\n\r\n" + body}
    outcome, _ = run(host, {"http": "http://127.76.0.9:7601/"}, replies)
    assert outcome.output.endswith(" Output: " + "z" * 4096)


def test_a_gzip_bomb_ends_at_a_bound(host):
    """A small body that unpacks to more than the bound is not followed to its end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    packed = packer.compress(bytes(80 * 1024 * 1024)) + packer.compress(b"end")
    packed += packer.flush()
    sizes = []
    response = HTTPResponse(
        lambda piece: sizes.append(len(piece)), has_body=True, unpack=True
    )
    response.receive(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + packed)
    assert UNPACKED_SIZE_MAX <= sum(sizes) < UNPACKED_SIZE_MAX + 65536


def test_a_connection_is_closed_whatever_comes(host):
    """No connection is left open, neither after an answer nor after a timeout."""
    for path in ("/end", "/slow", "/slowbody", "/badheader", "/r301"):
        _, network = run(host, {"http": f"http://127.76.0.9:7601{path}"})
        assert network.transports
        assert all(transport.disconnecting for transport in network.transports)
    assert host.reactor.getDelayedCalls() == []


def test_a_cancelled_probe_closes_its_connection(host):
    """A check that is stopped in the middle leaves nothing behind."""
    network = Network(host.reactor, REPLIES)
    fields = {"http": "http://127.76.0.9:7601/slow"}
    outcome = HTTPProbe(definition_of(fields), host).run()
    network.serve()
    no_result_of(outcome)
    outcome.cancel()
    failure_of(outcome, CancelledError)
    assert network.transports[0].disconnecting
    assert host.reactor.getDelayedCalls() == []


def test_a_name_with_several_addresses_is_tried_through(host):
    """Where the first address of a name refuses, the next one is asked."""
    network = Network(host.reactor, REPLIES)
    probe = HTTPProbe(definition_of({"http": "http://localhost:7699/"}), host)
    outcome = probe.run()
    network.serve()
    assert [client[0] for client in host.reactor.tcpClients] == ["127.0.0.1", "::1"]
    assert "dial tcp 127.0.0.1:7699: connect: connection refused" in (
        result_of(outcome).output
    )


def test_an_exposed_check_goes_through_the_proxy(host):
    """A check that the sidecar exposes asks, and names, the listener of the proxy."""
    definition = CheckType(
        http="http://10.0.0.1:1/x",
        proxy_http="http://127.76.0.9:7601/end",
        output_max_size=10,
    )
    network = Network(host.reactor, REPLIES)
    outcome = HTTPProbe(definition, host).run()
    network.serve()
    assert result_of(outcome).output == (
        "HTTP GET http://127.76.0.9:7601/end: 200 OK Output: end"
    )


def test_a_missing_agent_certificate_is_critical(host):
    """Agent TLS with unreadable files turns the check critical, not the agent down."""
    host.config = SimpleNamespace(
        **vars(host.config) | {"enable_agent_tls_for_checks": True, "ca_file": "/no"}
    )
    outcome, network = run(host, {"http": "https://127.76.0.9:7601/"})
    assert outcome.status == "critical"
    assert "cannot load certificates" in outcome.output
    assert network.requests == []


def test_takes_definitions_with_a_url(host):
    """The type takes what names a URL, and makes a runner of it."""
    check_type = HTTPCheck()
    verifyObject(ICheckType, check_type)
    definition = definition_of({"http": "http://127.76.0.9:7601/end"})
    assert check_type.takes(definition)
    assert not check_type.takes(CheckType(tcp="a:1"))
    network = Network(host.reactor, REPLIES)
    runner = check_type.make_runner(
        msgspec.structs.replace(definition, interval=10**9), host
    )
    runner.start()
    host.reactor.advance(1)
    network.serve()
    assert host.reports == [
        (
            "c",
            "passing",
            "HTTP GET http://127.76.0.9:7601/end: 200 OK Output: end",
        )
    ]
