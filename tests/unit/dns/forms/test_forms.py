"""What each form asks the servers, and what it refuses to ask."""

import pytest
from zope.interface.verify import verifyObject

from consultwist.dns.forms.address import AddressForm
from consultwist.dns.forms.connect import ConnectForm
from consultwist.dns.forms.ingress import IngressForm
from consultwist.dns.forms.node import NodeForm
from consultwist.dns.forms.query import QueryForm
from consultwist.dns.forms.reverse import ReverseForm, address_of
from consultwist.dns.forms.service import ServiceForm, service_and_tag
from consultwist.interfaces import IDNSForm
from consultwist.structs.catalog import Node, NodeService
from consultwist.testing.catalog import CatalogFake, QueryFake

FORMS = [
    AddressForm(),
    ConnectForm(),
    IngressForm(),
    NodeForm(),
    QueryForm(),
    ReverseForm(),
    ServiceForm(),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_forms_are_plugins(form):
    """Each provides the interface in full."""
    assert verifyObject(IDNSForm, form)
    assert form.labels


@pytest.fixture
def catalog():
    """A catalog of two nodes."""
    made = CatalogFake("dc1", "dc2")
    made.register(Node(node="n1", address="10.0.0.1"))
    made.register(
        Node(node="n2", address="2001:DB8:0::6"),
        NodeService(id="web", service="web", address="10.5.0.1"),
    )
    return made


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        (
            "v1.web.service.dc2.consul",
            "Health.ServiceNodes",
            {
                "service_name": "web",
                "service_tags": ["v1"],
                "tag_filter": True,
                "datacenter": "dc2",
                "connect": False,
                "ingress": False,
            },
        ),
        (
            "a.b.web.service.consul",
            "Health.ServiceNodes",
            {"service_name": "web", "service_tags": ["a.b"], "datacenter": "dc1"},
        ),
        (
            "_web._tcp.service.consul",
            "Health.ServiceNodes",
            {"service_name": "web", "tag_filter": False},
        ),
        (
            "x.web.connect.consul",
            "Health.ServiceNodes",
            {"service_name": "web", "connect": True, "tag_filter": False},
        ),
        (
            "web.ingress.consul",
            "Health.ServiceNodes",
            {"service_name": "web", "ingress": True},
        ),
        (
            "a.b.node.dc2.consul",
            "Catalog.NodeServices",
            {"node": "a.b", "datacenter": "dc2"},
        ),
        (
            "my.query.query.dc2.consul",
            "PreparedQuery.Execute",
            {"query_id_or_name": "my.query", "datacenter": "dc2"},
        ),
    ],
)
def test_requests(catalog, dns_world, name, method, expected):
    """The labels become the request; all carry token and staleness."""
    world = dns_world(catalog)
    world.agent.tokens.default = "secret"
    world.ask(name)
    asked, request = world.agent.calls[0]
    assert asked == method
    shown = {field: getattr(request, field) for field in expected}
    assert shown == expected
    assert request.token == "secret"
    assert request.allow_stale


def test_with_the_cache_the_servers_are_asked_once(catalog, dns_world):
    """Later questions are answered from what the agent knows, and keeps fresh."""
    world = dns_world(catalog, dns_use_cache=True)
    first = world.ask("web.service.consul")
    for _ in range(3):
        again = world.ask("web.service.consul")
        assert sorted(map(str, again.answer)) == sorted(map(str, first.answer))
    assert [method for method, _ in world.agent.calls] == ["Health.ServiceNodes"]


def test_a_query_older_than_the_greatest_age_is_asked_again(catalog, dns_world):
    """Prepared queries are not kept fresh, so ``cache_max_age`` is for them."""
    world = dns_world(catalog, dns_cache_max_age=5.0, dns_use_cache=True)
    catalog.queries["my"] = QueryFake(service="web")
    for pause_s, calls in ((0, 1), (4, 1), (2, 2)):
        world.agent.reactor.advance(pause_s)
        assert world.ask("my.query.consul").answer
        assert len(world.agent.calls) == calls


