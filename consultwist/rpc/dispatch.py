"""From a method's name, such as ``KVS.Apply``, to what runs it."""

from collections.abc import Callable, Iterable
from typing import Any

import attrs

from consultwist.acl.authorizer import Rule
from consultwist.errors import RPCError
from consultwist.rpc.replies import Reply
from consultwist.wire.struct import Struct


@attrs.frozen(kw_only=True)
class Method:
    """One method that servers answer.

    Attributes:
        name: ``Service.Method``.
        request: the class of the argument.
        acl: who may call it.
        reply: the type of the answer.
        run: takes the call's context and the request; returns a reply, a Deferred or a
            coroutine.
        local: answered by whichever server of the datacenter is asked.
        write: changes the state, so that only the leader may run it.
    """

    name: str
    request: type[Struct]
    acl: Rule
    reply: Reply
    run: Callable[[Any, Any], Any]
    local: bool = False
    write: bool = False


class Dispatcher:
    """All methods of a server, by name."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            if method.name in self._methods:
                raise ValueError(f"two RPC endpoints claim {method.name}")
            self._methods[method.name] = method
        self._services = {name.partition(".")[0] for name in self._methods}

    def find(self, name: str) -> Method:
        """Return a method.

        Raises:
            RPCError: with the text of Go's RPC server for an unknown name.
        """
        method = self._methods.get(name)
        if method is not None:
            return method
        service, dot, _ = name.partition(".")
        if not dot:
            raise RPCError(f"rpc: service/method request ill-formed: {name}")
        what = "method" if service in self._services else "service"
        raise RPCError(f"rpc: can't find {what} {name}")

    def names(self) -> list[str]:
        """Return all names in order, for the documentation and its test."""
        return sorted(self._methods)

    def all(self) -> list[Method]:
        """Return all methods, ordered by name."""
        return [self._methods[name] for name in self.names()]
