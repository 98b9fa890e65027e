"""From bytes to bytes: odd messages, errors, and answers that are kept."""

import struct

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import msgspec
import pytest
from twisted.internet.defer import Deferred

from consultwist import durations
from consultwist.dns import responder
from consultwist.errors import NoLeader, NoPathToDatacenter, RPCError
from consultwist.structs.catalog import HealthCheck, Node, NodeService
from consultwist.testing.catalog import CatalogFake, QueryFake
from consultwist.testing.resolver import ResolverReactor

NAME = b"\x02n1\x04node\x06consul\0"
QUESTION = NAME + b"\0\x01\0\x01"
RECORD = b"\0\0\x01\0\x01\0\0\0\0\0\x04\x01\x02\x03\x04"


def header(flags: int, *counts: int) -> bytes:
    """Return a header with id 0x1234 and up to four counts."""
    return struct.pack(">HHHHHH", 0x1234, flags, *counts, *[0] * (4 - len(counts)))


def opt(size: int = 1232, ttl: int = 0, data: bytes = b"") -> bytes:
    """Return an OPT record."""
    return b"\0" + struct.pack(">HHIH", 41, size, ttl, len(data)) + data


def subnet(family: int, prefix: int, address: bytes = b"") -> bytes:
    """Return an OPT record with a client subnet."""
    data = struct.pack(">HBB", family, prefix, 0) + address
    return opt(data=struct.pack(">HH", 8, len(data)) + data)


@pytest.fixture
def catalog():
    """A catalog of one node with three instances of a service on three nodes."""
    made = CatalogFake("dc1")
    for number in (1, 2, 3):
        made.register(
            Node(node=f"n{number}", address=f"10.0.0.{number}"),
            NodeService(id="web", service="web", port=80),
        )
    return made


@pytest.fixture
def world(catalog, dns_world):
    """An agent over that catalog."""
    return dns_world(catalog)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x12\x34\x01", b"\x12\x34" + bytes(9), header(0x8100, 1) + QUESTION],
    ids=["empty", "three bytes", "eleven bytes", "an answer"],
)
def test_what_deserves_no_answer(world, data):
    """Answering would let strangers make us shout at others."""
    assert world.send(data) is None
    assert ("dns.dropped_message", 1) in world.agent.metrics.counters


@pytest.mark.parametrize(
    ("data", "rcode", "questions"),
    [
        (header(0x0100, 0), "FORMERR", 0),
        (header(0x0100, 2) + QUESTION * 2, "FORMERR", 0),
        (header(0x0100, 1, 2) + QUESTION + RECORD * 2, "FORMERR", 0),
        (header(0x0100, 1, 0, 2) + QUESTION + RECORD * 2, "FORMERR", 0),
        (header(0x0100, 1, 0, 0, 3) + QUESTION + RECORD * 3, "FORMERR", 0),
        (header(0x0100, 1) + QUESTION[:8], "FORMERR", 0),
        (header(0x0100, 1) + b"\xc0\x0c\0\x01\0\x01", "FORMERR", 0),
        (header(0x0100, 1, 0, 0, 1) + QUESTION + opt()[:6], "FORMERR", 1),
        (header(0x0100, 1, 0, 0, 1) + QUESTION + subnet(3, 0), "FORMERR", 1),
        (header(0x0100, 1, 0, 0, 1) + QUESTION + subnet(1, 33), "FORMERR", 1),
        (header(0x0900, 1) + QUESTION, "NOTIMP", 0),
        (header(0x7900, 1) + QUESTION, "NOTIMP", 0),
    ],
)
def test_rejected_messages(world, data, rcode, questions):
    """They get a code, and their question where it could be read."""
    answer = world.send(data)
    assert answer[:2] == b"\x12\x34"
    message = dns.message.from_wire(answer)
    assert dns.rcode.to_text(message.rcode()) == rcode
    assert len(message.question) == questions
    assert message.flags & (dns.flags.QR | dns.flags.RD | dns.flags.AA) == (
        dns.flags.QR | dns.flags.RD
    )
    assert message.opcode() == dns.opcode.from_flags(int.from_bytes(data[2:4], "big"))
    assert ("dns.rejected_message", 1) in world.agent.metrics.counters


