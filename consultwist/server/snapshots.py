"""Snapshots: users save the state of a datacenter, and put a saved one in its place.

Saving takes a Raft snapshot and hands out its bytes as an archive. Restoring checks the
whole archive and reads all of its state before anything is changed; then Raft puts it
in the place of log and state, and the leader begins anew. All of it is done in small
pieces, so that the server goes on answering.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from consultwist.acl.authorizer import Authorizer
from consultwist.clock import Clock
from consultwist.errors import (
    BadRequest,
    NothingToSnapshot,
    PermissionDenied,
    RaftError,
)
from consultwist.raft.storage.snapshot_files import SnapshotMeta
from consultwist.rpc.snapshot_transfer import SavedSnapshot
from consultwist.server import archive
from consultwist.server.archive import ArchiveReader
from consultwist.state.fsm import LoadedState
from consultwist.structs.snapshot import SnapshotRequest, SnapshotResponse
from consultwist.wire.spool import open_spool, pieces_of

if TYPE_CHECKING:
    from consultwist.server.server import Server

log = Logger()

#: After so long the reactor has its turn.
SLICE_S: Final = 0.005

#: Another snapshot that is being taken is waited for: so long, looked at so often.
_TAKE_TIMEOUT_S: Final = 60.0
_TAKE_RETRY_S: Final = 0.1

#: How long the leader may take to begin anew after a restore (Consul: 1 minute).
_READY_TIMEOUT_S: Final = 60.0


class Pace:
    """Spreads work over turns of the reactor."""

    def __init__(self, reactor: Any, clock: Clock) -> None:
        self._reactor = reactor
        self._clock = clock

    async def through(self, steps: Iterable[Any]) -> None:
        """Take all steps, with a turn for others whenever a slice of time is used."""
        end = self._clock.monotonic() + SLICE_S
        for _ in steps:
            if self._clock.monotonic() >= end:
                await self.pause()
                end = self._clock.monotonic() + SLICE_S

    async def pause(self, seconds: float = 0.0) -> None:
        """Let others have their turn."""
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self._reactor.callLater(seconds, waiting.callback, None)
        await waiting


class Snapshots:
    """Saves and restores the state of one server's datacenter."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._pace = Pace(server.reactor, server.clock)
        self._is_restoring = False

    # --- saving --------------------------------------------------------------------

    async def save(
        self, request: SnapshotRequest, authorizer: Authorizer
    ) -> SavedSnapshot:
        """Take a snapshot of this server's state; others were asked before if due."""
        _authorize(authorizer)
        server = self._server
        if not request.allow_stale:
            verified = server.ensure_consistent()
            if isinstance(verified, Deferred):
                await verified
        known_leader, last_contact = server.read_meta()
        meta = await self._take()
        source = server.raft.open_snapshot(meta)
        response = SnapshotResponse(
            index=source.meta.index,
            known_leader=known_leader,
            last_contact=last_contact,
        )
        wall = server.clock.wall()
        pieces = archive.pack(source.meta, source.chunks(), wall)
        return SavedSnapshot(response, pieces, source.close)

    async def _take(self) -> SnapshotMeta:
        """Take a Raft snapshot, or return one that shows all there is."""
        clock = self._server.clock
        deadline = clock.monotonic() + _TAKE_TIMEOUT_S
        while True:
            try:
                taken: SnapshotMeta = await self._server.raft.take_snapshot()
            except NothingToSnapshot:
                # The newest one has everything that was applied.
                return SnapshotMeta()
            except RaftError:
                # Another is being taken, or the configuration changes.
                if clock.monotonic() >= deadline:
                    raise
                await self._pace.pause(_TAKE_RETRY_S)
            else:
                return taken

    # --- restoring -----------------------------------------------------------------

    async def restore(
        self, request: SnapshotRequest, archive_file: BinaryIO, authorizer: Authorizer
    ) -> SnapshotResponse:
        """Put the state of an archive in the place of this datacenter's.

        Raises:
            BadArchive: where it is not sound; nothing was changed then.
            WireError: where its state is not.
        """
        _authorize(authorizer)
        if request.allow_stale:
            raise BadRequest("stale not allowed for restore")
        if self._is_restoring:
            raise RaftError("a snapshot is being restored")
        self._is_restoring = True
        state_file = open_spool(self._server.config.data_dir)
        try:
            meta = await self._unpack(archive_file, state_file)
            loaded = LoadedState(self._server.fsm)
            await self._pace.through(loaded.read(pieces_of(state_file)))
            log.info("restoring a snapshot of index {index}", index=meta.index)
            chunks = pieces_of(state_file)
            await self._server.raft.restore(chunks, meta.index, loaded.put_in_place)
        finally:
            state_file.close()
            self._is_restoring = False
        await self._server.begin_anew(_READY_TIMEOUT_S)
        await self._pace.through(loaded.dismantle())
        known_leader, last_contact = self._server.read_meta()
        return SnapshotResponse(known_leader=known_leader, last_contact=last_contact)

    async def _unpack(self, packed: BinaryIO, state_file: BinaryIO) -> SnapshotMeta:
        reader = ArchiveReader(state_file)
        steps = (step for piece in pieces_of(packed) for step in reader.feed(piece))
        await self._pace.through(steps)
        return reader.finish()


def _authorize(authorizer: Authorizer) -> None:
    """Ask for what only management tokens allow: an archive holds every secret.

    Raises:
        PermissionDenied: where the token is none.
    """
    if not authorizer.allows("acl", "write", ""):
        raise PermissionDenied
