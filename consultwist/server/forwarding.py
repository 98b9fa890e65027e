"""Where a request is answered: here, by the leader, or in another datacenter."""

import random
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from consultwist.errors import ConsultwistError, NoLeader
from consultwist.gossip.consul import ServerTags
from consultwist.rpc.calls import RETRY_FRACTION, is_retryable
from consultwist.rpc.dispatch import Method
from consultwist.rpc.replies import Reply
from consultwist.structs.snapshot import SAVE, SnapshotRequest
from consultwist.wire.struct import Struct


class LeaderView(Protocol):
    """What this server knows of who leads."""

    def is_leader(self) -> bool:
        """Tell whether this server leads."""

    def knows_leader(self) -> bool:
        """Tell whether any server is known to lead."""

    def leader_address(self) -> str:
        """Return the leader's address, or nothing where none is known."""


class Remote(Protocol):
    """Calls of methods on other servers."""

    def call(
        self, address: str, datacenter: str, method: str, reply: Reply, request: Struct
    ) -> Deferred[Any]:
        """Call a method on the server at an address; fires with its reply."""


class Routes(Protocol):
    """Servers of other datacenters."""

    def find(self, datacenter: str) -> ServerTags:
        """Return the server of a datacenter to ask; raises where there is none."""

    def failed(self, server: ServerTags) -> None:
        """Note that a server did not answer well."""


@attrs.define
class _Call:
    """A request on its way to whoever leads."""

    method: Method
    request: Struct
    here: Callable[[Method, Struct], Any]
    failed_at: float | None = None


class Forwarder:
    """Decides who runs a method, and waits through elections."""

    def __init__(
        self,
        reactor: IReactorTime,
        rng: random.Random,
        leader: LeaderView,
        *,
        remote: Remote,
        routes: Routes,
        datacenter: str,
        hold_timeout_s: float,
    ) -> None:
        """Set up.

        Args:
            reactor: schedules further tries.
            rng: randomness for the time between them.
            leader: tells who leads.
            remote: reaches other servers.
            routes: knows the servers of other datacenters.
            datacenter: this server's.
            hold_timeout_s: for how long a request is tried again.
        """
        self._reactor = reactor
        self._rng = rng
        self._leader = leader
        self._remote = remote
        self._routes = routes
        self._datacenter = datacenter
        self._hold_timeout_s = hold_timeout_s

    def run(
        self, method: Method, request: Struct, here: Callable[[Method, Struct], Any]
    ) -> Any:
        """Have a request answered; `here` runs it on this server.

        Raises:
            NoPathToDatacenter: where the datacenter is not known.
            DatacenterUnavailable: where none of its servers can be asked.
        """
        datacenter = getattr(request, "datacenter", self._datacenter)
        if datacenter != self._datacenter and (datacenter or not method.local):
            return self._to_datacenter(datacenter, method, request)
        if method.local or self._leader.is_leader():
            return here(method, request)
        return self._to_leader(_Call(method, request, here))

    def place_of(self, request: SnapshotRequest) -> tuple[str, str] | None:
        """Return who is to do a snapshot: address and datacenter; None for us.

        Raises:
            NoLeader: where there is none.
            NoPathToDatacenter: where the datacenter is not known.
        """
        if request.datacenter != self._datacenter:
            server = self._routes.find(request.datacenter)
            return server.address, server.datacenter
        leader = self._leader
        may_be_stale = request.op == SAVE and self._may_be_stale(request)
        if leader.is_leader() or may_be_stale:
            return None
        address = leader.leader_address()
        if not address:
            raise NoLeader
        return address, self._datacenter

    # --- the leader ------------------------------------------------------------------

    def _to_leader(self, call: _Call) -> Any:
        """Have the leader answer, as soon as there is one."""
        leader = self._leader
        if leader.is_leader() or self._may_be_stale(call.request):
            return call.here(call.method, call.request)
        address = leader.leader_address()
        if not address:
            return self._again(Failure(NoLeader()), call)
        method = call.method
        done = self._remote.call(
            address, self._datacenter, method.name, method.reply, call.request
        )
        return done.addErrback(self._again, call)

    def _again(self, failure: Failure, call: _Call) -> Deferred[Any]:
        now = self._reactor.seconds()
        if call.failed_at is None:
            call.failed_at = now
        is_late = now - call.failed_at >= self._hold_timeout_s
        if is_late or not is_retryable(call.request, failure.value):
            return fail(failure)
        pause_s = self._rng.random() * self._hold_timeout_s / RETRY_FRACTION
        return deferLater(self._reactor, pause_s, self._to_leader, call)

    def _may_be_stale(self, request: Struct) -> bool:
        return getattr(request, "allow_stale", False) and self._leader.knows_leader()

    # --- another datacenter ----------------------------------------------------------

    def _to_datacenter(
        self, datacenter: str, method: Method, request: Struct
    ) -> Deferred[Any]:
        """Have a server of another datacenter answer; there is one try."""
        server = self._routes.find(datacenter)
        done = self._remote.call(
            server.address, datacenter, method.name, method.reply, request
        )
        return done.addErrback(self._datacenter_failed, server)

    def _datacenter_failed(self, failure: Failure, server: ServerTags) -> Failure:
        if failure.check(ConsultwistError):
            self._routes.failed(server)
        return failure