@pytest.mark.parametrize(
    "data",
    [
        header(0x0100, 1) + QUESTION,
        header(0x0100, 1) + QUESTION[:-2],
        header(0x0100, 1) + QUESTION + b"garbage",
        header(0x0100, 1, 1) + QUESTION,
        header(0x0100, 1, 1) + QUESTION + RECORD,
        header(0x0100, 1, 0, 0, 1) + QUESTION,
        header(0x0100, 1, 0, 0, 2) + QUESTION + RECORD + opt(),
        header(0x0100, 1, 0, 0, 1) + QUESTION + opt(1232, 0x00010000),
        header(0x0100, 1, 0, 0, 1) + QUESTION + subnet(0, 0),
        header(0x2100, 1) + QUESTION,
        header(0x0700, 1) + QUESTION,
        header(0x0105, 1) + QUESTION,
    ],
)
def test_odd_messages_that_are_answered(world, data):
    """As on the stock agent: what is missing or too much is passed over."""
    answer = world.send(data)
    rcode = answer[3] & 0x0F
    assert rcode == dns.rcode.NOERROR
    assert answer[6:8] == b"\0\x01"


def test_the_subnet_is_told_to_prepared_queries_only(catalog, dns_world):
    """Its scope is the whole world elsewhere."""
    catalog.queries["pq"] = QueryFake(service="web")
    world = dns_world(catalog)
    option = dns.edns.ECSOption("198.51.100.0", 24)
    for name, scope in (("pq.query", 24), ("nope.query", 0), ("web.service", 0)):
        found = world.ask(f"{name}.consul", edns=1232, options=[option])
        assert found.options[0].scopelen == scope
    sent = [request for method, request in world.agent.calls if "Prepared" in method]
    assert sent[0].source.ip == "198.51.100.0"
    assert sent[0].agent.node == "srv1"


def test_prepared_queries_know_who_asks(catalog, dns_world):
    """And are asked again each time."""
    catalog.queries["pq"] = QueryFake(service="web", ttl="90s")
    world = dns_world(catalog)
    for address in ("192.0.2.1", "192.0.2.2"):
        answer = world.ask("pq.query.consul", address=address)
        assert answer.answer[0].ttl == 90
    assert [r.source.ip for _, r in world.agent.calls] == ["192.0.2.1", "192.0.2.2"]


