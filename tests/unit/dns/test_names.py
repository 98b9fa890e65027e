"""How names are parted into subject, kind and location, and what settings say."""

from typing import Any

import pytest

from consultwist.dns.names import Client, read_question, strip_domain, under
from consultwist.dns.records import TYPE_A, TYPE_SRV
from consultwist.dns.settings import Settings, settings_from

FORMS = {"service", "node", "query", "addr"}


def parted(name: str, kind: int = TYPE_A, **settings: Any) -> tuple[str, str, str]:
    """Return kind, subject and location of a name."""
    question = read_question(
        name, kind, settings=Settings(**settings), client=Client(), forms=FORMS
    )
    return question.kind, ".".join(question.subject), ".".join(question.location)


@pytest.mark.parametrize(
    ("name", "kind", "subject", "location"),
    [
        ("web.service.consul.", "service", "web", ""),
        ("V1.Web.SERVICE.dc2.Consul.", "service", "v1.web", "dc2"),
        ("a.b.node.x.y.consul.", "node", "a.b", "x.y"),
        ("node.node.consul.", "node", "node", ""),
        ("t1.node.node.consul.", "node", "t1.node", ""),
        ("service.consul.", "service", "", ""),
        ("consul.", "", "", ""),
        ("foo.consul.", "", "foo", ""),
        ("_web._tcp.consul.", "", "_web._tcp", ""),
        ("web.service.alt.test.", "service", "web", ""),
    ],
)
def test_the_last_selecting_label_parts_the_name(name, kind, subject, location):
    """Labels are read from the right, in lower case, under either domain."""
    assert parted(name, alt_domain="alt.test.") == (kind, subject, location)


@pytest.mark.parametrize(
    ("name", "subject", "location"),
    [
        ("_web._tcp.consul.", "_web._tcp", ""),
        ("_web._tcp.dc2.consul.", "_web._tcp", "dc2"),
        ("_web._tcp.service.consul.", "_web._tcp", ""),
    ],
)
def test_srv_questions_may_leave_out_the_kind(name, subject, location):
    """A label with an underscore then stands for services (RFC 2782)."""
    assert parted(name, TYPE_SRV) == ("service", subject, location)


def test_placed_questions_name_something_and_at_most_a_datacenter():
    """Anything else cannot exist."""

    def placed(name: str) -> tuple[bool, str]:
        settings = Settings(datacenter="dc1")
        question = read_question(
            name, TYPE_A, settings=settings, client=Client(), forms=FORMS
        )
        return question.is_placed, question.datacenter

    assert placed("web.service.consul.") == (True, "dc1")
    assert placed("web.service.dc2.consul.") == (True, "dc2")
    assert placed("service.consul.")[0] is False
    assert placed("web.service.a.b.consul.")[0] is False


def test_the_longer_domain_goes_first():
    """So that one may stand under the other."""
    settings = Settings(domain="consul.", alt_domain="alt.consul.")
    assert strip_domain("web.service.alt.consul.", settings) == "web.service."
    assert strip_domain("web.service.consul.", settings) == "web.service."
    assert strip_domain("www.example.test.", settings) == "www.example.test."


def test_a_domain_ends_at_a_label():
    """A name that only ends in the same letters is foreign."""
    assert under("a.consul.", "consul.")
    assert under("consul.", "consul.")
    assert not under("myconsul.", "consul.")
    assert not under("a.test.", "consul.")


def test_service_ttls_are_found_by_name_then_by_longest_prefix():
    """`*` is the shortest prefix."""
    settings = Settings(service_ttl_s={"web": 10, "w*": 7, "we*": 8, "*": 3})
    found = [settings.service_ttl(name) for name in ("web", "Web", "wer", "wo", "db")]
    assert found == [10, 10, 8, 7, 3]
    assert Settings().service_ttl("web") == 0
    assert Settings(service_ttl_s={"a*": 1}).service_ttl("web") == 0


def test_settings_follow_the_configuration(dns_config):
    """Names get their dots, intervals lose their fractions."""
    config = dns_config(
        dns_domain="Corp.Test",
        dns_alt_domain="alt.",
        dns_node_ttl=1.9,
        dns_service_ttl={"Web": 2.5},
        dns_udp_answer_limit=50,
        dns_max_stale=1.5,
        dns_disable_compression=True,
    )
    settings = settings_from(config, "secret")
    assert (settings.domain, settings.alt_domain) == ("corp.test.", "alt.")
    assert settings.node_ttl_s == 1
    assert settings.service_ttl("web") == 2
    assert settings.udp_answer_limit == 8
    assert settings.max_stale_ns == 1_500_000_000
    assert not settings.compress
    assert settings.read_options["token"] == "secret"
    assert "secret" not in repr(settings)
