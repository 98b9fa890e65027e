"""``<service>.connect[.<datacenter>]``: the mesh endpoints of a service."""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup, absent
from consultwist.dns.forms.service import find_instances
from consultwist.dns.names import Question
from consultwist.interfaces import IAgent, IDNSForm
from consultwist.structs.catalog import ServiceSpecificRequest


@implementer(IDNSForm)
class ConnectForm:
    """Names of services, answered with their proxies and mesh-native instances."""

    name = "connect"
    labels = ("connect",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the usable mesh endpoints; labels left of the service do not count."""
        if not question.is_placed:
            return absent()
        request = ServiceSpecificRequest(
            datacenter=question.datacenter,
            service_name=question.subject[-1],
            service_tags=[""],
            connect=True,
            **question.settings.read_options,
        )
        return find_instances(agent, question, request)
