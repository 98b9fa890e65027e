"""Endpoint and `method`: how RPC methods are declared.

::

    class KVS(Endpoint):
        name = "KVS"

        @method(KVSRequest, acl=write_rule, write=True)
        def apply(self, call: Call, request: KVSRequest) -> Deferred[bool]:
            ...

The attribute's name gives the RPC name: ``list_keys`` becomes ``KVS.ListKeys``. The
return annotation gives the type of the reply, for the wire. A
method without a rule cannot be declared. Before `run`, a server has forwarded the
request where that was due and checked the rule (`server/forwarding.py`).
"""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.acl.authorizer import Authorizer, Rule
from consultwist.interfaces import IRPCEndpoint
from consultwist.rpc.dispatch import Method
from consultwist.rpc.replies import reply_of
from consultwist.server.blocking import BlockingQueries, Parkable
from consultwist.state.store import Query
from consultwist.structs.query import QueryOptions
from consultwist.wire.struct import Struct, go_name

if TYPE_CHECKING:
    from consultwist.server.server import Server

Function = TypeVar("Function", bound=Callable[..., Any])
Payload = TypeVar("Payload")

_MARK = "__rpc_method__"


@attrs.frozen
class _Declaration:
    request: type[Struct]
    acl: Rule
    local: bool
    write: bool
    name: str


def method(
    request: type[Struct],
    *,
    acl: Rule,
    local: bool = False,
    write: bool = False,
    name: str = "",
) -> Callable[[Function], Function]:
    """Declare an RPC method.

    Args:
        request: the class of the argument.
        acl: who may call it.
        local: whether any server of the datacenter answers by itself.
        write: whether only the leader may run it, whatever the request says.
        name: the RPC name where it does not follow from the attribute's.
    """

    def mark(function: Function) -> Function:
        rpc_name = name or go_name(function.__name__)
        setattr(function, _MARK, _Declaration(request, acl, local, write, rpc_name))
        return function

    return mark


@implementer(IRPCEndpoint)
class Endpoint:
    """A group of RPC methods under one service name; holds no state.

    Attributes:
        name: the plugin's name, unique among endpoints.
        service: the RPC service's name where it is not the plugin's: several features
            share the service ``Internal``.
    """

    name = ""
    service = ""

    def methods(self) -> Iterator[Method]:
        """Yield the methods that the class declares."""
        for attribute in sorted(dir(type(self))):
            function: Any = getattr(type(self), attribute, None)
            declaration = getattr(function, _MARK, None)
            if declaration is not None:
                yield Method(
                    name=f"{self.service or self.name}.{declaration.name}",
                    request=declaration.request,
                    acl=declaration.acl,
                    reply=reply_of(function),
                    run=_waitable(getattr(self, attribute)),
                    local=declaration.local,
                    write=declaration.write,
                )


def _waitable(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method whose coroutine, if it is one, comes as a Deferred."""
    if not inspect.iscoroutinefunction(run):
        return run

    @wraps(run)
    def wait(call: "Call", request: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(run(call, request))

    return wait


class Call:
    """What a method is given beside its request: the server and who asks."""

    __slots__ = ("_queries", "authorizer", "server")

    def __init__(
        self, server: "Server", queries: BlockingQueries, authorizer: Authorizer
    ) -> None:
        self.server = server
        self.authorizer = authorizer
        self._queries = queries

    def blocking_query(
        self,
        options: QueryOptions,
        query: Query[Payload],
        reply: Callable[..., Any],
        *,
        kept: bool = False,
    ) -> Parkable[Any]:
        """Answer a read by its consistency and blocking options.

        Args:
            options: the request itself.
            query: makes (index, payload) from the state, noting what it rests on. With
                `kept` it must depend on nothing but the request.
            reply: makes the reply record from the payload and, as keywords, the fields
                of QueryMeta.
            kept: keep the answer for requests that ask the same.
        """
        return self._queries.run(options, query, reply, kept=kept)
