"""The seams of a Raft server: its storage, its transport, and what that calls."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from consultwist.raft.actions import Write
    from consultwist.raft.configuration import Server
    from consultwist.raft.messages import Entry, InstallSnapshot, Message, Request
    from consultwist.raft.state import Recovered
    from consultwist.raft.storage.snapshot_files import SnapshotMeta


class IRaftStorage(Interface):
    """Where a server keeps term, vote, log and snapshots."""

    is_busy = Attribute("Whether a write is under way.")

    def open() -> "Recovered":
        """Return what the disk holds; called once, before everything else.

        Raises:
            StorageError: where the disk holds what cannot be trusted.
        """

    def start(
        on_durable: Callable[[int], None], on_failed: Callable[[BaseException], None]
    ) -> None:
        """Begin to take writes.

        Args:
            on_durable: called once for each batch of writes with the highest sequence
                number in it, from the reactor.
            on_failed: called once if the disk fails; nothing is written thereafter.
        """

    def write(write: "Write") -> None:
        """Add a write to the batch that is being gathered."""

    def flush() -> None:
        """Let the gathered batch go to the disk as soon as that is free."""

    def read(first: int, last: int, size_max: int) -> "Sequence[Entry]":
        """Return durable entries; fewer, but at least one, if they are too large."""

    def create_snapshot(meta: "SnapshotMeta") -> "ISnapshotSink":
        """Begin to write a snapshot."""

    def open_snapshot(index: int, term: int) -> "ISnapshotSource":
        """Open the newest snapshot that reaches at least so far."""

    def drop_snapshot(meta: "SnapshotMeta") -> None:
        """Remove a snapshot that turned out to be of no use."""

    def close() -> "Deferred[None]":
        """Write what was gathered, then let go of the disk."""


class ISnapshotSink(Interface):
    """A snapshot that is being written; it does not exist before `finish`."""

    def write(data: bytes) -> None:
        """Append a chunk."""

    def chunks() -> "Iterator[bytes]":
        """Yield what was written so far."""

    def finish() -> "Deferred[SnapshotMeta]":
        """Make the snapshot durable; fires with its metadata, size included."""

    def abort() -> None:
        """Throw away what was written."""


class ISnapshotSource(Interface):
    """A snapshot that is being read."""

    meta = Attribute("Its `SnapshotMeta`.")

    def chunks() -> "Iterator[bytes]":
        """Yield its bytes; raises StorageError at the end if they are not sound."""

    def close() -> None:
        """Let go of it."""


class IRaftReceiver(Interface):
    """What a transport tells the server that uses it."""

    def request_received(request: "Request", source: "IReplyTo") -> None:
        """Take a request; it is answered through `source`, now or later."""

    def snapshot_started(request: "InstallSnapshot") -> ISnapshotSink:
        """Give the place for a snapshot's bytes; `request_received` follows them."""

    def snapshot_received(
        request: "InstallSnapshot", sink: ISnapshotSink, source: "IReplyTo"
    ) -> None:
        """Take an InstallSnapshot whose bytes are all in the sink."""

    def response_received(ticket: int, response: "Message") -> None:
        """Take the answer to the request that was sent under a ticket."""

    def request_failed(ticket: int, *, unsupported: bool) -> None:
        """Note that a request was not answered; see `Raft.request_failed`."""

    def stream_lost(address: str) -> None:
        """Note that a peer closed the stream on which it had sent requests."""

    def peer_refused(address: str) -> None:
        """Note that a peer's address refuses streams: no process is there."""


class IReplyTo(Interface):
    """Where the answer to one request goes."""

    def answer(response: "Message | None", error: str = "") -> None:
        """Send the answer; called exactly once."""


class IRaftTransport(Interface):
    """How Raft messages get to peers."""

    def start(receiver: IRaftReceiver) -> None:
        """Begin; requests and outcomes go to the receiver."""

    def send(ticket: int, peer: "Server", request: "Request") -> None:
        """Send a request; its outcome is told to the receiver, exactly once."""

    def send_snapshot(
        ticket: int, peer: "Server", request: "InstallSnapshot", source: Any
    ) -> None:
        """Send a snapshot from an `ISnapshotSource`, which is closed at the end."""

    def keep(addresses: "list[str]") -> None:
        """Let go of streams to all other addresses, as far as nothing is under way."""

    def probe(address: str) -> None:
        """Try whether an address takes streams; if it refuses, tell the receiver."""

    def close() -> "Deferred[None]":
        """Close all streams."""
