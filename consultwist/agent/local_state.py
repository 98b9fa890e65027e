"""LocalState: this agent's services and checks, and what of them is out of sync.

The agent is the truth about its own node. Everything registered here is compared with
the catalog and written there by anti-entropy (`agent/anti_entropy.py`); what is removed
here stays as a deletion until the catalog has followed.
"""

from collections.abc import Callable

import attrs
import msgspec.structs
from twisted.internet.interfaces import IDelayedCall

from consultwist.host import Host
from consultwist.structs.catalog import HealthCheck, NodeService

#: The status of a check that says nothing good.
CRITICAL = "critical"


@attrs.define
class LocalService:
    """A service of this agent.

    Attributes:
        service: the instance as the catalog shall have it.
        token: the token that it was registered with.
        deleted: whether it is gone here and only the catalog must follow.
    """

    service: NodeService
    token: str = ""
    deleted: bool = False


@attrs.define
class LocalCheck:
    """A check of this agent; see `LocalService`.

    Attributes:
        check: the row as the catalog shall have it.
        critical_since: monotonic seconds at which it turned critical, or None.
        deferred: the pending write of an output that changed without the status.
    """

    check: HealthCheck
    token: str = ""
    deleted: bool = False
    critical_since: float | None = None
    deferred: IDelayedCall | None = None

    def cancel_deferred(self) -> None:
        """Forget the pending write."""
        if self.deferred is not None and self.deferred.active():
            self.deferred.cancel()
        self.deferred = None


