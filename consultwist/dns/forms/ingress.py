"""``<service>.ingress[.<datacenter>]``: the gateways that expose a service."""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup
from consultwist.dns.forms.service import find_endpoints
from consultwist.dns.names import Question
from consultwist.interfaces import IAgent, IDNSForm


@implementer(IDNSForm)
class IngressForm:
    """Names of services, answered with the ingress gateways that expose them."""

    name = "ingress"
    labels = ("ingress",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the usable gateways."""
        return find_endpoints(agent, question, ingress=True)
