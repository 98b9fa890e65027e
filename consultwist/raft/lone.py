"""The transport of a server that has no peers."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from consultwist.raft.configuration import Server
from consultwist.raft.interfaces import IRaftReceiver, IRaftTransport
from consultwist.raft.messages import InstallSnapshot, Request


@implementer(IRaftTransport)
class LoneTransport:
    """Reaches nobody."""

    def start(self, receiver: IRaftReceiver) -> None:
        """Take the receiver of outcomes."""
        self._receiver = receiver

    def send(self, ticket: int, peer: Server, request: Request) -> None:  # noqa: ARG002
        """Report that the peer did not answer."""
        self._receiver.request_failed(ticket, unsupported=False)

    def send_snapshot(
        self,
        ticket: int,
        peer: Server,  # noqa: ARG002
        request: InstallSnapshot,  # noqa: ARG002
        source: Any,
    ) -> None:
        """Report that the peer did not answer."""
        source.close()
        self._receiver.request_failed(ticket, unsupported=False)

    def keep(self, addresses: list[str]) -> None:
        """Keep streams to nobody."""

    def probe(self, address: str) -> None:
        """Find nobody there."""

    def close(self) -> Deferred[None]:
        """Close nothing."""
        return succeed(None)
