"""``<service>.ingress[.<datacenter>]``: the gateways that expose a service."""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup, absent
from consultwist.dns.forms.service import find_instances
from consultwist.dns.names import Question
from consultwist.interfaces import IAgent, IDNSForm
from consultwist.structs.catalog import ServiceSpecificRequest


@implementer(IDNSForm)
class IngressForm:
    """Names of services, answered with the ingress gateways that expose them."""

    name = "ingress"
    labels = ("ingress",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the usable gateways; labels left of the service do not count."""
        if not question.is_placed:
            return absent()
        request = ServiceSpecificRequest(
            datacenter=question.datacenter,
            service_name=question.subject[-1],
            service_tags=[""],
            ingress=True,
            **question.settings.read_options,
        )
        return find_instances(agent, question, request)
