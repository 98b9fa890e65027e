"""Other resolvers: in turn, over the right transport, and never for long."""

import random
import struct

import dns.message
import dns.rcode
import dns.rrset
import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from consultwist.dns import recursor
from consultwist.dns.message import decode, encode
from consultwist.dns.recursor import Recursors, recursor_address, written_anew
from consultwist.testing.resolver import ResolverReactor

FIRST, SECOND = "192.0.2.1", "192.0.2.2"
QUERY = dns.message.make_query("www.example.test", "A", id=0x1234).to_wire()


class Resolvers:
    """Resolvers that answer as a table says; None is silence."""

    def __init__(self, **answers):
        self.table = {name.replace("_", "."): value for name, value in answers.items()}
        self.seen = []

    def __call__(self, host, query, stream):
        self.seen.append((host, stream))
        flags = self.table.get(host)
        if flags is None:
            return None
        if flags == "refused":
            raise ConnectionRefusedError
        return query[:2] + struct.pack(">H", flags) + query[4:]


def make(table, addresses=(FIRST, SECOND), **options):
    """Return recursors, the reactor they use and what they were asked."""
    resolvers = Resolvers()
    resolvers.table = table
    reactor = ResolverReactor(resolvers)
    recursors = Recursors(
        reactor, random.Random(3), addresses, timeout_s=2.0, **options
    )
    return recursors, reactor, resolvers.seen


def result(answer):
    """Return what a Deferred fired with, or 'waiting'."""
    found: list[object] = []
    answer.addCallback(found.append)
    return found[0] if found else "waiting"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_addresses_of_recursors(text, address):
    """With and without a port."""
    assert recursor_address(text) == address


@pytest.mark.parametrize("stream", [False, True])
def test_answers_are_handed_on(stream):
    """Under the client's id, over the client's transport; NXDOMAIN is an answer."""
    for flags in (0x8180, 0x8183, 0x8380):
        recursors, reactor, seen = make({FIRST: flags})
        answer = result(recursors.forward(QUERY, stream=stream))
        assert answer == QUERY[:2] + struct.pack(">H", flags) + QUERY[4:]
        assert seen == [(FIRST, stream)]
        assert reactor.getDelayedCalls() == []
        assert all(socket.closed for socket in reactor.sockets)


def _answer(*, compressed):
    """Return an answer with an alias, a mail exchange and EDNS, and its size."""
    message = dns.message.make_response(dns.message.make_query("a.example.test", "A"))
    for line in (
        "a.example.test. 60 IN CNAME b.example.test.",
        "b.example.test. 60 IN A 192.0.2.1",
        "example.test. 60 IN MX 10 mail.example.test.",
    ):
        name, ttl, _, kind, data = line.split(None, 4)
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    message.use_edns(0, payload=1232)
    return message.to_wire() if compressed else _uncompressed(message)


def _uncompressed(message):
    return encode(decode(message.to_wire()), compress=False)


def test_names_of_answers_are_compressed_or_not_as_in_our_own():
    """What the answer says is the same."""
    for wire in (_answer(compressed=True), _answer(compressed=False)):
        short = written_anew(wire, compress=True)
        long = written_anew(wire, compress=False)
        assert dns.message.from_wire(short) == dns.message.from_wire(wire)
        assert dns.message.from_wire(long) == dns.message.from_wire(wire)
        assert len(short) == len(_answer(compressed=True)) < len(long)
        assert len(long) == len(_answer(compressed=False))


def test_the_extended_code_of_an_answer_is_kept():
    """It stands in the OPT record, so it is easily lost."""
    message = dns.message.make_response(dns.message.make_query("a.test", "A"))
    message.use_edns(0)
    message.set_rcode(dns.rcode.BADVERS)
    found = dns.message.from_wire(written_anew(message.to_wire(), compress=True))
    assert found.rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize("kind", ["RP", "NAPTR"])
def test_records_whose_names_we_do_not_read_stay_as_they_are(kind):
    """Moving bytes that hold pointers would break them."""
    data = {"RP": "who.a.test. why.a.test.", "NAPTR": '1 2 "s" "x" "" b.test.'}[kind]
    message = dns.message.make_response(dns.message.make_query("a.test", kind))
    message.answer.append(dns.rrset.from_text("a.test.", 60, "IN", kind, data))
    wire = message.to_wire()
    assert written_anew(wire, compress=False) is wire


def test_what_is_no_message_stays_as_it_is():
    """The client may make more of it."""
    wire = QUERY[:4] + b"\0\1\0\1\0\0\0\0\xc0"
    assert written_anew(wire, compress=True) is wire


def test_ids_are_our_own():
    """A client does not choose what an answer is recognized by."""
    recursors, reactor, _ = make({FIRST: 0x8180})
    recursors.forward(QUERY, stream=False)
    recursors.forward(QUERY, stream=False)
    ids = {socket.sent[0][0][:2] for socket in reactor.sockets}
    assert len(ids) == 2


