"""Answers in the corners that the captures do not reach.

What is expected was seen on a stock agent with the same catalog.
"""

import dns.message
import dns.rcode
import dns.rrset
import pytest

from consultwist.dns.answers import metadata_records, metadata_text
from consultwist.dns.records import Text
from consultwist.structs.catalog import HealthCheck, Node, NodeService, Weights
from consultwist.testing.catalog import CatalogFake
from consultwist.testing.resolver import ResolverReactor


def add(catalog, node, address, service="", own="", port=2, **fields):
    """Register one instance."""
    found = NodeService(
        id=service or node, service=service or node, address=own, port=port, **fields
    )
    catalog.register(Node(node=node, address=address), found)


@pytest.fixture
def catalog():
    """A catalog with what is unusual."""
    made = CatalogFake("dc1")
    add(made, "m1", "10.0.0.5", "mix", port=1)
    add(made, "m2", "host.example.test", "mix")
    add(made, "m4", "10.0.0.6", "self", "self.service.consul")
    add(made, "m5", "10.0.0.6", "loop", "loop2.service.consul")
    add(made, "m5", "10.0.0.6", "loop2", "loop.service.consul")
    for number in range(5):
        target = f"c{number + 1}.service.consul"
        add(made, "m5", "10.0.0.6", f"c{number}", target)
    add(made, "m5", "10.0.0.6", "c5", "10.7.7.7")
    add(made, "ipish", "10.0.0.13", "ffff", "::ffff:10.1.1.1")
    add(made, "wt", "10.0.0.11", "big", port=70000)
    add(made, "n" * 70, "10.0.0.4", "long")
    add(made, "tod", "real.node.consul", "nn")
    made.register(Node(node="real", address="10.0.0.12", meta={"a": "b"}))
    made.register(Node(node="longmeta", address="10.0.0.2", meta={"k": "y" * 300}))
    return made


def test_addresses_win_over_aliases(catalog, dns_world, dns_rows):
    """A host name is only answered with where there is no address at all."""
    world = dns_world(catalog)
    assert dns_rows(world.ask("mix.service.consul").answer) == [
        "mix.service.consul. 0 A 10.0.0.5"
    ]
    only_alias = ["mix.service.consul. 0 CNAME host.example.test."]
    assert dns_rows(world.ask("mix.service.consul", "MX").answer) == only_alias
    assert dns_rows(world.ask("mix.service.consul", "AAAA").answer) == only_alias


def test_a_service_under_its_own_name_is_where_its_node_is(
    catalog, dns_world, dns_rows
):
    """Spelling counts: another spelling is followed like any name."""
    world = dns_world(catalog)
    assert dns_rows(world.ask("self.service.consul").answer) == [
        "self.service.consul. 0 A 10.0.0.6"
    ]
    assert dns_rows(world.ask("SELF.service.consul").answer) == [
        "SELF.service.consul. 0 CNAME self.service.consul.",
        "self.service.consul. 0 A 10.0.0.6",
    ]
    srv = world.ask("self.service.consul", "SRV")
    assert dns_rows(srv.answer) == [
        "self.service.consul. 0 SRV 1 1 2 m4.node.dc1.consul."
    ]


def test_nodes_are_followed_one_name_further(dns_world, dns_rows):
    """Than services, also where a service is on the way."""
    catalog = CatalogFake("dc1")
    for number in range(6):
        add(catalog, f"k{number}", f"k{number + 1}.node.consul")
    add(catalog, "ks", "k0.node.consul", "ks")
    add(catalog, "k7", "ks.service.consul")
    world = dns_world(catalog)
    counts = {
        name: len(dns_rows(world.ask(f"{name}.consul").answer))
        for name in ("k0.node", "ks.service", "k7.node")
    }
    assert counts == {"k0.node": 4, "ks.service": 3, "k7.node": 4}


def test_aliases_are_followed_three_names_deep(catalog, dns_world, dns_rows):
    """A chain and a circle both end."""
    world = dns_world(catalog)
    chain = dns_rows(world.ask("c0.service.consul").answer)
    assert [line.split()[-1] for line in chain] == [
        "c1.service.consul.",
        "c2.service.consul.",
        "c3.service.consul.",
    ]
    assert dns_rows(world.ask("c3.service.consul").answer)[-1].endswith("A 10.7.7.7")
    circle = dns_rows(world.ask("loop.service.consul").answer)
    assert [line.split()[-1] for line in circle] == [
        "loop2.service.consul.",
        "loop.service.consul.",
    ]
    extra = dns_rows(world.ask("c1.service.consul", "SRV").additional)
    assert [line.split()[-1] for line in extra] == [
        "c3.service.consul.",
        "c4.service.consul.",
        "c5.service.consul.",
    ]


def test_metadata_goes_along_with_aliases_of_nodes(catalog, dns_world, dns_rows):
    """Names of nodes are resolved with all their records, services without TXT."""
    world = dns_world(catalog)
    assert dns_rows(world.ask("tod.node.consul").answer) == [
        "tod.node.consul. 0 CNAME real.node.consul.",
        "real.node.consul. 0 A 10.0.0.12",
        'real.node.consul. 0 TXT "a=b"',
    ]
    assert len(dns_rows(world.ask("nn.service.consul").answer)) == 2


