"""Blocking queries and consistency modes: how reads are answered.

A read with a minimum index waits until its answer has a higher one, or until its time
is over; then it gets the answer as it is. Parked readers cost one waiter on the topics
of their answer and one timer.
"""

import random
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from consultwist import durations
from consultwist.state.store import Answer, Query, Store
from consultwist.state.watch import Waiter
from consultwist.structs.query import QueryOptions
from consultwist.wire.struct import field_specs

T = TypeVar("T")

#: A value, or a Deferred where it is not known yet.
Parkable: TypeAlias = T | Deferred[T]

#: Up to this part of the wait is added at random, so that readers do not return all
#: at once (Consul: 1/16).
JITTER_FRACTION: Final = 16

#: Readers that are answered in one turn of the reactor: some 10 ms.
WOKEN_AT_ONCE_MAX: Final = 512


class Leadership(Protocol):
    """What answering a read needs to know of Raft."""

    def read_meta(self) -> tuple[bool, int]:
        """Return whether a leader is known, and nanoseconds since it was heard."""

    def ensure_consistent(self) -> Parkable[None]:
        """Make sure that this server leads and has applied all it must."""


class BlockingQueries:
    """Answers reads from one store.

    A read that does not say how long it may block gets `wait_default_s`; none blocks
    longer than `wait_max_s`, some jitter apart.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        rng: random.Random,
        store: Store,
        leadership: Leadership,
        *,
        wait_default_s: float,
        wait_max_s: float,
    ) -> None:
        self._reactor = reactor
        self._rng = rng
        self._store = store
        self._leadership = leadership
        self._wait_default_s = wait_default_s
        self._wait_max_s = wait_max_s
        self._awakening = _Awakening(reactor)

    def run(
        self,
        options: QueryOptions,
        query: Query[Any],
        reply: Callable[..., Any],
        *,
        kept: bool,
    ) -> Parkable[Any]:
        """Answer a read; see `Call.blocking_query`."""
        key = (_function_of(query), *_question(options)) if kept else None
        if options.require_consistent:
            ensured = self._leadership.ensure_consistent()
            if isinstance(ensured, Deferred):
                return ensured.addCallback(
                    lambda _: self._read(options, query, reply, key)
                )
        return self._read(options, query, reply, key)

    def _read(
        self,
        options: QueryOptions,
        query: Query[Any],
        reply: Callable[..., Any],
        key: Hashable,
    ) -> Parkable[Any]:
        answer = self._store.answer(query, key)
        if (
            not options.min_query_index
            or max(answer.index, 1) > options.min_query_index
        ):
            return self._finish(answer, reply)
        return self._park(options, answer, query, reply, key)

    def _finish(self, answer: Answer[Any], reply: Callable[..., Any]) -> Any:
        known, last_contact = self._leadership.read_meta()
        return reply(
            answer.payload,
            index=answer.index or 1,
            known_leader=known,
            last_contact=last_contact,
        )

    def _park(
        self,
        options: QueryOptions,
        answer: Answer[Any],
        query: Query[Any],
        reply: Callable[..., Any],
        key: Hashable,
    ) -> Deferred[Any]:
        parked = _Parked(
            self._store,
            self._awakening,
            options.min_query_index,
            query,
            key,
            lambda found: self._finish(found, reply),
        )
        parked.start(self._reactor, self._wait_s(options), answer)
        return parked.done

    def _wait_s(self, options: QueryOptions) -> float:
        wait_s = options.max_query_time / durations.SECOND
        wait_s = min(wait_s, self._wait_max_s) if wait_s > 0 else self._wait_default_s
        return wait_s + self._rng.random() * wait_s / JITTER_FRACTION


class _Awakening:
    """Answers woken readers: at once, but no more than so many in one turn.

    One write may wake thousands; everybody else must not wait for all of them.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._due: deque[Callable[[], None]] = deque()
        self._left = WOKEN_AT_ONCE_MAX

    def add(self, answer: Callable[[], None]) -> None:
        """Have a reader answered, now or in one of the next turns."""
        if self._left:
            self._left -= 1
            answer()
            return
        if not self._due:
            self._reactor.callLater(0, self._go_on)
        self._due.append(answer)

    def _go_on(self) -> None:
        due = self._due
        self._left = WOKEN_AT_ONCE_MAX - min(WOKEN_AT_ONCE_MAX, len(due))
        for _ in range(WOKEN_AT_ONCE_MAX - self._left):
            due.popleft()()
        if due:
            self._reactor.callLater(0, self._go_on)


class _Parked:
    """One reader that waits for a higher index."""

    __slots__ = (
        "_awakening",
        "_finish",
        "_generation",
        "_index",
        "_key",
        "_query",
        "_store",
        "_timer",
        "_waiter",
        "done",
    )

    def __init__(
        self,
        store: Store,
        awakening: _Awakening,
        index: int,
        query: Query[Any],
        key: Hashable,
        finish: Callable[[Answer[Any]], Any],
    ) -> None:
        self._store = store
        self._awakening = awakening
        self._index = index
        self._generation = store.watches.generation
        self._query = query
        self._key = key
        self._finish = finish
        self._timer: IDelayedCall | None = None
        self._waiter: Waiter | None = None
        self.done: Deferred[Any] = Deferred(self._cancelled)

    def start(self, reactor: IReactorTime, wait_s: float, answer: Answer[Any]) -> None:
        self._timer = reactor.callLater(wait_s, self._timed_out)
        self._wait(answer)

    def _wait(self, answer: Answer[Any]) -> None:
        self._waiter = self._store.watches.add(answer.topics, self._woken)

    def _woken(self) -> None:
        self._waiter = None
        self._awakening.add(self._look)

    def _look(self) -> None:
        if self._timer is None:
            # The time was over, or the client left, before it was this one's turn.
            return
        try:
            answer = self._store.answer(self._query, self._key)
        except Exception:
            self._stop()
            self.done.errback(Failure())
            return
        # After a restore nothing is as it was, and the reader must learn of that.
        replaced = self._generation != self._store.watches.generation
        if answer.index <= self._index and not replaced:
            self._wait(answer)
        else:
            self._answer(answer)

    def _timed_out(self) -> None:
        self._timer = None
        self._answer(self._store.answer(self._query, self._key))

    def _answer(self, answer: Answer[Any]) -> None:
        self._stop()
        self.done.callback(self._finish(answer))

    def _cancelled(self, _: Deferred[Any]) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None:
            self._store.watches.cancel(self._waiter)
            self._waiter = None


_OPTION_NAMES: Final = frozenset(spec.attribute for spec in field_specs(QueryOptions))
_question_fields: dict[type, tuple[str, ...]] = {}


def _function_of(query: Query[Any]) -> Hashable:
    """Return what tells one method's query from another's with the same request."""
    function = query.func if isinstance(query, partial) else query
    # A closure is a new object at each call; its code is not.
    return getattr(function, "__code__", function)


def _question(request: QueryOptions) -> tuple[Hashable, ...]:
    """Return what a request asks for, without how it is to be answered."""
    kind = type(request)
    names = _question_fields.get(kind)
    if names is None:
        names = _question_fields[kind] = (
            *(
                s.attribute
                for s in field_specs(kind)
                if s.attribute not in _OPTION_NAMES
            ),
            "filter",
        )
    return (kind, *(_hashable(getattr(request, name)) for name in names))


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    return value  # type: ignore[no-any-return]  # records are frozen, and so hashable
