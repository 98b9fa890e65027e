"""The work of a node on snapshots: taking, sending, receiving, restoring.

A snapshot is written piece by piece, with turns of the reactor between the pieces, and
made durable in a thread.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from consultwist.clock import Clock
from consultwist.errors import NotLeader, RaftError, StorageError
from consultwist.raft.actions import SendSnapshot
from consultwist.raft.configuration import Configuration
from consultwist.raft.interfaces import (
    IRaftReceiver,
    IRaftStorage,
    IRaftTransport,
    IReplyTo,
    ISnapshotSink,
)
from consultwist.raft.messages import InstallSnapshot
from consultwist.raft.snapshots import SnapshotBasis
from consultwist.raft.storage.snapshot_files import SnapshotMeta

if TYPE_CHECKING:
    from consultwist.raft.node import RaftNode

#: After so long the reactor has its turn: a quarter of the longest one allowed.
_SLICE_S: Final = 0.005

#: Gives a state machine a state that was read before; None where it is to be read
#: back from the disk, in one turn of the reactor.
PutInPlace = Callable[[], None] | None

log = Logger()


class SnapshotWork:
    """What is under way with snapshots on one node."""

    def __init__(
        self,
        reactor: IReactorTime,
        clock: Clock,
        storage: IRaftStorage,
        fsm: Any,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._storage = storage
        self._fsm = fsm
        self._received: dict[IReplyTo, ISnapshotSink] = {}
        self._running: list[Deferred[Any]] = []

    def stop(self) -> None:
        """Stop all work; what is not durable is thrown away."""
        for work in list(self._running):
            work.cancel()
        for sink in self._received.values():
            sink.abort()
        self._received.clear()

    def _run(self, work: "Deferred[Any]") -> "Deferred[Any]":
        self._running.append(work)

        def ended(result: Any) -> Any:
            self._running.remove(work)
            return result

        return work.addBoth(ended)

    # --- taking ---------------------------------------------------------------------

    def take(self, basis: SnapshotBasis) -> "Deferred[SnapshotMeta]":
        """Write a snapshot of the present state."""
        chunks = self._fsm.snapshot()
        return self._run(Deferred.fromCoroutine(self._write(self._meta(basis), chunks)))

    def _meta(self, basis: SnapshotBasis) -> SnapshotMeta:
        return SnapshotMeta.of(
            basis.index,
            basis.term,
            basis.configuration,
            basis.configuration_index,
            self._clock.wall(),
        )

    async def _write(self, meta: SnapshotMeta, chunks: Iterable[bytes]) -> SnapshotMeta:
        sink = self._storage.create_snapshot(meta)
        try:
            await self._copy(chunks, sink)
        except BaseException:
            sink.abort()
            raise
        written: SnapshotMeta = await sink.finish()
        return written

    async def _copy(self, chunks: Iterable[bytes], sink: ISnapshotSink) -> None:
        end = self._clock.monotonic() + _SLICE_S
        for chunk in chunks:
            sink.write(chunk)
            if self._clock.monotonic() >= end:
                pause: Deferred[None] = Deferred()
                self._reactor.callLater(0, pause.callback, None)
                await pause
                end = self._clock.monotonic() + _SLICE_S

    # --- sending --------------------------------------------------------------------

    def send(
        self,
        transport: IRaftTransport,
        receiver: IRaftReceiver,
        action: SendSnapshot,
    ) -> None:
        """Complete a request from the snapshot's metadata and send it."""
        request = action.request
        try:
            source = self._storage.open_snapshot(
                request.last_log_index, request.last_log_term
            )
        except StorageError as error:
            log.error("raft: no snapshot can be sent: {error}", error=error)
            ticket = action.ticket
            self._reactor.callLater(
                0, lambda: receiver.request_failed(ticket, unsupported=False)
            )
            return
        meta: SnapshotMeta = source.meta
        complete = msgspec.structs.replace(
            request,
            last_log_index=meta.index,
            last_log_term=meta.term,
            configuration=meta.configuration.pack(),
            configuration_index=meta.configuration_index,
            peers=meta.configuration.pack_peers(),
            size=meta.size,
        )
        transport.send_snapshot(action.ticket, action.peer, complete, source)

    # --- receiving ------------------------------------------------------------------

    def receive(self, request: InstallSnapshot) -> ISnapshotSink:
        """Give the place for a snapshot that a leader sends."""
        basis = SnapshotBasis(
            request.last_log_index,
            request.last_log_term,
            Configuration.unpack(request.configuration or b"\xc0"),
            request.configuration_index,
        )
        return self._storage.create_snapshot(self._meta(basis))

    def received(self, source: IReplyTo, sink: ISnapshotSink) -> None:
        """Keep a received snapshot until it is wanted, or answered without."""
        self._received[source] = sink

    def discard(self, source: Any) -> None:
        """Throw a received snapshot away, if there is one with that source."""
        if self._received:
            sink = self._received.pop(source, None)
            if sink is not None:
                sink.abort()

    def install(self, source: IReplyTo) -> "Deferred[bool]":
        """Put a received snapshot in place; fires with whether that succeeded."""
        sink = self._received.pop(source)
        return self._run(Deferred.fromCoroutine(self._install(sink)))

    async def _install(self, sink: ISnapshotSink) -> bool:
        try:
            self._fsm.restore(sink.chunks())
        except Exception:
            log.failure("raft: the leader's snapshot cannot be restored")
            sink.abort()
            return False
        await sink.finish()
        return True

    # --- a user's snapshot ----------------------------------------------------------

    def replace(
        self,
        node: "RaftNode",
        barrier: "Deferred[None]",
        chunks: Iterable[bytes],
        index: int,
        put_in_place: PutInPlace,
    ) -> "Deferred[None]":
        """Replace the whole state by a user's snapshot."""
        return self._run(
            Deferred.fromCoroutine(
                self._replace(node, barrier, chunks, index, put_in_place)
            )
        )

    async def _replace(
        self,
        node: "RaftNode",
        barrier: "Deferred[None]",
        chunks: Iterable[bytes],
        index: int,
        put_in_place: PutInPlace,
    ) -> None:
        await barrier
        state = node.core.state
        if state.configurations.committed_index != state.configurations.latest_index:
            raise RaftError("cannot restore snapshot now, a configuration is changing")
        basis = SnapshotBasis(
            max(index, state.log.last_index) + 1,
            state.term,
            state.configuration,
            state.configurations.latest_index,
        )
        meta = await self._write(self._meta(basis), chunks)
        self._put_in_place(node, basis, meta, put_in_place)

    def _put_in_place(
        self,
        node: "RaftNode",
        basis: SnapshotBasis,
        meta: SnapshotMeta,
        put_in_place: PutInPlace,
    ) -> None:
        try:
            core = node.core
            if not core.is_leader or core.state.term != basis.term:
                raise NotLeader
            if put_in_place is None:
                self._read_back(meta)
            else:
                put_in_place()
        except (Exception, CancelledError):
            self._storage.drop_snapshot(meta)
            raise
        core.restored(basis, self._clock.monotonic())
        node.flush()

    def _read_back(self, meta: SnapshotMeta) -> None:
        source = self._storage.open_snapshot(meta.index, meta.term)
        try:
            self._fsm.restore(source.chunks())
        finally:
            source.close()
