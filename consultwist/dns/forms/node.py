"""``<node>.node[.<datacenter>]``: the address and the metadata of a node."""

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup, NodeLookup, Source, absent, serves_nodes
from consultwist.dns.names import Question
from consultwist.dns.reads import read
from consultwist.interfaces import IAgent, IDNSForm
from consultwist.structs.catalog import NodeServices, NodeSpecificRequest


@implementer(IDNSForm)
class NodeForm:
    """Names of nodes; they may contain dots."""

    name = "node"
    labels = ("node",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the node; no records at all where the type is not for nodes."""
        if not question.is_placed:
            return absent()
        if not serves_nodes(question.type):
            return Lookup(sources=())
        request = NodeSpecificRequest(
            datacenter=question.datacenter,
            node=".".join(question.subject),
            **question.settings.read_options,
        )

        def finish(found: NodeServices | None, source: Source) -> Lookup:
            if found is None or found.node is None:
                return absent(source)
            return NodeLookup(
                node=found.node, datacenter=request.datacenter, sources=(source,)
            )

        return read(
            agent,
            question,
            "Catalog.NodeServices",
            request,
            finish,
            payload="node_services",
        )
