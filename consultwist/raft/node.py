"""RaftNode: the core with storage, transport and state machine, as a service.

What the core asks for is done here, in its order: writes go to the storage in
batches, messages to the transport, committed entries to the state machine. The
reactor is never blocked by the disk; long work is cut into pieces.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.driver import CoreDriver
from consultwist.errors import (
    ConsultwistError,
    NotLeader,
    RaftError,
    RaftShutdown,
    StorageError,
)
from consultwist.raft import actions, recovery, stats
from consultwist.raft.configuration import Configuration, Server
from consultwist.raft.core import Raft
from consultwist.raft.interfaces import (
    IRaftReceiver,
    IRaftStorage,
    IRaftTransport,
    IReplyTo,
    ISnapshotSink,
)
from consultwist.raft.messages import (
    Entry,
    InstallSnapshot,
    Message,
    Request,
)
from consultwist.raft.performer import Performer
from consultwist.raft.settings import RaftSettings
from consultwist.raft.snapshot_work import PutInPlace, SnapshotWork
from consultwist.raft.storage.snapshot_files import SnapshotMeta

log = Logger()

#: Verifications of leadership that may wait at once.
_VERIFICATIONS_MAX: Final = 65536


@attrs.frozen(kw_only=True)
class Identity:
    """Who a server is: its id in configurations, and its address."""

    server_id: str
    address: str


class _Driver(CoreDriver[actions.Action]):
    """A driver that lets the gathered writes go when all actions are performed."""

    storage: IRaftStorage

    def flush(self) -> None:
        super().flush()
        if not self._flushing:
            self.storage.flush()


@implementer(IRaftReceiver)
class RaftNode(Service):
    """One Raft server, running.

    Attributes:
        identity: this server's id and address.
    """

    def __init__(  # noqa: PLR0913 - everything that the core must not know
        self,
        reactor: Any,
        clock: Clock,
        rng: Random,
        *,
        identity: Identity,
        settings: RaftSettings,
        storage: IRaftStorage,
        transport: IRaftTransport,
        fsm: Any,
        peers_file: Path | None = None,
    ) -> None:
        """Put a server together; nothing happens before `startService`.

        Args:
            reactor: provides IReactorTime.
            clock: the time.
            rng: randomness for timeouts.
            identity: who this server is.
            settings: times and sizes.
            storage: where the log goes.
            transport: how peers are reached.
            fsm: an `IRaftFSM`.
            peers_file: the recovery file to look for, see `recovery`.
        """
        self.identity = identity
        self._reactor = reactor
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._storage = storage
        self._transport = transport
        self._fsm = fsm
        self._peers_file = peers_file
        self._core: Raft | None = None
        self._dispatching: IDelayedCall | None = None
        self._last_verification = 0
        self._observers: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._failure_observers: list[Callable[[Failure], None]] = []

    # --- life -----------------------------------------------------------------------

    def startService(self) -> None:
        """Recover from the disk, restore the state machine, and begin.

        Raises:
            StorageError: where the disk holds what cannot be trusted.
            ConfigError: where the recovery file is malformed.
        """
        recovered = self._storage.open()
        ordered = recovery.read_peers(self._peers_file) if self._peers_file else None
        if recovered.snapshot.index:
            self._restore_at_start(recovered.snapshot.index, recovered.snapshot.term)
        self._core = core = Raft(
            self.identity.server_id,
            self.identity.address,
            self._settings,
            self._rng,
            recovered,
            self._read,
            self._clock.monotonic(),
        )
        self._snapshot_work = work = SnapshotWork(
            self._reactor, self._clock, self._storage, self._fsm
        )
        self._performer = performer = Performer(
            self, core, self._reactor, self._storage, self._transport, self._fsm, work
        )
        self._proposals = performer.proposals
        self._driver = _Driver(self._reactor, self._clock, core, performer.perform)
        self._driver.storage = self._storage
        self._storage.start(self._on_durable, self._on_storage_failed)
        self._transport.start(self)
        super().startService()
        if ordered is not None:
            log.warn(
                "raft: recovering with the servers of {path}", path=self._peers_file
            )
            core.recover(ordered, self._clock.monotonic())
        self._driver.flush()

    def _restore_at_start(self, index: int, term: int) -> None:
        source = self._storage.open_snapshot(index, term)
        try:
            self._fsm.restore(source.chunks())
        finally:
            source.close()

    def stopService(self) -> "Deferred[None]":
        """Stop; fires when the disk is let go of. What waits is failed."""
        if self._core is None:
            return succeed(None)
        super().stopService()
        self._core = None
        self._driver.stop()
        if self._dispatching is not None and self._dispatching.active():
            self._dispatching.cancel()
        self._dispatching = None
        self._snapshot_work.stop()
        self._performer.stop(RaftShutdown())
        closed: Deferred[None] = self._transport.close()
        return closed.addCallback(lambda _: self._storage.close())

    def _read(self, first: int, last: int, size_max: int) -> Sequence[Entry]:
        try:
            return self._storage.read(first, last, size_max)
        except StorageError:
            self.fail_for_good(Failure())
            raise

    def _on_storage_failed(self, error: BaseException) -> None:
        self.fail_for_good(Failure(error))

    def fail_for_good(self, failure: Failure) -> None:
        """Stop after an error that leaves this server unable to keep its promises."""
        log.failure("raft: stopping, the log cannot be continued", failure)
        self.stopService()
        for observer in self._failure_observers:
            observer(failure)

    # --- what can be asked ----------------------------------------------------------

    @property
    def core(self) -> Raft:
        """The core.

        Raises:
            RaftShutdown: where the service does not run.
        """
        if self._core is None:
            raise RaftShutdown
        return self._core

    @property
    def is_leader(self) -> bool:
        """Tell whether this server leads, as far as it knows."""
        return self._core is not None and self._core.is_leader

    @property
    def leader(self) -> Server | None:
        """The leader, or None where none is known."""
        if self._core is None or not self._core.state.leader:
            return None
        address = self._core.state.leader
        known = self._core.state.configuration.at(address)
        return known or Server(address=address)

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.core.state.configuration

    def lease_valid(self) -> bool:
        """Tell whether this server leads and no other can have been elected."""
        core = self._core
        return core is not None and core.lease_valid(self._clock.monotonic())

    def last_contact_s(self) -> float | None:
        """Return for how long the leader was not heard; 0 on itself."""
        core = self.core
        if core.is_leader:
            return 0.0
        heard = core.last_contact
        return None if heard is None else self._clock.monotonic() - heard

    def last_contact(self) -> str:
        """Return the same as text, ``never`` where it was not heard at all."""
        return stats.last_contact(self.core, self._clock.monotonic())

    def stats(self) -> dict[str, str]:
        """Return what ``consul info`` shows."""
        pending = self._performer.pending
        return stats.stats(self.core, self._clock.monotonic(), pending)

    def observe_leadership(
        self, gained: Callable[[], None], lost: Callable[[], None]
    ) -> None:
        """Have functions called whenever this server begins or ceases to lead."""
        self._observers.append((gained, lost))

    def observe_failure(self, failed: Callable[[Failure], None]) -> None:
        """Have a function called if Raft stops because disk or state machine fail."""
        self._failure_observers.append(failed)

    # --- commands -------------------------------------------------------------------

    def bootstrap(self, servers: Iterable[Server]) -> None:
        """Begin a new cluster of these servers.

        Raises:
            CannotBootstrap: where there is a log already.
        """
        self.core.bootstrap(Configuration.of(servers), self._clock.monotonic())
        self._driver.flush()

    def propose(self, data: bytes, extensions: bytes | None = None) -> "Deferred[Any]":
        """Propose a command; fires with the state machine's answer to it."""
        if not self.is_leader:
            return fail(NotLeader() if self._core else RaftShutdown())
        try:
            done = self._proposals.add(data, extensions)
        except RaftError as error:
            return fail(error)
        if self._dispatching is None and not self._storage.is_busy:
            # At the end of this turn: others propose in it, too.
            self._dispatching = self._reactor.callLater(0, self._dispatch)
        return done

    def _dispatch(self) -> None:
        self._dispatching = None
        if self._proposals.is_held:
            return
        batch = self._proposals.take()
        if not batch:
            return
        commands = [(proposal.data, proposal.extensions) for proposal in batch]
        try:
            first = self.core.propose(commands, self._clock.monotonic())
        except RaftError as error:
            for proposal in batch:
                proposal.done.errback(error)
            return
        self._proposals.wait(batch, first)
        self._driver.flush()

    def barrier(self) -> "Deferred[None]":
        """Fire when everything that was committed before is applied here."""
        return self._append(lambda core, now: core.barrier(now))

    def add_voter(self, server_id: str, address: str) -> "Deferred[None]":
        """Add or promote a voter; fires when that is committed."""
        return self._append(lambda core, now: core.add_voter(server_id, address, now))

    def add_nonvoter(self, server_id: str, address: str) -> "Deferred[None]":
        """Add a server that does not vote; fires when that is committed."""
        return self._append(
            lambda core, now: core.add_nonvoter(server_id, address, now)
        )

    def demote(self, server_id: str) -> "Deferred[None]":
        """Take a server's vote away; fires when that is committed."""
        return self._append(lambda core, now: core.demote(server_id, now))

    def remove(self, server_id: str) -> "Deferred[None]":
        """Remove a server; fires when that is committed."""
        return self._append(lambda core, now: core.remove(server_id, now))

    def _append(self, command: Callable[[Raft, float], int]) -> "Deferred[Any]":
        if self._proposals.is_held:
            return fail(RaftError("raft: a snapshot is being restored"))
        try:
            index = command(self.core, self._clock.monotonic())
        except ConsultwistError as error:
            return fail(error)
        done = self._proposals.wait_for(index)
        self._driver.flush()
        return done

    def verify_leader(self) -> "Deferred[None] | None":
        """Make sure that this server leads still; None means yes, at once.

        Many callers share one round of heartbeats.

        Raises:
            NotLeader: where it does not lead, also as the Deferred's failure.
        """
        if self.core.leads_alone:
            return None
        verifications = self._performer.verifications
        if len(verifications) >= _VERIFICATIONS_MAX:
            raise RaftError("raft: too many reads wait for the leader's verification")
        number = self._last_verification = self._last_verification + 1
        done: Deferred[None] = Deferred()
        verifications[number] = done
        try:
            self.core.verify_leader(number, self._clock.monotonic())
        except ConsultwistError:
            del verifications[number]
            raise
        self._driver.flush()
        return done if number in verifications else None

    def transfer_leadership(self, server_id: str = "") -> "Deferred[None]":
        """Hand over to a voter, by default the best; fires when another one leads."""
        try:
            self.core.transfer_leadership(server_id, self._clock.monotonic())
        except ConsultwistError as error:
            return fail(error)
        done: Deferred[None] = Deferred()
        self._performer.transfer = done
        self._driver.flush()
        return done

    def take_snapshot(self) -> "Deferred[SnapshotMeta]":
        """Take a snapshot now; fires when it is durable."""
        try:
            basis = self.core.begin_snapshot()
        except ConsultwistError as error:
            return fail(error)
        taken = self._snapshot_work.take(basis)
        return taken.addBoth(self._snapshot_taken, basis)

    def _snapshot_taken(self, result: Any, basis: Any) -> Any:
        if self._core is not None:
            self._core.snapshot_taken(None if isinstance(result, Failure) else basis)
            self._driver.flush()
        return result

    def open_snapshot(self, meta: SnapshotMeta) -> Any:
        """Return an `ISnapshotSource` of the newest snapshot, at least that one."""
        return self._storage.open_snapshot(meta.index, meta.term)

    def restore(
        self, chunks: Iterable[bytes], index: int, put_in_place: PutInPlace = None
    ) -> "Deferred[None]":
        """Replace the whole state by a user's snapshot; fires when that is done.

        The followers are sent it as a snapshot. What waits to be committed fails.

        Args:
            chunks: the state stream, which was checked before.
            index: the snapshot's own index; ours will be higher than it.
            put_in_place: what does so where the state was read already.
        """
        barrier = self.barrier()
        # What is proposed from now on comes after it.
        self._proposals.is_held = True
        work = self._snapshot_work
        replaced = work.replace(self, barrier, chunks, index, put_in_place)
        return replaced.addBoth(self._restored)

    def _restored(self, result: Any) -> Any:
        self._proposals.is_held = False
        if self._core is not None:
            self._dispatch()
        return result

    def flush(self) -> None:
        """Perform what the core asks for."""
        self._driver.flush()

    # --- the storage ----------------------------------------------------------------

    def _on_durable(self, sequence: int) -> None:
        if self._core is None:
            return
        if self._proposals.gathered and self._dispatching is None:
            # First keep the disk busy, then answer.
            self._dispatch()
        self._core.persisted(sequence, self._clock.monotonic())
        self._performer.release(sequence)
        self._driver.flush()
        if self._peers_file is not None:
            # Its order is in the log now.
            self._peers_file.unlink(missing_ok=True)
            self._peers_file = None

    def leadership_changed(self, *, gained: bool) -> None:
        """Tell the observers of leadership."""
        for on_gained, on_lost in self._observers:
            _call(on_gained if gained else on_lost)

    # --- the transport --------------------------------------------------------------

    def request_received(self, request: Request, source: IReplyTo) -> None:
        """Take a request; it is answered through `source`, now or later."""
        if self._core is None:
            source.answer(None, str(RaftShutdown()))
            return
        self._core.receive(request, source, self._clock.monotonic())
        self._driver.flush()

    def snapshot_started(self, request: InstallSnapshot) -> ISnapshotSink:
        """Give the place for a snapshot's bytes."""
        return self._snapshot_work.receive(request)

    def snapshot_received(
        self, request: InstallSnapshot, sink: ISnapshotSink, source: IReplyTo
    ) -> None:
        """Take an InstallSnapshot whose bytes are all in the sink."""
        if self._core is None:
            sink.abort()
        else:
            self._snapshot_work.received(source, sink)
        self.request_received(request, source)

    def response_received(self, ticket: int, response: Message) -> None:
        """Take the answer to the request that was sent under a ticket."""
        if self._core is not None:
            self._core.receive_response(ticket, response, self._clock.monotonic())
            self._driver.flush()

    def request_failed(self, ticket: int, *, unsupported: bool) -> None:
        """Note that a request was not answered."""
        if self._core is not None:
            now = self._clock.monotonic()
            self._core.request_failed(ticket, now, unsupported=unsupported)
            self._driver.flush()

    def stream_lost(self, address: str) -> None:
        """Note that a peer closed its stream: if it was the leader, look after it."""
        if self._core is not None and self._core.state.leader == address:
            self._transport.probe(address)

    def peer_refused(self, address: str) -> None:
        """Note that no process listens at a peer's address."""
        if self._core is not None:
            self._core.leader_unreachable(address, self._clock.monotonic())
            self._driver.flush()


def _call(observer: Callable[[], None]) -> None:
    try:
        observer()
    except Exception:
        log.failure("raft: an observer of leadership failed")