@attrs.define
class LocalState:
    """All services and checks of this agent.

    Args:
        host: the clock, timers and randomness.
        check_update_interval_s: how late a mere change of output may be written;
            0 writes it at once.
        discard_output: whether output is dropped.
        changed: called after every change that the catalog must follow.
    """

    host: Host
    check_update_interval_s: float
    discard_output: bool
    changed: Callable[[], None]
    _services: dict[str, LocalService] = attrs.field(factory=dict, init=False)
    _checks: dict[str, LocalCheck] = attrs.field(factory=dict, init=False)
    _observers: dict[Callable[[], None], None] = attrs.field(factory=dict, init=False)
    # What the catalog does not have as it is here: a change is then written without
    # looking at all that did not change.
    _unsynced_services: dict[str, None] = attrs.field(factory=dict, init=False)
    _unsynced_checks: dict[str, None] = attrs.field(factory=dict, init=False)

    # --- reading ---------------------------------------------------------------------

    def services(self) -> dict[str, NodeService]:
        """Return the services by id, in the order of registration."""
        return {key: e.service for key, e in self._services.items() if not e.deleted}

    def checks(self) -> dict[str, HealthCheck]:
        """Return the checks by id, in the order of registration."""
        return {key: e.check for key, e in self._checks.items() if not e.deleted}

    def service(self, service_id: str) -> NodeService | None:
        """Return one service, or None."""
        entry = self._services.get(service_id)
        return None if entry is None or entry.deleted else entry.service

    def check(self, check_id: str) -> HealthCheck | None:
        """Return one check, or None."""
        entry = self._checks.get(check_id)
        return None if entry is None or entry.deleted else entry.check

    def service_token(self, service_id: str) -> str:
        """Return the token that a service was registered with."""
        entry = self._services.get(service_id)
        return "" if entry is None else entry.token

    def check_token(self, check_id: str) -> str:
        """Return the token that a check was registered with."""
        entry = self._checks.get(check_id)
        return "" if entry is None else entry.token

    def checks_of(self, service_id: str) -> list[HealthCheck]:
        """Return the checks that belong to a service; the node's for no service."""
        return [c for c in self.checks().values() if c.service_id == service_id]

    def critical_for(self, check_id: str) -> float | None:
        """Return for how many seconds a check has been critical, or None."""
        entry = self._checks.get(check_id)
        if entry is None or entry.deleted or entry.critical_since is None:
            return None
        return self.host.clock.monotonic() - entry.critical_since

    def observe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every change but one of output; returns what ends that."""
        self._observers[callback] = None
        return lambda: self._observers.pop(callback, None)

    # --- changing --------------------------------------------------------------------

    def add_service(self, service: NodeService, token: str = "") -> None:
        """Add or replace a service."""
        self._services[service.id] = LocalService(service, token)
        self._unsynced_services[service.id] = None
        self._notify()

    def remove_service(self, service_id: str) -> bool:
        """Remove a service; tells whether there was one. Its checks stay."""
        entry = self._services.get(service_id)
        if entry is None or entry.deleted:
            return False
        entry.deleted = True
        self._unsynced_services[service_id] = None
        self._notify()
        return True

    def add_check(self, check: HealthCheck, token: str = "") -> None:
        """Add or replace a check."""
        if self.discard_output:
            check = msgspec.structs.replace(check, output="")
        old = self._checks.get(check.check_id)
        since = None
        if old is not None:
            old.cancel_deferred()
            since = old.critical_since
        entry = LocalCheck(check, token)
        entry.critical_since = self._critical_since(check.status, since)
        self._checks[check.check_id] = entry
        self._unsynced_checks[check.check_id] = None
        self._notify()

    def remove_check(self, check_id: str) -> bool:
        """Remove a check; tells whether there was one."""
        entry = self._checks.get(check_id)
        if entry is None or entry.deleted:
            return False
        entry.cancel_deferred()
        entry.deleted, entry.critical_since = True, None
        self._unsynced_checks[check_id] = None
        self._notify()
        return True

    def update_check(self, check_id: str, status: str, output: str) -> None:
        """Set a check's status and output.

        A change of status is written at once, one of the output alone some time
        later, because it changes often and tells little.
        """
        entry = self._checks.get(check_id)
        if entry is None or entry.deleted:
            return
        output = "" if self.discard_output else output
        before = entry.check
        if before.status == status and before.output == output:
            return
        entry.critical_since = self._critical_since(status, entry.critical_since)
        entry.check = msgspec.structs.replace(before, status=status, output=output)
        if before.status == status and self.check_update_interval_s > 0:
            self._defer(entry)
            return
        entry.cancel_deferred()
        self._unsynced_checks[check_id] = None
        self._notify()

    # --- for anti-entropy ------------------------------------------------------------

    def service_entries(self) -> list[tuple[str, LocalService]]:
        """Return all services by id, also those that are deleted."""
        return list(self._services.items())

    def check_entries(self) -> list[tuple[str, LocalCheck]]:
        """Return all checks by id, also those that are deleted."""
        return list(self._checks.items())

    def unsynced_services(self) -> list[tuple[str, LocalService]]:
        """Return the services that the catalog has otherwise or not at all."""
        return [(key, self._services[key]) for key in self._unsynced_services]

    def unsynced_checks(self) -> list[tuple[str, LocalCheck]]:
        """Return the checks that the catalog has otherwise or not at all."""
        return [(key, self._checks[key]) for key in self._unsynced_checks]

    def service_synced(self, service_id: str, service: NodeService) -> None:
        """Note that the catalog has a service so, if it did not change meanwhile."""
        entry = self._services.get(service_id)
        if entry is None or entry.service is not service:
            return
        self._unsynced_services.pop(service_id, None)
        if entry.deleted:
            del self._services[service_id]

    def check_synced(self, check_id: str, check: HealthCheck) -> None:
        """Note that the catalog has a check so, if it did not change meanwhile."""
        entry = self._checks.get(check_id)
        if entry is None or entry.check is not check:
            return
        entry.cancel_deferred()
        self._unsynced_checks.pop(check_id, None)
        if entry.deleted:
            del self._checks[check_id]

    def service_differs(self, service_id: str, service: NodeService | None) -> None:
        """Note that the catalog lacks a service, has it otherwise, or alone has it.

        Args:
            service_id: which.
            service: the service as it is here; None where only the catalog knows it,
                which it shall not.
        """
        if service is None:
            unknown = NodeService(id=service_id)
            self._services[service_id] = LocalService(unknown, deleted=True)
        self._unsynced_services[service_id] = None

    def check_differs(self, check_id: str, check: HealthCheck | None) -> None:
        """Note the same of a check."""
        if check is None:
            unknown = HealthCheck(check_id=check_id)
            self._checks[check_id] = LocalCheck(unknown, deleted=True)
        self._unsynced_checks[check_id] = None

    def override_tags(self, service_id: str, tags: list[str] | None) -> None:
        """Take over the catalog's tags of a service that allows it."""
        entry = self._services[service_id]
        entry.service = msgspec.structs.replace(entry.service, tags=tags)

    def stop(self) -> None:
        """Cancel all pending writes."""
        for entry in self._checks.values():
            entry.cancel_deferred()

    def _critical_since(self, status: str, since: float | None) -> float | None:
        if status != CRITICAL:
            return None
        return self.host.clock.monotonic() if since is None else since

    def _defer(self, entry: LocalCheck) -> None:
        if entry.deferred is not None or entry.check.check_id in self._unsynced_checks:
            return
        interval_s = self.check_update_interval_s
        delay_s = interval_s / 2 + self.host.rng.random() * interval_s
        entry.deferred = self.host.reactor.callLater(
            delay_s, self._write_deferred, entry
        )

    def _write_deferred(self, entry: LocalCheck) -> None:
        entry.deferred = None
        if not entry.deleted:
            self._unsynced_checks[entry.check.check_id] = None
            self.changed()

    def _notify(self) -> None:
        self.changed()
        self._tell_observers()

    def _tell_observers(self) -> None:
        for observer in list(self._observers):
            observer()