@pytest.mark.parametrize(
    "name",
    [
        "service.consul",
        "web.service.a.b.consul",
        "connect.consul",
        "web.connect.a.b.consul",
        "ingress.consul",
        "node.consul",
        "n1.node.a.b.consul",
        "query.consul",
        "pq.query.a.b.consul",
        "addr.consul",
        "a.7f000001.addr.consul",
        "7f0000011.addr.consul",
        "7f00000g.addr.consul",
        "foo.consul",
        "consul",
    ],
)
def test_names_that_cannot_exist(catalog, dns_world, name):
    """The servers are not asked; the name does not exist."""
    world = dns_world(catalog)
    answer = world.ask(name)
    assert answer.rcode() == 3
    assert len(answer.authority) == 1
    assert world.agent.calls == []


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (("web",), ("web", "")),
        (("v1", "web"), ("web", "v1")),
        (("a", "b", "web"), ("web", "a.b")),
        (("_web", "_tcp"), ("web", "")),
        (("_web", "_udp"), ("web", "udp")),
        (("_web",), ("_web", "")),
        (("x", "_web", "_tcp"), ("_tcp", "x._web")),
        (("_web", "tcp"), ("tcp", "_web")),
    ],
)
def test_services_and_tags(subject, expected):
    """RFC 2782 wants exactly two labels with underscores."""
    assert service_and_tag(subject) == expected


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("1.0.0.10.in-addr", "10.0.0.1"),
        (".".join("6" + "0" * 23 + "8bd01002") + ".ip6", "2001:db8::6"),
        ("0.0.10.in-addr", None),
        ("1.0.0.0.10.in-addr", None),
        ("01.0.0.10.in-addr", None),
        ("x.0.0.10.in-addr", None),
        ("1.2.ip6", None),
        (".".join("g" * 32) + ".ip6", None),
        (".".join(["00"] * 32) + ".ip6", None),
        ("1.0.0.10.other", None),
        ("in-addr", None),
        ("", None),
    ],
)
def test_reverse_names(name, address):
    """Only whole addresses are looked for."""
    assert address_of(tuple(name.split("."))) == address


def test_reverse_lookups(catalog, dns_world, dns_rows):
    """Nodes first, however their address is spelled, then services."""
    world = dns_world(catalog)

    def pointer(name: str) -> str:
        return str(dns_rows(world.ask(name, "PTR").answer)[0].split()[-1])

    assert pointer("1.0.0.10.in-addr.arpa") == "n1.node.dc1.consul."
    six = ".".join("6" + "0" * 23 + "8bd01002") + ".ip6.arpa"
    assert pointer(six) == "n2.node.dc1.consul."
    assert pointer("1.0.5.10.in-addr.arpa") == "web.service.dc1.consul."
    # The second time the answers are kept; a change is still seen.
    assert pointer("1.0.5.10.in-addr.arpa") == "web.service.dc1.consul."
    catalog.register(Node(node="n3", address="10.5.0.1"))
    assert pointer("1.0.5.10.in-addr.arpa") == "n3.node.dc1.consul."


def test_reverse_soa(catalog, dns_world):
    """The pointer with the zone's SOA beside it."""
    answer = dns_world(catalog).ask("1.0.0.10.in-addr.arpa", "SOA")
    assert len(answer.answer) == 1
    assert len(answer.authority) == 1


def test_addresses_in_names_keep_the_domain(dns_world, dns_rows):
    """Also where the question used the other one; anything may be the location."""
    world = dns_world(dns_alt_domain="alt.test", dns_node_ttl=30.0)
    answer = world.ask("7F000001.addr.Foo.bar.alt.test", "AAAA")
    assert dns_rows(answer.answer) == ["7f000001.addr.foo.bar.consul. 30 A 127.0.0.1"]
    assert world.ask("zz.addr.consul").rcode() == 0


def test_names_of_address_do_not_select_inside_the_zone(dns_world):
    """`arpa` means something only as the last label."""
    assert dns_world().ask("1.0.0.10.in-addr.arpa.consul", "PTR").rcode() == 3
