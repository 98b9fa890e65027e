"""The exception tree, and how errors cross the wire.

::

    ConsultwistError
     +-- BadRequest                    400
     +-- PermissionDenied              403
     +-- ACLNotFound                   403
     +-- NotFound                      404
     +-- MethodNotAllowed              405, with an Allow header
     +-- PayloadTooLarge               413
     +-- RPCRateExceeded               429
     +-- NoLeader                      500
     +-- NoServers                     500
     +-- NoPathToDatacenter            500
     +-- DatacenterUnavailable         500
     +-- NotReadyForConsistentReads    500
     +-- RaftError                     500
     |    +-- NotLeader
     |    +-- LeadershipLost
     |    +-- LeadershipTransferInProgress
     |    +-- RaftShutdown
     |    +-- RaftBusy
     |    +-- CannotBootstrap
     |    +-- NothingToSnapshot
     +-- RPCError                      500, a text that came from another agent
     |    +-- ServerUnreachable
     |    +-- CallInterrupted
     +-- ConfigError                   a mistake in the agent's configuration
     +-- WireError                     bytes that do not decode: the peer's fault
     +-- StorageError                  the disk holds what cannot be trusted

Consul's RPC carries errors as text, so every class that has a meaning to callers
knows its text, and `from_wire` finds the class again by substring, as Consul does.
"""

from typing import ClassVar


class ConsultwistError(Exception):
    """Any error that consultwist raises on purpose; its text is for the client."""

    text: ClassVar[str] = ""
    status: ClassVar[int] = 500

    def __str__(self) -> str:
        """Give the message, or the text that the class stands for."""
        return str(self.args[0]) if self.args else self.text


class BadRequest(ConsultwistError):
    """The client sent something that cannot be understood."""

    status = 400


class PermissionDenied(ConsultwistError):
    """The token does not allow this."""

    text = "Permission denied"
    status = 403


class ACLNotFound(ConsultwistError):
    """The token is not known."""

    text = "ACL not found"
    status = 403


class NotFound(ConsultwistError):
    """The named object does not exist."""

    status = 404


class MethodNotAllowed(ConsultwistError):
    """The path exists, but not for this HTTP method."""

    status = 405

    def __init__(self, message: str, allow: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allow = allow


class PayloadTooLarge(ConsultwistError):
    """The request body is larger than the limit."""

    status = 413


class RPCRateExceeded(ConsultwistError):
    """This agent sends more requests than it is allowed to."""

    text = "RPC rate limit exceeded"
    status = 429


class NoLeader(ConsultwistError):
    """No server leads the datacenter at present."""

    text = "No cluster leader"


class NoServers(ConsultwistError):
    """A client agent knows no server."""

    text = "No known Consul servers"


class NoPathToDatacenter(ConsultwistError):
    """The datacenter is not known."""

    text = "No path to datacenter"


class DatacenterUnavailable(ConsultwistError):
    """The datacenter is known, but none of its servers answers."""

    text = "Remote DC has no server currently reachable"


class NotReadyForConsistentReads(ConsultwistError):
    """A new leader has not caught up with its own log yet."""

    text = "Not ready to serve consistent reads"


class RaftError(ConsultwistError):
    """Raft cannot do what it was asked; the texts are those of Consul's library."""


class NotLeader(RaftError):
    """Only the leader can do this."""

    text = "node is not the leader"


class LeadershipLost(RaftError):
    """Leadership ended before an entry was committed; it may still be."""

    text = "leadership lost while committing log"


class LeadershipTransferInProgress(RaftError):
    """The leader is handing over and takes no entries."""

    text = "leadership transfer in progress"


class RaftShutdown(RaftError):
    """This server's Raft is stopped."""

    text = "raft is already shutdown"


class RaftBusy(RaftError):
    """More entries wait to be committed than may."""

    text = "timed out enqueuing operation"


class CannotBootstrap(RaftError):
    """There is a log already, or a configuration without this server."""

    text = "bootstrap only works on new clusters"


class NothingToSnapshot(RaftError):
    """No entry was applied since the last snapshot."""

    text = "nothing new to snapshot"


class RPCError(ConsultwistError):
    """An error text from another agent that no class of ours stands for."""


class ServerUnreachable(RPCError):
    """No connection to a server could be made; nothing was asked of it."""


class CallInterrupted(RPCError):
    """A server ended the stream before it answered; it may have done what was asked."""


class ConfigError(ConsultwistError):
    """The agent's configuration has a mistake; the text says where."""


class WireError(ConsultwistError):
    """Bytes from outside that do not decode; the sender is at fault."""


class StorageError(ConsultwistError):
    """A file in the data directory cannot be trusted."""


_KNOWN_TEXTS: tuple[type[ConsultwistError], ...] = (
    PermissionDenied,
    ACLNotFound,
    RPCRateExceeded,
    NoLeader,
    NoServers,
    NoPathToDatacenter,
    DatacenterUnavailable,
    NotReadyForConsistentReads,
)


def from_wire(message: str) -> ConsultwistError:
    """Return the exception that a remote error text stands for.

    The whole text is kept: forwarding prefixes such as ``rpc error making call:``
    are what Consul's clients expect to see.
    """
    for kind in _KNOWN_TEXTS:
        if kind.text in message:
            return kind(message)
    return RPCError(message)
