"""``<query>.query[.<datacenter>]``: what a prepared query finds."""

import socket

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.dns.answers import InstanceLookup, Lookup, SOAPlace, absent
from consultwist.dns.later import when_known
from consultwist.dns.names import Client, Question
from consultwist.dns.reads import ask
from consultwist.dns.records import NXDOMAIN
from consultwist.dns.settings import Settings
from consultwist.interfaces import IAgent, IDNSForm
from consultwist.structs.prepared_query import (
    PreparedQueryExecuteRequest,
    PreparedQueryExecuteResponse,
)
from consultwist.structs.query import QuerySource

log = Logger()


@implementer(IDNSForm)
class QueryForm:
    """Names and ids of prepared queries; names may contain dots.

    The answer can depend on who asks, so it is never kept.
    """

    name = "query"
    labels = ("query",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the instances in the order that the query gives them."""
        if not question.is_placed:
            return absent()
        settings = question.settings
        # What the answer is sorted by where the query says so: the distance to who
        # asks, or to this agent.
        request = PreparedQueryExecuteRequest(
            datacenter=question.datacenter,
            query_id_or_name=".".join(question.subject),
            source=QuerySource(ip=_source_address(question.client)),
            agent=QuerySource(
                datacenter=settings.datacenter,
                segment=settings.segment,
                node=settings.node_name,
            ),
            **settings.read_options,
        )
        found = ask(agent, question, "PreparedQuery.Execute", request)
        return when_known(found, lambda reply: _lookup(settings, reply))


def _source_address(client: Client) -> str:
    subnet = client.edns.subnet if client.edns else None
    if subnet is None or not subnet.address:
        return client.address
    family = socket.AF_INET if len(subnet.address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, subnet.address)


def _lookup(settings: Settings, reply: PreparedQueryExecuteResponse) -> Lookup:
    if not reply.nodes:
        return Lookup(rcode=NXDOMAIN, soa=SOAPlace.AUTHORITY, per_client=True)
    return InstanceLookup(
        instances=reply.nodes,
        datacenter=reply.datacenter or settings.datacenter,
        ttl_s=_ttl_s(settings, reply),
        ordered=True,
        per_client=True,
    )


def _ttl_s(settings: Settings, reply: PreparedQueryExecuteResponse) -> int:
    if not reply.dns.ttl:
        return settings.service_ttl(reply.service)
    try:
        return max(0, durations.parse(reply.dns.ttl) // durations.SECOND)
    except ValueError as error:
        # Servers check the text when the query is made.
        log.warn("TTL of a prepared query: {error}", error=str(error))
        return 0