# --- errors of the servers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "rcode"),
    [
        (NoPathToDatacenter(), "NXDOMAIN"),
        (RPCError("rpc error making call: Query not found"), "NXDOMAIN"),
        (NoLeader(), "SERVFAIL"),
        (RPCError("rpc: can't find service Health.ServiceNodes"), "SERVFAIL"),
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_errors_become_codes(world, dns_query, error, rcode, later):
    """At once or later; NXDOMAIN with the zone's SOA, and nothing is kept."""
    pending: Deferred[None] = Deferred()

    def refuse(request):
        if later:
            return pending
        raise error

    world.agent.methods["Health.ServiceNodes"] = refuse
    answer = world.send(dns_query("web.service.consul"))
    if later:
        found: list[bytes] = []
        answer.addCallback(found.append)
        pending.errback(error)
        (answer,) = found
    message = dns.message.from_wire(answer)
    assert dns.rcode.to_text(message.rcode()) == rcode
    assert len(message.authority) == (1 if rcode == "NXDOMAIN" else 0)
    world.agent.methods.update(world.catalog.methods())
    assert len(world.ask("web.service.consul").answer[0]) == 3


def test_servers_that_do_not_answer(world, dns_query):
    """The client is told after ten seconds."""
    world.agent.methods["Health.ServiceNodes"] = lambda request: Deferred()
    found: list[bytes] = []
    world.send(dns_query("web.service.consul")).addCallback(found.append)
    world.agent.reactor.advance(9.9)
    assert found == []
    world.agent.reactor.advance(0.2)
    assert found[0][3] & 0x0F == dns.rcode.SERVFAIL


def test_questions_wait_up_to_a_number(world, dns_query, monkeypatch):
    """More are refused, so that a silent server does not fill the memory."""
    monkeypatch.setattr(responder, "PENDING_MAX", 5)
    world.agent.methods["Health.ServiceNodes"] = lambda request: Deferred()
    waiting = [world.send(dns_query("web.service.consul")) for _ in range(5)]
    assert world.send(dns_query("web.service.consul"))[3] & 0x0F == dns.rcode.SERVFAIL
    for answer in waiting:
        answer.addErrback(lambda _: None)
    world.agent.reactor.advance(11)
    world.agent.methods.update(world.catalog.methods())
    assert world.send(dns_query("web.service.consul"))[3] & 0x0F == dns.rcode.NOERROR


# --- answers that are kept ------------------------------------------------------------


def test_kept_answers_rotate(world, dns_rows):
    """The order of instances changes from answer to answer, kept or not."""
    orders = {
        tuple(dns_rows(world.ask("web.service.consul").answer)) for _ in range(40)
    }
    assert len(orders) > 2
    assert all(len(set(order)) == 3 for order in orders)


def test_a_change_is_seen_at_once(world, dns_rows):
    """Every answer asks the servers whether it still holds."""
    for _ in range(20):
        assert len(dns_rows(world.ask("web.service.consul").answer)) == 3
    check = HealthCheck(check_id="c", status="critical", service_id="web")
    world.catalog.register(Node(node="n1", address="10.0.0.1"), None, check)
    assert len(dns_rows(world.ask("web.service.consul").answer)) == 2
    world.catalog.register(
        Node(node="n4", address="10.0.0.4"), NodeService(id="web", service="web")
    )
    assert len(dns_rows(world.ask("web.service.consul", edns=4096).answer)) == 3


def test_absent_names_appear_and_vanish(world):
    """A kept NXDOMAIN holds no longer than any answer."""
    for _ in range(3):
        assert world.ask("db.service.consul").rcode() == dns.rcode.NXDOMAIN
    world.catalog.register(
        Node(node="n1", address="10.0.0.1"), NodeService(id="db", service="db")
    )
    assert world.ask("db.service.consul").rcode() == dns.rcode.NOERROR


def test_kept_answers_repeat_the_id_of_their_question(world, dns_query):
    """The id is all that differs between two questions of the same bytes."""
    query = dns_query("n1.node.consul")
    first, second = world.send(query), world.send(b"\xab\xcd" + query[2:])
    assert first[:2] == query[:2]
    assert second == b"\xab\xcd" + first[2:]


def test_the_serial_follows_the_clock(world):
    """Also in answers that are kept."""
    serials = []
    for _ in range(3):
        answer = world.ask("nope.node.consul")
        serials.append(answer.authority[0][0].serial)
        world.agent.reactor.advance(1)
    assert serials == [serials[0], serials[0] + 1, serials[0] + 2]


def test_sizes_and_transports_have_answers_of_their_own(dns_world, dns_rows):
    """What one client takes is not what another gets."""
    catalog = CatalogFake("dc1")
    for number in range(10):
        service = NodeService(id="web", service="web", port=80)
        node = Node(node=f"n{number}", address=f"10.0.0.{number}")
        catalog.register(node, service)
    world = dns_world(catalog)
    for _ in range(2):
        assert len(dns_rows(world.ask("web.service.consul").answer)) == 3
        assert len(dns_rows(world.ask("web.service.consul", edns=4096).answer)) == 10
        assert len(dns_rows(world.ask("web.service.consul", stream=True).answer)) == 10


def test_settings_change_at_run_time(world, dns_config):
    """A reload forgets all answers, as does another token."""
    assert world.ask("n1.node.consul").answer[0].ttl == 0
    world.agent.config = dns_config(dns_node_ttl=30.0)
    assert world.ask("n1.node.consul").answer[0].ttl == 30
    world.agent.tokens.default = "another"
    world.ask("n1.node.consul")
    assert world.agent.calls[-1][1].token == "another"


def test_old_answers_are_asked_for_again(world):
    """Beyond max_stale at the leader; beyond five seconds they are counted."""
    world.catalog.last_contact = 6 * durations.SECOND
    world.ask("n1.node.consul")
    world.ask("n1.node.consul")
    counts = [name for name, _ in world.agent.metrics.counters]
    assert counts == ["dns.stale_queries"] * 2
    assert all(request.allow_stale for _, request in world.agent.calls)


def test_answers_that_are_too_old(catalog, dns_world):
    """With a max_stale of one second."""
    world = dns_world(catalog, dns_max_stale=1.0)
    catalog.last_contact = 2 * durations.SECOND
    world.ask("n1.node.consul")
    assert [r.allow_stale for _, r in world.agent.calls] == [True, False]


def test_cookies_do_not_fill_the_cache(world):
    """An option that differs in every question is not kept under."""
    option = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")
    for _ in range(3):
        world.ask("n1.node.consul", edns=1232, options=[option])
    assert [len(cache) for cache in world.responder._caches.values()] == [0, 0]
    world.ask("n1.node.consul", edns=1232)
    assert [len(cache) for cache in world.responder._caches.values()] == [1, 0]


def test_followed_names_are_not_kept(dns_world, dns_rows):
    """What another name stands for may change unseen."""
    catalog = CatalogFake("dc1")
    catalog.register(Node(node="a", address="b.node.consul"))
    catalog.register(Node(node="b", address="10.0.0.1"))
    world = dns_world(catalog)
    assert dns_rows(world.ask("a.node.consul").answer)[1].endswith("10.0.0.1")
    catalog.register(Node(node="b", address="10.0.0.2"))
    assert dns_rows(world.ask("a.node.consul").answer)[1].endswith("10.0.0.2")


def test_questions_are_timed(world):
    """By what they are about, kept or not; names that are foreign are not."""
    for name in ("n1.node.consul", "n1.node.consul", "1.0.0.10.in-addr.arpa", "a.test"):
        world.ask(name)
    assert [name for name, _ in world.agent.metrics.samples] == [
        "dns.domain_query",
        "dns.domain_query",
        "dns.ptr_query",
    ]


# --- foreign names --------------------------------------------------------------------


def test_delegation_records_are_for_the_recursors(catalog, dns_world, dns_query):
    """A question for DS is about the parent of a zone."""

    def resolve(host, query, stream):
        return query[:2] + b"\x81\x80" + query[4:]

    query = dns_query("web.service.consul", "DS")
    world = dns_world(
        catalog, reactor=ResolverReactor(resolve), dns_recursors=("192.0.2.1:5353",)
    )
    assert world.send(query)[2:4] == b"\x81\x80"
    alone = dns.message.from_wire(dns_world(catalog).send(query))
    assert len(alone.authority) == 1


def test_unknown_addresses_are_for_the_recursors(catalog, dns_world, dns_query):
    """Over the client's transport; SERVFAIL where there are none."""
    seen: list[tuple[str, bool]] = []

    def resolve(host, query, stream):
        seen.append((host, stream))
        return query[:2] + b"\x81\x83" + query[4:]

    world = dns_world(
        catalog, reactor=ResolverReactor(resolve), dns_recursors=("192.0.2.1",)
    )
    query = dns_query("9.9.9.9.in-addr.arpa", "PTR")
    assert world.send(query, stream=True)[3] & 0x0F == dns.rcode.NXDOMAIN
    assert world.send(query)[3] & 0x0F == dns.rcode.NXDOMAIN
    assert seen == [("192.0.2.1", True), ("192.0.2.1", False)]
    alone = dns.message.from_wire(dns_world(catalog).send(query))
    assert alone.rcode() == dns.rcode.SERVFAIL
    assert alone.flags & dns.flags.RA


def test_mutating_a_reply_is_not_needed_to_see_a_new_payload(world):
    """Identity decides: an equal payload in another object is read anew."""
    world.ask("web.service.consul")
    answer = world.agent.methods["Health.ServiceNodes"]

    def renewed(request):
        reply = answer(request)
        return msgspec.structs.replace(reply, nodes=list(reply.nodes)[:1])

    world.agent.methods["Health.ServiceNodes"] = renewed
    assert len(world.ask("web.service.consul").answer[0]) == 1
