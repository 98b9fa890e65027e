"""The delegate of an agent in client mode."""

from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from consultwist.errors import NoServers
from consultwist.interfaces import IClusterDelegate
from consultwist.wire.struct import Struct


@implementer(IClusterDelegate)
class ClientDelegate(Service):
    """Passes requests on to the servers of the datacenter."""

    is_server = False

    def rpc(self, method: str, request: Struct) -> Any:  # noqa: ARG002
        """Refuse: no server is known."""
        raise NoServers

    def read_version(self) -> int:
        """Return that nothing is known here of the state."""
        return -1

    def stats(self) -> Mapping[str, Mapping[str, str]]:
        """Return the section ``consul`` of the agent's figures."""
        return {"consul": {"acl": "disabled", "known_servers": "0", "server": "false"}}

    def leave(self) -> Deferred[None]:
        """Leave nothing: only the pools know this agent."""
        return succeed(None)