def test_ipv4_written_as_ipv6_is_ipv4(catalog, dns_world, dns_rows):
    """As Go reads it."""
    world = dns_world(catalog)
    assert dns_rows(world.ask("ffff.service.consul").answer)[0].endswith("A 10.1.1.1")
    empty = world.ask("ffff.service.consul", "AAAA")
    assert empty.answer == []
    assert len(empty.authority) == 1


def test_ports_are_cut_to_their_field(catalog, dns_world, dns_rows):
    """The catalog holds any integer."""
    found = dns_rows(dns_world(catalog).ask("big.service.consul", "SRV").answer)
    assert found[0].split()[-2] == "4464"


def test_names_that_dns_cannot_hold_are_a_server_failure(catalog, dns_world):
    """The stock agent leaves the client waiting."""
    world = dns_world(catalog)
    assert world.ask("long.service.consul").rcode() == dns.rcode.NOERROR
    failed = world.ask("long.service.consul", "SRV")
    assert failed.rcode() == dns.rcode.SERVFAIL
    assert failed.answer == []


def test_long_metadata_is_parted(catalog, dns_world):
    """A text string holds 255 bytes; the stock agent does not answer."""
    found = dns_world(catalog).ask("longmeta.node.consul", "TXT").answer[0][0]
    assert [len(string) for string in found.strings] == [255, 47]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("rack", "r1", "rack=r1"),
        ("", "x", "=x"),
        ("a=b", "c=d", "a`=b=c=d"),
        ("tick`", "`", "tick``=``"),
        ("  lead", "", "` ` lead="),
        ("trail ", " v ", "trail` = v "),
    ],
)
def test_metadata_is_quoted(key, value, text):
    """In the form of RFC 1464."""
    assert metadata_text(key, value) == text


def test_bare_metadata():
    """Keys with the prefix, in any case, give their value alone."""
    node = Node(node="n", meta={"RFC1035-txt": "spf1 = all", "empty": ""})
    found = [record.data for record in metadata_records("n.", node, 0)]
    assert found == [Text((b"spf1 = all",)), Text((b"empty=",))]


def test_instances_at_one_address_are_answered_once(dns_world, dns_rows):
    """Addresses are told once; SRV once for node, address and port."""
    catalog = CatalogFake("dc1")
    for ident, port in (("a", 80), ("b", 81), ("c", 81)):
        service = NodeService(id=ident, service="web", port=port)
        catalog.register(Node(node="n1", address="10.0.0.1"), service)
    world = dns_world(catalog)
    assert len(dns_rows(world.ask("web.service.consul").answer)) == 1
    ports = {
        line.split()[-2]
        for line in dns_rows(world.ask("web.service.consul", "SRV").answer)
    }
    assert ports == {"80", "81"}


def test_the_warning_weight_may_be_zero(dns_world, dns_rows):
    """What is registered is answered."""
    catalog = CatalogFake("dc1")
    service = NodeService(id="w", service="w", weights=Weights(passing=1, warning=0))
    check = HealthCheck(check_id="c", status="warning", service_id="w")
    catalog.register(Node(node="n1", address="10.0.0.1"), service, check)
    answer = dns_rows(dns_world(catalog).ask("w.service.consul", "SRV").answer)
    assert answer[0].split()[-3] == "0"


def test_host_names_bring_five_records_to_old_clients(dns_world, dns_rows):
    """With EDNS there is no bound."""

    def resolve(host, query, stream):
        message = dns.message.from_wire(query)
        answer = dns.message.make_response(message)
        for number in range(8):
            answer.answer.append(
                dns.rrset.from_text("m.test.", 60, "IN", "A", f"10.0.0.{number}")
            )
        return answer.to_wire()

    catalog = CatalogFake("dc1")
    add(catalog, "m", "m.test")
    world = dns_world(
        catalog,
        reactor=ResolverReactor(resolve),
        dns_recursors=("192.0.2.1",),
        dns_udp_answer_limit=8,
    )
    wire = world.send(dns.message.make_query("m.service.consul", "A").to_wire())
    assert len(dns_rows(dns.message.from_wire(wire).answer)) == 6
    query = dns.message.make_query("m.service.consul", "A", payload=4096)
    assert len(dns_rows(dns.message.from_wire(world.send(query.to_wire())).answer)) == 9


def test_name_servers_are_three_at_most_with_valid_names(dns_world, dns_rows):
    """Names that are no host names are left out."""
    catalog = CatalogFake("dc1")
    for name in ("s1", "s2", "s3", "s4", "bad.name"):
        add(catalog, name, "10.0.0.1", "consul")
    found = dns_world(catalog).ask("consul", "NS")
    assert len(dns_rows(found.answer)) == 3
    assert len(dns_rows(found.additional)) == 3
    assert "bad.name" not in " ".join(dns_rows(found.answer))


def test_a_zone_without_servers_still_has_its_soa(dns_world):
    """Only the name servers are missing."""
    found = dns_world().ask("consul", "SOA")
    assert len(found.answer) == 1
    assert found.authority == []
