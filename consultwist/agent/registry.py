"""Registry: registers and deregisters the services and checks of this agent.

It keeps four things in step: the local state, the running checks, the files that
survive a restart, and thereby the catalog.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec.structs
from twisted.internet.defer import Deferred, FirstError, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.agent.check_runners import CheckRunners
from consultwist.agent.definitions import check_types, node_service, sidecar_of
from consultwist.agent.local_state import CRITICAL, LocalState
from consultwist.agent.persistence import (
    Files,
    FileWriter,
    PersistedCheck,
    PersistedService,
)
from consultwist.checks.definition import (
    kind_of,
    node_check_row,
    require_scripts,
    service_check_row,
)
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConsultwistError, NotFound
from consultwist.host import Host
from consultwist.structs.catalog import (
    CheckType,
    HealthCheck,
    NodeService,
    ServiceDefinition,
)
from consultwist.structs.check_definition import CheckDefinition

NODE_MAINTENANCE: Final = "_node_maintenance"
SERVICE_MAINTENANCE: Final = "_service_maintenance:"

#: Where a definition came from: the HTTP API, or the configuration.
REMOTE: Final = "remote"
LOCAL: Final = "local"

_DEFAULT_REASON: Final = (
    "Maintenance mode is enabled for this {what}, but no reason was provided. This is "
    "a default message."
)


@attrs.frozen
class _Planned:
    """A check that is about to be registered."""

    row: HealthCheck
    definition: CheckType


class Registry:
    """The services and checks of this agent.

    Methods that write return a Deferred that fires when what they did is on the disk.
    """

    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        state: LocalState,
        runners: CheckRunners,
    ) -> None:
        self._config = config
        self._state = state
        self._runners = runners
        in_memory = config.dev_mode or not config.data_dir
        root = None if in_memory else Path(config.data_dir)
        writer = FileWriter(host)
        self._service_files = Files(writer, root and root / "services")
        self._check_files = Files(writer, root and root / "checks")

    # --- services --------------------------------------------------------------------

    def register_service(
        self,
        definition: ServiceDefinition,
        *,
        source: str = REMOTE,
        replace_checks: bool = False,
    ) -> Deferred[None]:
        """Register a service with its checks, and its sidecar where it has one.

        Nothing is registered where any part of it is refused.

        Raises:
            ConsultwistError: with Consul's text, where the definition cannot be.
        """
        plans = [self._plan_service(definition, source)]
        service = plans[0][0]
        sidecar = sidecar_of(definition, service, self._sidecar_port)
        if sidecar is not None:
            plans.append(self._plan_service(sidecar, source, is_sidecar=True))
        written: list[Deferred[None]] = []
        for service, checks, token in plans:
            written += self._add_service(
                service, checks, token, source=source, replace_checks=replace_checks
            )
        return _all(written)

    def deregister_service(self, service_id: str) -> Deferred[None]:
        """Remove a service, its checks and its sidecar; an unknown one is no error."""
        written = [self._remove_service(service_id)]
        sidecar_id = f"{service_id}-sidecar-proxy"
        sidecar = self._state.service(sidecar_id)
        if sidecar is not None and sidecar.locally_registered_as_sidecar:
            written.append(self._remove_service(sidecar_id))
        return _all(written)

    def _plan_service(
        self, definition: ServiceDefinition, source: str, *, is_sidecar: bool = False
    ) -> tuple[NodeService, list[_Planned], str]:
        service = msgspec.structs.replace(
            node_service(definition), locally_registered_as_sidecar=is_sidecar
        )
        checks = check_types(definition)
        planned: list[_Planned] = []
        for number, check in enumerate(checks, start=1):
            require_scripts(check, self._config, remote=source == REMOTE)
            row = service_check_row(
                check,
                service,
                self._config.node_name,
                number=number,
                count=len(checks),
            )
            planned.append(self._planned(row, check))
        return service, planned, definition.token

    def _planned(self, row: HealthCheck, check: CheckType) -> _Planned:
        named = msgspec.structs.replace(check, check_id=row.check_id)
        definition = self._runners.prepare(named)
        existing = self._state.check(row.check_id)
        if existing is not None and not check.status:
            # A check that is registered again keeps what is known of it.
            row = msgspec.structs.replace(
                row, status=existing.status, output=existing.output
            )
        return _Planned(row, definition)

    def _add_service(
        self,
        service: NodeService,
        checks: list[_Planned],
        token: str,
        *,
        source: str,
        replace_checks: bool,
    ) -> list[Deferred[None]]:
        written: list[Deferred[None]] = []
        if replace_checks:
            kept = {planned.row.check_id for planned in checks}
            for check in self._state.checks_of(service.id):
                if check.check_id not in kept:
                    written.append(self._remove_check(check.check_id))
        self._state.add_service(service, token)
        if source == REMOTE:
            record = PersistedService(token=token, service=service, source=source)
            written.append(self._service_files.save(service.id, record))
        for planned in checks:
            written.append(self._add_check(planned, token, source))
        return written

    def _remove_service(self, service_id: str) -> Deferred[None]:
        written = [
            self._remove_check(check.check_id)
            for check in self._state.checks_of(service_id)
            if service_id
        ]
        self._state.remove_service(service_id)
        written.append(self._service_files.remove(service_id))
        return _all(written)

    def _sidecar_port(self, sidecar_id: str) -> int:
        """Return the port that a sidecar has, or the first that is free."""
        existing = self._state.service(sidecar_id)
        if existing is not None:
            return existing.port
        taken = {service.port for service in self._state.services().values()}
        least = self._config.connect_sidecar_min_port
        most = self._config.connect_sidecar_max_port
        for port in range(least, most + 1) if least > 0 else ():
            if port not in taken:
                return port
        return 0

    # --- checks ----------------------------------------------------------------------

    def register_check(
        self, definition: CheckDefinition, *, source: str = REMOTE
    ) -> Deferred[None]:
        """Register a check of the node or of one of its services.

        Raises:
            ConsultwistError: with Consul's text, where the definition cannot be. As in
                Consul, a check that was registered under the same id is gone then.
        """
        row = node_check_row(definition, self._config.node_name)
        try:
            planned = self._planned_check(row, definition.check_type(), source)
        except ConsultwistError:
            self._remove_check(row.check_id).addErrback(
                lambda failure: self.log.failure("removing a check", failure=failure)
            )
            raise
        return self._add_check(planned, definition.token, source)

    def _planned_check(
        self, row: HealthCheck, check: CheckType, source: str
    ) -> _Planned:
        require_scripts(check, self._config, remote=source == REMOTE)
        if source == REMOTE:
            row = msgspec.structs.replace(row, type=kind_of(check))
        return self._planned(self._with_service(row), check)

    def deregister_check(self, check_id: str) -> Deferred[None]:
        """Remove a check; an unknown one is no error."""
        return self._remove_check(check_id)

    def update_ttl(self, check_id: str, status: str, output: str) -> None:
        """Take the word of the application that a TTL check belongs to."""
        self._runners.update_ttl(check_id, status, output)

    def _with_service(self, row: HealthCheck) -> HealthCheck:
        if not row.service_id:
            return row
        service = self._state.service(row.service_id)
        if service is None:
            raise ConsultwistError(f'ServiceID "{row.service_id}" does not exist')
        return msgspec.structs.replace(
            row, service_name=service.service, service_tags=service.tags
        )

    def _add_check(self, planned: _Planned, token: str, source: str) -> Deferred[None]:
        row = self._runners.restored(planned.row, planned.definition)
        self._state.add_check(row, token)
        self._runners.start(row.check_id, planned.definition)
        if source != REMOTE:
            return succeed(None)
        record = PersistedCheck(
            check=row, chk_type=planned.definition, token=token, source=source
        )
        return self._check_files.save(row.check_id, record)

    def _remove_check(self, check_id: str) -> Deferred[None]:
        self._runners.forget(check_id)
        self._state.remove_check(check_id)
        return self._check_files.remove(check_id)

    # --- maintenance -----------------------------------------------------------------

    def node_maintenance(self, *, enable: bool, reason: str, token: str) -> None:
        """Take this node out of service, or back."""
        if not enable:
            self._state.remove_check(NODE_MAINTENANCE)
        elif self._state.check(NODE_MAINTENANCE) is None:
            self._maintain(
                HealthCheck(check_id=NODE_MAINTENANCE, name="Node Maintenance Mode"),
                reason or _DEFAULT_REASON.format(what="node"),
                token,
            )

    def service_maintenance(
        self, service_id: str, *, enable: bool, reason: str, token: str
    ) -> None:
        """Take a service of this node out of service, or back.

        Raises:
            NotFound: where there is no such service.
        """
        service = self._state.service(service_id)
        if service is None:
            raise NotFound(f'No service registered with ID "{service_id}"')
        check_id = SERVICE_MAINTENANCE + service_id
        if not enable:
            self._state.remove_check(check_id)
        elif self._state.check(check_id) is None:
            self._maintain(
                HealthCheck(
                    check_id=check_id,
                    name="Service Maintenance Mode",
                    service_id=service.id,
                    service_name=service.service,
                    service_tags=service.tags,
                ),
                reason or _DEFAULT_REASON.format(what="service"),
                token,
            )

    def _maintain(self, row: HealthCheck, reason: str, token: str) -> None:
        check = msgspec.structs.replace(
            row,
            node=self._config.node_name,
            notes=reason,
            status=CRITICAL,
            type="maintenance",
        )
        self._state.add_check(check, token)

    # --- at start and reload ----------------------------------------------------------

    def load(
        self,
        services: Iterable[ServiceDefinition],
        checks: Iterable[CheckDefinition],
    ) -> None:
        """Register what the configuration defines, then what the files remember.

        What the configuration defines wins over a file with the same id, which is
        then removed. A file that cannot be registered any more is reported.

        Raises:
            ConsultwistError: where a definition of the configuration cannot be.
        """
        self._define(services, checks)
        for stored in list(self._service_files.load(PersistedService)):
            self._load("service", stored, self._load_service)
        for stored in list(self._check_files.load(PersistedCheck)):
            self._load("check", stored, self._load_check)

    def reload(self, old: RuntimeConfig, new: RuntimeConfig) -> None:
        """Follow a changed configuration: what it defines now, and defines no more.

        Checks keep what is known of them. What was registered over HTTP stays.

        Raises:
            ConsultwistError: where a definition of the new configuration cannot be.
        """
        self._config = new
        services = {definition.id or definition.name for definition in new.services}
        checks = {definition.id or definition.name for definition in new.checks}
        for gone in old.checks:
            if (gone.id or gone.name) not in checks:
                self._remove_check(gone.id or gone.name)
        for left in old.services:
            if (left.id or left.name) not in services:
                self.deregister_service(left.id or left.name)
        self._define(new.services, new.checks)

    def _define(
        self,
        services: Iterable[ServiceDefinition],
        checks: Iterable[CheckDefinition],
    ) -> None:
        for service in services:
            self.register_service(service, source=LOCAL)
        for check in checks:
            self.register_check(check, source=LOCAL)

    def _load(self, what: str, stored: Any, load: Callable[[Any], None]) -> None:
        try:
            load(stored)
        except ConsultwistError as error:
            self.log.error(
                "failed to restore a {what} from its file: {error}",
                what=what,
                error=error,
            )

    def _load_service(self, stored: PersistedService) -> None:
        service = stored.service
        if service is None:
            return
        if self._state.service(service.id) is not None:
            self._service_files.remove(service.id)
            return
        self._state.add_service(service, stored.token)

    def _load_check(self, stored: PersistedCheck) -> None:
        row, definition = stored.check, stored.chk_type
        if row is None or definition is None:
            return
        if self._state.check(row.check_id) is not None:
            self._check_files.remove(row.check_id)
            return
        if row.service_id and self._state.service(row.service_id) is None:
            self._check_files.remove(row.check_id)
            return
        require_scripts(definition, self._config, remote=stored.source == REMOTE)
        # After a restart nothing is known until the check has run.
        fresh = msgspec.structs.replace(
            row, status=definition.status or CRITICAL, output=""
        )
        planned = _Planned(fresh, self._runners.prepare(definition))
        self._add_check(planned, stored.token, LOCAL)


def _all(written: list[Deferred[None]]) -> Deferred[None]:
    """Fire when all have, with the first failure if one fails."""
    return gatherResults(written, consumeErrors=True).addCallbacks(
        lambda _: None, _first
    )


def _first(failure: Failure) -> Failure:
    error = failure.value
    return error.subFailure if isinstance(error, FirstError) else failure
