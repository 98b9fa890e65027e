"""What tests of DNS share: configurations, questions and readable answers."""

from collections.abc import Callable
from typing import Any

import attrs
import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from twisted.internet.defer import Deferred

from consultwist.config.runtime import ListenAddress, RuntimeConfig, SOAConfig
from consultwist.dns.forms.address import AddressForm
from consultwist.dns.forms.connect import ConnectForm
from consultwist.dns.forms.ingress import IngressForm
from consultwist.dns.forms.node import NodeForm
from consultwist.dns.forms.query import QueryForm
from consultwist.dns.forms.reverse import ReverseForm
from consultwist.dns.forms.service import ServiceForm
from consultwist.dns.responder import Responder
from consultwist.testing.agent import RecordingAgent
from consultwist.testing.catalog import CatalogFake

#: What the configuration reference gives as defaults.
_DEFAULTS: dict[str, Any] = {
    "acl_token": "",
    "datacenter": "dc1",
    "dns_a_record_limit": 0,
    "dns_addrs": (
        ListenAddress("tcp", "127.0.0.1", 8600),
        ListenAddress("udp", "127.0.0.1", 8600),
    ),
    "dns_allow_stale": True,
    "dns_alt_domain": "",
    "dns_cache_max_age": 0.0,
    "dns_disable_compression": False,
    "dns_domain": "consul.",
    "dns_enable_truncate": False,
    "dns_max_stale": 87600 * 3600.0,
    "dns_node_meta_txt": True,
    "dns_node_ttl": 0.0,
    "dns_only_passing": False,
    "dns_recursor_timeout": 2.0,
    "dns_recursors": (),
    "dns_soa": SOAConfig(expire=86400, minttl=0, refresh=3600, retry=600),
    "dns_service_ttl": {},
    "dns_udp_answer_limit": 3,
    "dns_use_cache": False,
    "node_name": "srv1",
    "segment_name": "",
    "translate_wan_addrs": False,
}


def make_config(**changes: Any) -> RuntimeConfig:
    """Return a configuration in which only what DNS reads is set."""
    unset = {field.name: None for field in attrs.fields(RuntimeConfig)}
    values: Any = {**unset, **_DEFAULTS, **changes}
    return RuntimeConfig(**values)


@attrs.define
class World:
    """An agent over a catalog, and the responder that answers for it."""

    agent: RecordingAgent
    catalog: CatalogFake
    responder: Responder

    def ask(
        self,
        name: str,
        kind: str = "A",
        *,
        stream: bool = False,
        address: str = "127.0.0.1",
        **options: Any,
    ) -> dns.message.Message:
        """Return the answer to a question, which must be known at once."""
        wire = make_query(name, kind, **options)
        answer = self.responder.respond(wire, address, stream=stream)
        assert isinstance(answer, bytes), answer
        return dns.message.from_wire(answer)

    def send(self, wire: bytes, *, stream: bool = False) -> Any:
        """Return what the responder makes of bytes; a Deferred where it waits."""
        answer = self.responder.respond(wire, "127.0.0.1", stream=stream)
        if isinstance(answer, Deferred) and answer.called:
            return answer.result
        return answer


def make_query(
    name: str, kind: str = "A", *, edns: int | None = None, **options: Any
) -> bytes:
    """Return the bytes of a question; `edns` is the UDP size offered."""
    message = dns.message.make_query(name, kind, id=0x1234)
    if edns is not None:
        message.use_edns(0, payload=edns, **options)
    return message.to_wire()


def rows(section: list[Any]) -> list[str]:
    """Return the records of a section as lines of text, in order."""
    return [
        f"{rrset.name} {rrset.ttl} {line}"
        for rrset in section
        for line in (
            f"{dns.rdatatype.to_text(rrset.rdtype)} {item.to_text()}" for item in rrset
        )
    ]


@pytest.fixture
def dns_config() -> Callable[..., RuntimeConfig]:
    """Make configurations."""
    return make_config


@pytest.fixture
def dns_query() -> Callable[..., bytes]:
    """Make questions."""
    return make_query


@pytest.fixture
def dns_rows() -> Callable[[list[Any]], list[str]]:
    """Make a section readable."""
    return rows


@pytest.fixture
def dns_world() -> Callable[..., World]:
    """Make an agent over an empty catalog."""

    def make(
        catalog: CatalogFake | None = None, *, reactor: Any = None, **changes: Any
    ) -> World:
        catalog = catalog or CatalogFake("dc1")
        agent = RecordingAgent(make_config(**changes), catalog.methods())
        if reactor is not None:
            agent.reactor = reactor
        forms = [
            AddressForm(),
            ConnectForm(),
            IngressForm(),
            NodeForm(),
            QueryForm(),
            ReverseForm(),
            ServiceForm(),
        ]
        return World(agent, catalog, Responder(agent, forms))

    return make