@pytest.mark.parametrize("first", [0x8182, 0x8185, "refused"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_next_recursor_is_asked(first, stream):
    """After SERVFAIL, REFUSED, and where nobody listens."""
    recursors, _, seen = make({FIRST: first, SECOND: 0x8180})
    answer = result(recursors.forward(QUERY, stream=stream))
    assert answer[2:4] == b"\x81\x80"
    assert seen == [(FIRST, stream), (SECOND, stream)]


def test_a_socket_that_the_reactor_closes_is_a_refusal():
    """The epoll reactor tells of nobody listening by closing the socket."""
    recursors, reactor, seen = make({FIRST: None, SECOND: 0x8180})
    found: list[object] = []
    recursors.forward(QUERY, stream=False).addCallback(found.append)
    assert found == []
    reactor.sockets[0].protocol.stopProtocol()
    assert seen == [(FIRST, False), (SECOND, False)]
    assert len(found) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_each_recursor_has_its_time(stream):
    """Two silent ones take two timeouts; then nobody knows."""
    recursors, reactor, seen = make({FIRST: None, SECOND: None})
    found: list[object] = []
    recursors.forward(QUERY, stream=stream).addCallback(found.append)
    reactor.advance(1.9)
    assert len(seen) == 1
    reactor.advance(0.2)
    assert len(seen) == 2
    assert found == []
    reactor.advance(2.0)
    assert found == [None]
    assert all(socket.closed for socket in reactor.sockets)


def test_messages_that_answer_nothing_are_passed_over():
    """A wrong id, a question, a stub: the true answer may still come."""
    recursors, reactor, _ = make({FIRST: None})
    found: list[object] = []
    recursors.forward(QUERY, stream=False).addCallback(found.append)
    socket = reactor.sockets[0]
    sent = socket.sent[0][0]
    other = bytes([sent[0] ^ 1]) + sent[1:2]
    for wrong in (b"", sent[:2] + b"\x81\x80", sent, other + b"\x81\x80" + sent[4:]):
        socket.protocol.datagramReceived(wrong, (FIRST, 53))
    assert found == []
    socket.protocol.datagramReceived(sent[:2] + b"\x81\x80" + sent[4:], (FIRST, 53))
    assert len(found) == 1


def test_connections_that_end_early():
    """Half an answer is none; what arrives in pieces is put together."""
    recursors, reactor, _ = make({FIRST: None, SECOND: None})
    found: list[object] = []
    recursors.forward(QUERY, stream=True).addCallback(found.append)
    factory = reactor.tcpClients[0][2]
    protocol = factory.buildProtocol(None)
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"\0")
    protocol.connectionLost(Failure(ConnectionDone()))
    assert len(reactor.tcpClients) == 2
    second = reactor.tcpClients[1][2].buildProtocol(None)
    wire = StringTransport()
    second.makeConnection(wire)
    query = wire.value()[2:]
    answer = struct.pack(">H", len(query)) + query[:2] + b"\x81\x80" + query[4:]
    for index in range(len(answer)):
        second.dataReceived(answer[index : index + 1])
    assert found == [QUERY[:2] + b"\x81\x80" + QUERY[4:]]


def test_questions_under_way_are_bounded(monkeypatch):
    """More than so many are not even sent."""
    monkeypatch.setattr(recursor, "EXCHANGES_MAX", 2)
    recursors, reactor, seen = make({FIRST: None})
    waiting = [recursors.forward(QUERY, stream=False) for _ in range(2)]
    assert result(recursors.forward(QUERY, stream=False)) is None
    assert len(seen) == 2
    reactor.advance(2.1)
    reactor.advance(2.1)
    assert [result(answer) for answer in waiting] == [None, None]
    assert result(recursors.forward(QUERY, stream=False)) == "waiting"


def test_a_cancelled_question_leaves_nothing(caplog):
    """A client that goes away takes its socket and its timer along."""
    recursors, reactor, _ = make({FIRST: None}, addresses=(FIRST,))
    answer = recursors.forward(QUERY, stream=False)
    answer.addErrback(lambda _: None)
    answer.cancel()
    assert reactor.sockets[0].closed
    assert reactor.getDelayedCalls() == []


def test_the_order_can_be_random():
    """With the strategy of later releases."""
    firsts = set()
    recursors, _, seen = make({FIRST: 0x8180, SECOND: 0x8180}, shuffled=True)
    for _ in range(20):
        recursors.forward(QUERY, stream=False)
        firsts.add(seen[-1][0])
    assert firsts == {FIRST, SECOND}


def answer_with(*lines, flags=0):
    """Return a resolver that gives these records, and what it was asked."""
    asked = []

    def resolve(host, query, stream):
        message = dns.message.from_wire(query)
        asked.append((message.question[0].to_text(), stream))
        answer = dns.message.make_response(message)
        if not stream:
            answer.flags |= flags
        for line in lines:
            name, ttl, class_, kind, data = line.split()
            answer.answer.append(
                dns.rrset.from_text(name, int(ttl), class_, kind, data)
            )
        return answer.to_wire()

    return ResolverReactor(resolve), asked


def test_host_names_are_resolved_with_an_address_question():
    """Over UDP first, over TCP where the answer was cut."""
    reactor, asked = answer_with("h.test. 60 IN A 10.0.0.1", flags=dns.flags.TC)
    recursors = Recursors(reactor, random.Random(3), (FIRST,), timeout_s=2.0)
    (record,) = result(recursors.resolve("h.test."))
    assert (record.name, record.ttl, str(record.data)) == ("h.test.", 60, "10.0.0.1")
    assert asked == [("h.test. IN A", False), ("h.test. IN A", True)]


def test_host_names_that_cannot_be_asked_for():
    """They have no records; nobody is asked."""
    reactor, asked = answer_with()
    recursors = Recursors(reactor, random.Random(3), (FIRST,), timeout_s=2.0)
    assert result(recursors.resolve("x" * 64 + ".test.")) == ()
    assert asked == []


def test_answers_that_do_not_decode_resolve_nothing():
    """A broken recursor is no reason to fail."""
    reactor = ResolverReactor(
        lambda host, query, stream: query[:2] + b"\x81\x80" + b"\0\1\0\1\0\0\0\0\xc0"
    )
    recursors = Recursors(reactor, random.Random(3), (FIRST,), timeout_s=2.0)
    assert result(recursors.resolve("h.test.")) == ()
