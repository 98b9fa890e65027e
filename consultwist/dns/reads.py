"""How forms ask the servers: with the staleness that the settings allow."""

import operator
import typing
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from twisted.internet.defer import Deferred

from consultwist import durations
from consultwist.dns.answers import Lookup, Source
from consultwist.dns.later import when_known
from consultwist.dns.names import Question
from consultwist.interfaces import IAgent
from consultwist.structs.query import QueryOptions

Payload = Literal["nodes", "node_services", "service_nodes"]

#: What takes the payload out of a reply.
_PAYLOADS: Final = {
    name: operator.attrgetter(name) for name in typing.get_args(Payload)
}

#: Older answers than this are counted (the stock agent's threshold).
STALE_NS: Final = 5 * durations.SECOND


def read(
    agent: IAgent,
    question: Question,
    method: str,
    request: QueryOptions,
    then: Callable[[Any, Source], Lookup],
    *,
    payload: Payload,
) -> Lookup | Deferred[Lookup]:
    """Ask the servers, and make a lookup of the payload of their reply.

    Args:
        agent: whose servers are asked.
        question: the question that this serves.
        method: the RPC method.
        request: its argument, with the options of `Settings.read_options`.
        then: is given the payload, and the source that it makes the answer rest on.
        payload: the attribute of the reply that holds the payload.
    """
    of = _PAYLOADS[payload]

    def finish(reply: Any) -> Lookup:
        value = of(reply)
        return then(value, Source(method, request, of, value))

    return when_known(ask(agent, question, method, request), finish)


def ask(agent: IAgent, question: Question, method: str, request: QueryOptions) -> Any:
    """Return the servers' reply, asked again at the leader where it is too old."""

    def check(reply: Any) -> Any:
        if not request.allow_stale:
            return reply
        if reply.last_contact > question.settings.max_stale_ns:
            fresh = msgspec.structs.replace(request, allow_stale=False, use_cache=False)
            return agent.rpc(method, fresh)
        if reply.last_contact > STALE_NS:
            labels = {"node": question.settings.node_name}
            agent.metrics.counter("dns.stale_queries", 1, labels)
        return reply

    return when_known(reply_of(agent, method, request), check)


def reply_of(agent: IAgent, method: str, request: QueryOptions) -> Any:
    """Return the servers' reply, out of the agent's cache where the request says so."""
    if request.use_cache:
        return when_known(agent.cached(method, request), operator.attrgetter("reply"))
    return agent.rpc(method, request)
