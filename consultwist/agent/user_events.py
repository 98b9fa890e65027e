"""User events: what this agent fires, and the last ones that reached it.

An event goes out through a *broadcast*: by way of a server to the whole gossip pool.
Every agent that it reaches looks at the
filters itself and keeps the event if it is meant. Events have no index of the Raft
log, so readers wait for another *last* event: its id gives the index.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec.structs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from consultwist.agent.local_state import LocalState
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import BadRequest, ConsultwistError, WireError
from consultwist.host import Host
from consultwist.structs.event import UserEvent, decode_event, encode_event
from consultwist.structs.uuids import make_uuid
from consultwist.wire.regexp import compile_regexp

#: How many events an agent remembers (Consul: 256).
EVENTS_MAX: Final = 256

#: The version of events that we write and understand.
VERSION: Final = 1

#: What the names of users' events begin with in the gossip pool.
EVENT_PREFIX: Final = "consul:event:"

#: Asks agents to run a command; they do not, and do not show it either.
_REMOTE_EXECUTION: Final = "_rexec"

#: The index of no events at all; 0 would make readers come back at once.
_NO_EVENTS: Final = 1

#: Brings (name, payload, datacenter) to every agent of a datacenter, an empty one being
#: our own; raises or fails where that is impossible.
Broadcast = Callable[[str, bytes, str], "Deferred[Any] | None"]


class UserEvents:
    """The recent user events of one agent.

    Args:
        host: for ids and waiting.
        config: who this agent is.
        local_state: the services that filters look at.
        broadcast: brings an event to every agent of the datacenter, this one too.
    """

    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        local_state: LocalState,
        broadcast: Broadcast,
    ) -> None:
        self._host = host
        self._node_name: str = config.node_name
        self._local_state = local_state
        self._broadcast = broadcast
        self._events: deque[UserEvent] = deque(maxlen=EVENTS_MAX)
        self._waiters: dict[Deferred[None], None] = {}

    # --- firing ----------------------------------------------------------------------

    def fire(
        self, wanted: UserEvent, datacenter: str = ""
    ) -> "UserEvent | Deferred[UserEvent]":
        """Send an event; gives it back with its id, once it is on its way.

        Args:
            wanted: name, payload and filters.
            datacenter: where; empty for our own.

        Raises:
            ConsultwistError: where name or filters are wrong, or it is too large.
        """
        _validate(wanted)
        event = msgspec.structs.replace(
            wanted, id=make_uuid(self._host.rng), version=VERSION, l_time=0
        )
        sent = self._broadcast(event.name, encode_event(event), datacenter)
        if isinstance(sent, Deferred):
            return sent.addCallback(lambda _: event)
        return event

    # --- receiving -------------------------------------------------------------------

    def receive(self, payload: bytes, l_time: int) -> None:
        """Take the payload of an event that reached this agent.

        What does not decode, is of a newer version or is not meant for this agent is
        dropped.
        """
        try:
            event = decode_event(payload, l_time)
            if event.version > VERSION or not self._is_meant(event):
                return
        except (WireError, BadRequest) as error:
            self.log.warn("dropping a user event: {error}", error=str(error))
            return
        if event.name == _REMOTE_EXECUTION:
            self.log.info("ignoring remote exec event {id}, disabled", id=event.id)
            return
        self.log.debug("new event {name}, id {id}", name=event.name, id=event.id)
        self._events.append(event)
        waiting, self._waiters = self._waiters, {}
        for waiter in waiting:
            waiter.callback(None)

    def _is_meant(self, event: UserEvent) -> bool:
        if not compile_regexp(event.node_filter)(self._node_name):
            return False
        if not event.service_filter:
            return True
        is_wanted = compile_regexp(event.service_filter)
        has_tag = compile_regexp(event.tag_filter)
        return any(
            is_wanted(service_id)
            and (not event.tag_filter or any(map(has_tag, service.tags or ())))
            for service_id, service in self._local_state.services().items()
        )

    # --- reading ---------------------------------------------------------------------

    def recent(self, name: str = "") -> tuple[int, list[UserEvent]]:
        """Return the index and the remembered events, oldest first.

        Args:
            name: only events of this name, where given.
        """
        found = [event for event in self._events if not name or event.name == name]
        return (_index(found[-1].id) if found else _NO_EVENTS), found

    def wait(self) -> "Deferred[None]":
        """Return what fires with the next event; it can be cancelled."""
        waiter: Deferred[None] = Deferred(lambda done: self._waiters.pop(done, None))
        self._waiters[waiter] = None
        return waiter


def _validate(event: UserEvent) -> None:
    if not event.name:
        raise ConsultwistError("User event missing name")
    if event.tag_filter and not event.service_filter:
        raise ConsultwistError("Cannot provide tag filter without service filter")
    for what, pattern in (
        ("node", event.node_filter),
        ("service", event.service_filter),
        ("tag", event.tag_filter),
    ):
        try:
            compile_regexp(pattern)
        except BadRequest as error:
            raise ConsultwistError(f"Invalid {what} filter: {error}") from error


def _index(event_id: str) -> int:
    """Return the two halves of an id, exclusively or'ed: good for equality only."""
    try:
        number = int(event_id.replace("-", ""), 16)
    except ValueError:
        return _NO_EVENTS
    return (number >> 64) ^ (number & (2**64 - 1))
