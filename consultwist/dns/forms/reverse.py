"""``<d.c.b.a>.in-addr.arpa`` and ``<nibbles>.ip6.arpa``: names of addresses.

An address is first looked for among the nodes, then among the addresses that service
instances have of their own. What is not found is for the recursors.
"""

import socket
from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup, SOAPlace, Source
from consultwist.dns.later import when_known
from consultwist.dns.names import Question
from consultwist.dns.reads import read
from consultwist.dns.records import TYPE_PTR, TYPE_SOA, Record, Target, packed_address
from consultwist.interfaces import IAgent, IDNSForm
from consultwist.structs.catalog import Node, ServiceNode, ServiceSpecificRequest
from consultwist.structs.query import DCSpecificRequest

_V4_SUFFIX: Final = ("in-addr", "arpa")
_V6_SUFFIX: Final = ("ip6", "arpa")
_V6_DIGITS: Final = 32

_FOREIGN: Final = Lookup(recurse=True)


@implementer(IDNSForm)
class ReverseForm:
    """Names under ``arpa``; answered with PTR records, whatever type is asked for."""

    name = "reverse"
    labels = ("arpa",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the node, else the service, that has the address."""
        address = address_of((*question.subject, *question.location))
        if address is None:
            return _FOREIGN

        def or_service(lookup: Lookup) -> Lookup | Deferred[Lookup]:
            if not lookup.recurse:
                return lookup
            return _find_service(agent, question, address, lookup)

        return when_known(_find_node(agent, question, address), or_service)


def address_of(labels: tuple[str, ...]) -> str | None:
    """Return the canonical text of the address that a reverse name stands for.

    Args:
        labels: the labels of the name without the last one, ``arpa``.
    """
    kind, digits = labels[-1:], labels[-2::-1]
    if kind == ("in-addr",) and len(digits) == 4:
        text = ".".join(digits)
        packed = packed_address(text)
    elif kind == ("ip6",) and len(digits) == _V6_DIGITS:
        packed = _nibbles(digits)
    else:
        return None
    if packed is None:
        return None
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed)


def _nibbles(digits: tuple[str, ...]) -> bytes | None:
    if any(len(digit) != 1 for digit in digits):
        return None
    try:
        return bytes.fromhex("".join(digits))
    except ValueError:
        return None


def _find_node(
    agent: IAgent, question: Question, address: str
) -> Lookup | Deferred[Lookup]:
    settings = question.settings
    request = DCSpecificRequest(datacenter=settings.datacenter, **settings.read_options)

    def finish(nodes: Sequence[Node] | None, source: Source) -> Lookup:
        for node in nodes or ():
            if _is_address(node.address, address):
                return _pointer(question, f"{node.node}.node", (source,))
        return Lookup(recurse=True, sources=(source,))

    return read(agent, question, "Catalog.ListNodes", request, finish, payload="nodes")


def _is_address(text: str, canonical: str) -> bool:
    if text == canonical:
        return True
    # Only IPv6 addresses have more than one spelling.
    return ":" in text and packed_address(text) == packed_address(canonical)


def _find_service(
    agent: IAgent, question: Question, address: str, no_node: Lookup
) -> Lookup | Deferred[Lookup]:
    settings = question.settings
    request = ServiceSpecificRequest(
        datacenter=settings.datacenter,
        service_address=address,
        **settings.read_options,
    )

    def finish(instances: Sequence[ServiceNode] | None, source: Source) -> Lookup:
        for instance in instances or ():
            if instance.service_address == address:
                subject = f"{instance.service_name}.service"
                return _pointer(question, subject, (*(no_node.sources or ()), source))
        return _FOREIGN

    return read(
        agent,
        question,
        "Catalog.ServiceNodes",
        request,
        finish,
        payload="service_nodes",
    )


def _pointer(question: Question, subject: str, sources: tuple[Source, ...]) -> Lookup:
    settings = question.settings
    target = Target(f"{subject}.{settings.datacenter}.{settings.domain}")
    # The TTL is 0 whatever is set.
    return Lookup(
        records=(Record(question.name, TYPE_PTR, 0, target),),
        soa=SOAPlace.AUTHORITY if question.type == TYPE_SOA else SOAPlace.NOWHERE,
        sources=sources,
    )
