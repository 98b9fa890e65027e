"""``<service>.connect[.<datacenter>]``: the mesh endpoints of a service."""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup
from consultwist.dns.forms.service import find_endpoints
from consultwist.dns.names import Question
from consultwist.interfaces import IAgent, IDNSForm


@implementer(IDNSForm)
class ConnectForm:
    """Names of services, answered with their proxies and mesh-native instances."""

    name = "connect"
    labels = ("connect",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the usable mesh endpoints."""
        return find_endpoints(agent, question, connect=True)
