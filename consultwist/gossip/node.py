"""GossipNode: one pool, LAN or WAN or a segment, as a service.

The one place where a Serf meets sockets, files and time. Whoever wants to hear about
members, user events and queries subscribes.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from consultwist.clock import Clock
from consultwist.driver import CoreDriver
from consultwist.errors import (
    BadRequest,
    ConfigError,
    ConsultwistError,
    StorageError,
)
from consultwist.gossip.address import Address, format_address, ip_bytes
from consultwist.gossip.asked import Asked, JoinFailed
from consultwist.gossip.config import PoolConfig
from consultwist.gossip.keyring_file import load_keys, save_keys
from consultwist.gossip.links import Links, StreamEvents
from consultwist.gossip.memberlist import actions as ml
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.stream import StreamMessage
from consultwist.gossip.resolve import resolve
from consultwist.gossip.serf import actions as sa
from consultwist.gossip.serf import keys
from consultwist.gossip.serf.coordinate import Coordinate
from consultwist.gossip.serf.core import Serf
from consultwist.gossip.serf.keys import KeySurvey
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.gossip.serf.queries import QueryOptions
from consultwist.gossip.serf.query import OpenQuery, QueryResult, ReceivedQuery
from consultwist.gossip.serf.snapshot import SnapshotFile

log = Logger()

PoolEvent = sa.MemberEvent | sa.UserEventReceived | sa.QueryReceived
Subscriber = Callable[[PoolEvent], None]

#: Addresses given to one join.
JOIN_ADDRESSES_MAX = 1024

_LEVELS = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "warn": LogLevel.warn,
    "error": LogLevel.error,
}


class GossipNode(Service):
    """One member of one pool.

    Args:
        reactor: provides UDP, TCP, time, name resolution and threads.
        clock: tells the time.
        rng: the source of randomness for everything but nonces.
        config: the settings of the pool.
        nonce: the source of random bytes for encryption.
    """

    def __init__(
        self,
        reactor: Any,
        clock: Clock,
        rng: random.Random,
        config: PoolConfig,
        nonce: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.config = config
        self._reactor = reactor
        self._clock = clock
        self._rng = rng
        self._nonce = nonce
        self._links = Links(reactor, self._packet_received, self._count)
        self._serf: Serf | None = None
        self._driver: CoreDriver[sa.SerfAction] | None = None
        self._snapshot: SnapshotFile | None = None
        self._subscribers: list[Subscriber] = []
        self._exchanges: dict[int, Deferred[None]] = {}
        self._queries: dict[OpenQuery, Asked] = {}
        self._leaving: list[Deferred[None]] = []
        self._performers: dict[type, Callable[[Any], None]] = {
            ml.SendPacket: lambda a: self._links.send(a.data, a.address),
            ml.OpenStream: self._links.dial,
            ml.AnswerStream: lambda a: self._links.answer(a.stream, a.data),
            ml.CloseStream: lambda a: self._links.close(a.stream),
            ml.ExchangeEnded: self._exchange_ended,
            ml.Note: self._note,
            sa.MemberEvent: self._publish,
            sa.UserEventReceived: self._publish,
            sa.QueryReceived: self._publish,
            sa.QueryAnswered: self._query_answered,
            sa.QueryFinished: self._query_finished,
            sa.Remember: self._remember,
            sa.KeysChanged: self._keys_changed,
            sa.LeaveEnded: self._leave_ended,
        }

    # --- the service ------------------------------------------------------------

    def startService(self) -> None:
        """Listen, and become a member of a pool of one.

        Raises:
            ConfigError: where the addresses cannot be used.
            StorageError: where the keyring or the snapshot cannot be used.
        """
        config = self.config
        configured = config.keys
        if config.keyring_path:
            configured = load_keys(config.keyring_path, configured)
        keyring = Keyring(configured, self._nonce)
        remembered = None
        if config.snapshot_path:
            self._snapshot = SnapshotFile(
                config.snapshot_path, rejoin_after_leave=config.rejoin_after_leave
            )
            remembered = self._snapshot.remembered
        port = self._links.listen(config.bind_host, config.bind_port)
        address = self._advertised(port)
        known = dict(remembered.alive) if remembered else {}
        serf = Serf(config, address, keyring, self._rng, remembered)
        self._serf = serf
        self._driver = CoreDriver(self._reactor, self._clock, serf, self._perform)
        self._links.serve(
            serf.memberlist.codec,
            config.timings.stream_timeout_s,
            StreamEvents(
                request_arrived=self._request_arrived,
                request_refused=self._request_refused,
                answer_arrived=self._answer_arrived,
                stream_failed=self._stream_failed,
            ),
        )
        super().startService()
        serf.start(self._now())
        self._driver.flush()
        self._rejoin({n: a for n, a in known.items() if n != config.name})

    def _advertised(self, port: int) -> Address:
        host = self.config.advertise_host or self.config.bind_host
        if not any(ip_bytes(host)):
            raise ConfigError(
                f"gossip pool {self.config.name}: an advertise address is needed"
                f" where the bind address is {host}"
            )
        return host, self.config.advertise_port or port

    def stopService(self) -> Deferred[Any]:
        """Close the sockets and the snapshot; say nothing to the pool."""
        super().stopService()
        if self._driver is not None:
            self._driver.stop()
        for waiting in list(self._exchanges.values()):
            waiting.errback(BadRequest("the pool was stopped"))
        self._exchanges.clear()
        for asked in list(self._queries.values()):
            asked.finish(self._queries)
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None
        return self._links.stop()

    @property
    def serf(self) -> Serf:
        """The core; only while the service runs."""
        if self._serf is None:
            raise BadRequest("the pool is not started")
        return self._serf

    def _now(self) -> float:
        return self._clock.monotonic()

    def _flush(self) -> None:
        assert self._driver is not None
        self._driver.flush()

    # --- events in --------------------------------------------------------------

    def _packet_received(self, data: bytes, source: Address) -> None:
        self.serf.receive_packet(data, source, self._now())
        self._flush()

    def _request_arrived(
        self, stream: Hashable, request: StreamMessage, source: Address
    ) -> None:
        self.serf.receive_request(stream, request, source, self._now())
        self._flush()

    def _request_refused(self, stream: Hashable, problem: str) -> None:
        self.serf.refuse_request(stream, problem, self._now())
        self._flush()

    def _answer_arrived(self, stream: int, answer: StreamMessage) -> None:
        self.serf.stream_answered(stream, answer, self._now())
        self._flush()

    def _stream_failed(self, stream: int, problem: str) -> None:
        self.serf.stream_failed(stream, problem, self._now())
        self._flush()

    # --- actions out ------------------------------------------------------------

    def _perform(self, action: sa.SerfAction) -> None:
        self._performers[type(action)](action)

    def _count(self, reason: str) -> None:
        self.counters[reason] += 1

    def _note(self, action: ml.Note) -> None:
        log.emit(_LEVELS[action.level], action.text, **action.fields)

    def _publish(self, event: PoolEvent) -> None:
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                log.failure("a subscriber of the pool failed")

    def _remember(self, action: sa.Remember) -> None:
        if self._snapshot is None:
            return
        try:
            self._snapshot.append([action.line])
        except StorageError as error:
            log.error("{error}", error=error)

    def _keys_changed(self, _action: sa.KeysChanged) -> None:
        if not self.config.keyring_path:
            return
        try:
            save_keys(self.config.keyring_path, self.serf.memberlist.codec.keys.keys)
        except StorageError as error:
            log.error("{error}", error=error)

    # --- joining and leaving ----------------------------------------------------

    def join(
        self, addresses: Sequence[str], *, ignore_old: bool = True
    ) -> Deferred[int]:
        """Join the pool at any of some addresses.

        Args:
            addresses: ``host``, ``host:port`` or ``[ip6]:port``; ``name/`` before.
            ignore_old: whether to drop the user events of before.

        Returns:
            The number of addresses that were joined.

        Raises:
            JoinFailed: where it is none.
        """
        if len(addresses) > JOIN_ADDRESSES_MAX:
            return fail(BadRequest("too many addresses to join"))
        return Deferred.fromCoroutine(self._join(addresses, ignore_old=ignore_old))

    async def _join(self, addresses: Sequence[str], *, ignore_old: bool) -> int:
        problems: list[str] = []
        targets: dict[Address, str] = {}
        default_port = self.serf.memberlist.table.me.port
        for text in addresses:
            try:
                found = await resolve(self._reactor, text, default_port)
                targets.update(dict.fromkeys(found, text))
            except ConsultwistError as error:
                problems.append(f"Failed to resolve {text}: {error}")
        waiting = [self._exchange(a, ignore_old=ignore_old) for a in targets]
        joined = 0
        for address, done in zip(targets, waiting, strict=True):
            try:
                await done
                joined += 1
            except ConsultwistError as error:
                host = format_address(address).rpartition(":")[0]
                problems.append(f"Failed to join {host}: {error}")
        if joined:
            self.serf.announce_join(self._now())
            self._flush()
            return joined
        if problems:
            raise JoinFailed(problems)
        return 0

    def _exchange(self, address: Address, *, ignore_old: bool) -> Deferred[None]:
        stream = self.serf.exchange(address, self._now(), ignore_old=ignore_old)
        done: Deferred[None] = Deferred()
        self._exchanges[stream] = done
        self._flush()
        return done

    def _exchange_ended(self, action: ml.ExchangeEnded) -> None:
        waiting = self._exchanges.pop(action.stream, None)
        if waiting is None:
            if action.error is not None:
                log.debug("push/pull failed: {error}", error=action.error)
        elif action.error is None:
            waiting.callback(None)
        else:
            waiting.errback(BadRequest(action.error))

    def _rejoin(self, known: dict[str, Address]) -> None:
        if known:
            done = Deferred.fromCoroutine(self._rejoin_any(known))
            done.addErrback(lambda f: log.failure("rejoining failed", f))

    async def _rejoin_any(self, known: dict[str, Address]) -> None:
        """Try the members of the last run, in random order, until one answers."""
        names = list(known)
        self._rng.shuffle(names)
        for name in names:
            if not self.running:
                return
            try:
                await self._exchange(known[name], ignore_old=False)
            except ConsultwistError:
                continue
            log.info("re-joined to previously known member: {name}", name=name)
            return
        log.warn("failed to re-join any previously known member")

    def leave(self) -> Deferred[None]:
        """Leave on purpose; fires when the pool knows. The sockets stay open."""
        serf = self.serf
        if serf.status == MemberStatus.LEFT:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._leaving.append(done)
        if serf.status == MemberStatus.ALIVE:
            serf.leave(self._now())
            self._flush()
        return done

    def _leave_ended(self, _action: sa.LeaveEnded) -> None:
        waiting, self._leaving = self._leaving, []
        for done in waiting:
            done.callback(None)

    def force_leave(self, name: str, *, prune: bool = False) -> None:
        """Have a failed member taken as left, and forgotten if `prune`."""
        self.serf.force_leave(name, self._now(), prune=prune)
        self._flush()

    # --- what is known ----------------------------------------------------------

    def members(self) -> list[PoolMember]:
        """Return every member."""
        return list(self.serf.members)

    def member(self, name: str) -> PoolMember | None:
        """Return one member, or None."""
        return self.serf.members.get(name)

    @property
    def me(self) -> PoolMember:
        """Ourselves."""
        mine = self.serf.members.get(self.config.name)
        assert mine is not None
        return mine

    @property
    def coordinate(self) -> Coordinate:
        """Where we are in the network."""
        return self.serf.coordinate

    def position(self, name: str) -> Coordinate | None:
        """Return where a member is in the network, None where that is not known."""
        return self.coordinate if name == self.config.name else self.serf.position(name)

    @property
    def counters(self) -> Counter[str]:
        """What was dropped since the start, by reason."""
        return self.serf.memberlist.counters

    def stats(self) -> dict[str, str]:
        """Return the figures that `/v1/agent/self` shows."""
        return self.serf.stats()

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call back for every member event, user event and query.

        Returns:
            A function that ends it.
        """
        self._subscribers.append(callback)

        def end() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return end

    # --- telling and asking -----------------------------------------------------

    def update_tags(self, tags: dict[str, str]) -> None:
        """Tell the pool other tags.

        Raises:
            BadRequest: where they are too long.
        """
        self.serf.update_tags(tags, self._now())
        self._flush()

    def user_event(self, name: str, payload: bytes, *, coalesce: bool = False) -> None:
        """Tell all members something.

        Raises:
            BadRequest: where it is too long.
        """
        self.serf.user_event(name, payload, self._now(), coalesce=coalesce)
        self._flush()

    def query(
        self,
        name: str,
        payload: bytes = b"",
        options: QueryOptions | None = None,
        on_answer: Callable[[str, bytes | None], None] | None = None,
    ) -> Deferred[QueryResult]:
        """Ask all members something.

        Args:
            name: what is asked.
            payload: its argument.
            options: filters, acks, relays, the time to wait.
            on_answer: takes every answer as it comes: who, and what; None is an ack.

        Returns:
            Everything that came, at the end of the time.
        """
        return self._ask(name, payload, options or QueryOptions(), on_answer, 0)

    def _ask(
        self,
        name: str,
        payload: bytes,
        options: QueryOptions,
        on_answer: Callable[[str, bytes | None], None] | None,
        enough: int,
    ) -> Deferred[QueryResult]:
        try:
            opened = self.serf.query(name, payload, options, self._now())
        except ConsultwistError:
            return fail(Failure())
        asked = Asked(opened, on_answer, enough, self.serf.close_query)
        self._queries[opened] = asked
        self._flush()
        return asked.done

    def _query_answered(self, action: sa.QueryAnswered) -> None:
        asked = self._queries.get(action.query)
        if asked is not None:
            asked.answered(action.source, action.payload, self._queries)

    def _query_finished(self, action: sa.QueryFinished) -> None:
        asked = self._queries.get(action.query)
        if asked is not None:
            asked.finish(self._queries)

    def respond(self, query: ReceivedQuery, payload: bytes) -> None:
        """Answer a query once.

        Raises:
            BadRequest: where that is not possible any more, or the answer is too long.
        """
        self.serf.respond(query, payload, self._now())
        self._flush()

    def keyring(
        self, operation: str, key: bytes = b"", relay_factor: int = 0
    ) -> Deferred[KeySurvey]:
        """Change or list the keys of all members.

        Args:
            operation: install, use, remove or list.
            key: the key it is about.
            relay_factor: through how many others each answer comes a second time.
        """
        if operation not in keys.OPERATIONS:
            return fail(BadRequest(f"unknown keyring operation {operation}"))
        alive = self.serf.members.count_alive()
        options = QueryOptions(relay_factor=relay_factor)
        name, payload = keys.OPERATIONS[operation], keys.encode_request(key)
        done = self._ask(name, payload, options, None, alive)
        return done.addCallback(lambda r: keys.survey(r.responses, alive))
