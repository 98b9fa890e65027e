"""``[<tag>.]<service>.service[.<datacenter>]``: the healthy instances of a service.

Also the form of RFC 2782, ``_<service>._<tag>.service``, in which the tag ``tcp``
stands for all instances.
"""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.addresses import usable
from consultwist.dns.answers import InstanceLookup, Lookup, ServerLookup, Source, absent
from consultwist.dns.names import Question
from consultwist.dns.reads import read
from consultwist.interfaces import IAgent, IDNSForm
from consultwist.structs.catalog import CheckServiceNode, ServiceSpecificRequest

#: The name under which servers register themselves.
SERVERS = "consul"


@implementer(IDNSForm)
class ServiceForm:
    """Names of services."""

    name = "service"
    labels = ("service",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the usable instances, those with a tag where one is named."""
        if not question.is_placed:
            return absent()
        service, tag = service_and_tag(question.subject)
        request = ServiceSpecificRequest(
            datacenter=question.datacenter,
            service_name=service,
            service_tags=[tag],
            tag_filter=bool(tag),
            **question.settings.read_options,
        )
        return find_instances(agent, question, request)


def service_and_tag(subject: tuple[str, ...]) -> tuple[str, str]:
    """Return what the labels left of ``service`` name; tags may contain dots."""
    if len(subject) == 2 and all(label.startswith("_") for label in subject):
        service, tag = (label[1:] for label in subject)
        return service, "" if tag == "tcp" else tag
    return subject[-1], ".".join(subject[:-1])


def find_endpoints(
    agent: IAgent, question: Question, **kind: Any
) -> Lookup | Deferred[Lookup]:
    """Ask for what leads to a service, such as its gateways.

    Labels left of the service do not count.

    Args:
        agent: whom to ask.
        question: names the service.
        kind: the field of the request that tells what is wanted.
    """
    if not question.is_placed:
        return absent()
    request = ServiceSpecificRequest(
        datacenter=question.datacenter,
        service_name=question.subject[-1],
        service_tags=[""],
        **kind,
        **question.settings.read_options,
    )
    return find_instances(agent, question, request)


def find_instances(
    agent: IAgent, question: Question, request: ServiceSpecificRequest
) -> Lookup | Deferred[Lookup]:
    """Ask for the instances of a service and keep the usable ones."""

    def finish(nodes: Sequence[CheckServiceNode] | None, source: Source) -> Lookup:
        instances = _usable(nodes, question)
        if not instances:
            return absent(source)
        return InstanceLookup(
            instances=instances,
            datacenter=request.datacenter,
            ttl_s=question.settings.service_ttl(request.service_name),
            sources=(source,),
        )

    return read(
        agent, question, "Health.ServiceNodes", request, finish, payload="nodes"
    )


def find_servers(agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
    """Return the servers of this datacenter, for SOA and NS records."""
    request = ServiceSpecificRequest(
        datacenter=question.settings.datacenter,
        service_name=SERVERS,
        **question.settings.read_options,
    )

    def finish(nodes: Sequence[CheckServiceNode] | None, source: Source) -> Lookup:
        return ServerLookup(instances=_usable(nodes, question), sources=(source,))

    return read(
        agent, question, "Health.ServiceNodes", request, finish, payload="nodes"
    )


def _usable(
    nodes: Sequence[CheckServiceNode] | None, question: Question
) -> list[CheckServiceNode]:
    only_passing = question.settings.only_passing
    return [node for node in nodes or () if usable(node, only_passing=only_passing)]
