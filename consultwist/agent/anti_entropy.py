"""Anti-entropy: brings the catalog to what this agent has registered.

Two movements: a *full* sync reads what the catalog holds for this node and marks every
difference; a sync of *changes* writes what is marked. Changes are synced at once, the
full sync runs at an interval that grows with the cluster.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import attrs
import msgspec.structs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.agent.local_state import LocalCheck, LocalService, LocalState
from consultwist.errors import ACLNotFound, ConsultwistError, PermissionDenied
from consultwist.host import Host
from consultwist.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    IndexedHealthChecks,
    IndexedNodeServices,
    Node,
    NodeService,
    NodeSpecificRequest,
    RegisterRequest,
    Weights,
)

#: Consul: clusters up to this size sync at the plain interval.
_SCALE_THRESHOLD: Final = 128

#: Consul: the wait after a failed full sync.
_RETRY_S: Final = 15.0

#: The leader writes these; an agent leaves them alone.
_SERF_CHECK: Final = "serfHealth"
_CONSUL_SERVICE: Final = "consul"

#: Errors that say that the token is at fault, and that trying again will not help.
_REFUSED: Final = (PermissionDenied, ACLNotFound)


def scale(members: int) -> int:
    """Return by how much the interval grows in a cluster of so many members."""
    if members <= _SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(members) - math.log2(_SCALE_THRESHOLD)) + 1


@attrs.frozen(kw_only=True)
class Identity:
    """Whom this agent writes into the catalog.

    Attributes:
        node: the node as the catalog shall have it.
        token: the agent's own token.
        members: how many members the LAN pool has.
    """

    node: Node
    token: Callable[[], str]
    members: Callable[[], int]


class AntiEntropy(Service):
    """Keeps the catalog in step; one sync runs at a time."""

    log = Logger()

    def __init__(
        self,
        host: Host,
        state: LocalState,
        rpc: Callable[[str, Any], Any],
        identity: Identity,
        interval_s: float,
    ) -> None:
        self._host = host
        self._state = state
        self._rpc = rpc
        self._identity = identity
        self._interval_s = interval_s
        self._paused = 0
        self._node_in_sync = False
        self._full_due = True
        self._changes_due = False
        self._syncing: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._soon: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin with a full sync."""
        super().startService()
        self.sync_fully()

    def stopService(self) -> Any:
        """Stop; a sync under way is given up."""
        super().stopService()
        for call in (self._timer, self._soon):
            if call is not None and call.active():
                call.cancel()
        if self._syncing is not None:
            self._syncing.cancel()

    def sync_changes(self) -> None:
        """Write what changed, soon: changes of the same turn go together."""
        self._changes_due = True
        self._wake()

    def sync_fully(self) -> None:
        """Compare all with the catalog, soon."""
        self._full_due = True
        self._wake()

    def pause(self) -> None:
        """Hold syncs back, as during a reload; pauses nest."""
        self._paused += 1

    def resume(self) -> None:
        """Let syncs go on after as many calls as there were pauses."""
        self._paused -= 1
        if not self._paused:
            self.sync_changes()

    # --- when ------------------------------------------------------------------------

    def _wake(self) -> None:
        if self.running and self._syncing is None and self._soon is None:
            self._soon = self._host.reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        self._soon = None
        if self._paused or self._syncing is not None:
            return
        if not (self._full_due or self._changes_due):
            return
        full, self._full_due, self._changes_due = self._full_due, False, False
        self._syncing = ensureDeferred(self._sync(full=full))
        self._syncing.addErrback(self._failed)
        self._syncing.addBoth(self._ended)

    def _ended(self, _: object) -> None:
        self._syncing = None
        if self._full_due or self._changes_due:
            self._wake()

    def _failed(self, failure: Failure) -> None:
        if not self.running:
            return
        if failure.check(ConsultwistError):
            self.log.error(
                'failed to sync remote state: error="{error}"',
                error=failure.getErrorMessage(),
            )
        else:
            self.log.failure("failed to sync remote state", failure=failure)
        retry_s = _RETRY_S + self._host.rng.random() * self._scaled(_RETRY_S)
        self._schedule(retry_s)

    def _scaled(self, seconds: float) -> float:
        return seconds * scale(self._identity.members())

    def _schedule(self, delay_s: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._host.reactor.callLater(delay_s, self.sync_fully)

    async def _sync(self, *, full: bool) -> None:
        if full:
            await self._mark_differences()
        await self._write_changes()
        if full:
            spread_s = self._host.rng.random() * self._scaled(self._interval_s)
            self._schedule(self._interval_s + spread_s)

    # --- comparing -------------------------------------------------------------------

    async def _call(self, method: str, request: Any) -> Any:
        answer = self._rpc(method, request)
        return await answer if isinstance(answer, Deferred) else answer

    async def _mark_differences(self) -> None:
        request = NodeSpecificRequest(
            node=self._identity.node.node, token=self._identity.token()
        )
        services: IndexedNodeServices = await self._call(
            "Catalog.NodeServices", request
        )
        checks: IndexedHealthChecks = await self._call("Health.NodeChecks", request)
        found = services.node_services
        self._node_in_sync = found is not None and _same_node(
            found.node, self._identity.node
        )
        self._mark_services((found.services if found is not None else None) or {})
        self._mark_checks({c.check_id: c for c in checks.health_checks or ()})

    def _mark_services(self, remote: dict[str, NodeService]) -> None:
        state = self._state
        known = dict(state.service_entries())
        for service_id, entry in known.items():
            there = remote.get(service_id)
            if there is not None and entry.service.enable_tag_override:
                state.override_tags(service_id, there.tags)
            if not entry.deleted and _same_service(entry.service, there):
                state.service_synced(service_id, entry.service)
            elif not entry.deleted or there is not None:
                state.service_differs(service_id, entry.service)
        for service_id in remote:
            if service_id not in known and service_id != _CONSUL_SERVICE:
                state.service_differs(service_id, None)

    def _mark_checks(self, remote: dict[str, HealthCheck]) -> None:
        state = self._state
        known = dict(state.check_entries())
        for check_id, entry in known.items():
            there = remote.get(check_id)
            deferred = entry.deferred is not None
            if not entry.deleted and _same_check(
                entry.check, there, ignore_output=deferred
            ):
                if not deferred:
                    state.check_synced(check_id, entry.check)
            elif not entry.deleted or there is not None:
                state.check_differs(check_id, entry.check)
        for check_id in remote:
            if check_id not in known and check_id != _SERF_CHECK:
                state.check_differs(check_id, None)

    # --- writing ---------------------------------------------------------------------

    async def _write_changes(self) -> None:
        for service_id, service in self._state.unsynced_services():
            if service.deleted:
                await self._delete_service(service_id, service)
            else:
                await self._write_service(service_id, service)
        for check_id, check in self._state.unsynced_checks():
            if check.deleted:
                await self._delete_check(check_id, check)
            else:
                await self._write_check(check_id, check)
        if not self._node_in_sync:
            await self._register(RegisterRequest(), self._identity.token())

    async def _register(self, request: RegisterRequest, token: str) -> bool:
        """Write to the catalog; tells whether it was accepted."""
        node = self._identity.node
        full = msgspec.structs.replace(
            request,
            id=node.id,
            node=node.node,
            address=node.address,
            tagged_addresses=node.tagged_addresses,
            node_meta=node.meta,
            skip_node_update=self._node_in_sync,
            token=token or self._identity.token(),
        )
        try:
            await self._call("Catalog.Register", full)
        except _REFUSED as refused:
            self.log.warn("registration blocked by ACLs: {error}", error=refused)
            return False
        self._node_in_sync = True
        return True

    async def _write_service(self, service_id: str, entry: LocalService) -> None:
        """Write a service and, in the same request, its checks of the same token."""
        service = entry.service
        rows = [
            check.check
            for _, check in self._state.unsynced_checks()
            if check.check.service_id == service_id
            and not check.deleted
            and check.token == entry.token
        ]
        request = RegisterRequest(
            service=service,
            check=rows[0] if len(rows) == 1 else None,
            checks=rows if len(rows) > 1 else None,
        )
        # Refused or not, it is tried again only at the next full sync or change.
        await self._register(request, entry.token)
        self._state.service_synced(service_id, service)
        for row in rows:
            self._state.check_synced(row.check_id, row)
        self.log.info("Synced service: {service}", service=service_id)

    async def _write_check(self, check_id: str, entry: LocalCheck) -> None:
        row = entry.check
        service = self._state.service(row.service_id) if row.service_id else None
        await self._register(RegisterRequest(check=row, service=service), entry.token)
        self._state.check_synced(check_id, row)
        self.log.info("Synced check: {check}", check=check_id)

    async def _delete_service(self, service_id: str, entry: LocalService) -> None:
        await self._deregister(DeregisterRequest(service_id=service_id), entry.token)
        self._state.service_synced(service_id, entry.service)
        # The catalog drops a service's checks with it.
        for check_id, check in self._state.unsynced_checks():
            if check.deleted and check.check.service_id == service_id:
                self._state.check_synced(check_id, check.check)
        self.log.info("Deregistered service: {service}", service=service_id)

    async def _delete_check(self, check_id: str, entry: LocalCheck) -> None:
        await self._deregister(DeregisterRequest(check_id=check_id), entry.token)
        self._state.check_synced(check_id, entry.check)
        self.log.info("Deregistered check: {check}", check=check_id)

    async def _deregister(self, request: DeregisterRequest, token: str) -> None:
        full = msgspec.structs.replace(
            request,
            node=self._identity.node.node,
            token=token or self._identity.token(),
        )
        try:
            await self._call("Catalog.Deregister", full)
        except _REFUSED as refused:
            self.log.warn("deregistration blocked by ACLs: {error}", error=refused)


def _same_node(there: Node | None, here: Node) -> bool:
    return there is not None and (
        there.id == here.id
        and there.address == here.address
        and (there.tagged_addresses or {}) == (here.tagged_addresses or {})
        and (there.meta or {}) == (here.meta or {})
    )


#: Fields of the catalog's own making.
_INDEXES: Final = {"create_index": 0, "modify_index": 0}


def _same_service(here: NodeService, there: NodeService | None) -> bool:
    if there is None:
        return False

    def plain(service: NodeService) -> NodeService:
        return msgspec.structs.replace(
            service,
            **_INDEXES,
            tags=service.tags or None,
            meta=service.meta or None,
            tagged_addresses=service.tagged_addresses or None,
            weights=service.weights or Weights(passing=1, warning=1),
            locally_registered_as_sidecar=False,
        )

    return plain(here) == plain(there)


def _same_check(
    here: HealthCheck, there: HealthCheck | None, *, ignore_output: bool
) -> bool:
    return (
        there is not None
        and all(
            getattr(here, name) == getattr(there, name)
            for name in (
                "node",
                "check_id",
                "name",
                "status",
                "notes",
                "service_id",
                "service_name",
            )
        )
        and (ignore_output or here.output == there.output)
    )
