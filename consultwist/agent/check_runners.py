"""CheckRunners: the running checks of this agent, and what they are given."""

from collections.abc import Callable
from typing import Any, Final

import msgspec.structs
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.agent.local_state import CRITICAL, LocalState
from consultwist.checks.definition import with_limits
from consultwist.checks.selection import CheckTypes
from consultwist.checks.ttl import TTLRunner, TTLState, TTLStateFiles, update_ttl
from consultwist.config.runtime import RuntimeConfig
from consultwist.host import Host
from consultwist.interfaces import ICheckHost, ICheckRunner
from consultwist.structs.catalog import CheckType, HealthCheck

#: Consul: checks that are critical for too long are looked for every 30 s.
_REAP_INTERVAL_S: Final = 30.0


@implementer(ICheckHost)
class CheckRunners(Service):
    """Starts and stops the runners of checks, and takes what they report.

    Args:
        host: what runners are given.
        config: the agent's configuration.
        types: the check types that plugins provide.
        state: where results go.
        rpc: how alias checks ask about other nodes.
        reap: called with the id of a service one of whose checks has been critical
            for longer than its definition allows.
    """

    log = Logger()

    def __init__(
        self,
        host: Host,
        config: RuntimeConfig,
        types: CheckTypes,
        state: LocalState,
        *,
        rpc: Any,
        reap: Any,
    ) -> None:
        self.reactor = host.reactor
        self.clock = host.clock
        self.rng = host.rng
        self.config = config
        self._types = types
        self._state = state
        self._rpc = rpc
        self._reap = reap
        self._runners: dict[str, ICheckRunner] = {}
        self._reap_after: dict[str, float] = {}
        self._timer: IDelayedCall | None = None
        in_memory = config.dev_mode or not config.data_dir
        self._ttl_files = None if in_memory else TTLStateFiles(config.data_dir)

    def startService(self) -> None:
        """Begin to look for checks that are critical for too long."""
        super().startService()
        self._timer = self.reactor.callLater(_REAP_INTERVAL_S, self._reap_critical)

    def stopService(self) -> None:
        """Stop all checks."""
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
        for runner in self._runners.values():
            runner.stop()
        self._runners.clear()

    # --- ICheckHost ------------------------------------------------------------------

    def report(self, check_id: str, status: str, output: str) -> None:
        """Take a result."""
        self._state.update_check(check_id, status, output)

    def rpc(self, method: str, request: Any) -> Any:
        """Ask the servers."""
        return self._rpc(method, request)

    def check_token(self, check_id: str) -> str:
        """Return the token of a check, or the agent's default."""
        return self._state.check_token(check_id) or self.config.acl_token

    def local_checks(self, service_id: str) -> list[HealthCheck] | None:
        """Return the checks of a service of this agent, with those of the node."""
        node_checks = self._state.checks_of("")
        if not service_id:
            return node_checks
        if self._state.service(service_id) is None:
            return None
        return self._state.checks_of(service_id) + node_checks

    def watch_checks(
        self, service_id: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call back when the answer of `local_checks` has changed."""
        return _CheckWatch(self, service_id, changed).start(self._state)

    # --- for the registry ------------------------------------------------------------

    def prepare(self, definition: CheckType) -> CheckType:
        """Return a definition within the agent's limits, known to be runnable.

        Raises:
            BadRequest: where no check type takes it.
            ConsultwistError: where its type cannot run on this system.
        """
        limited = with_limits(definition, self.config)
        self._types.make_runner(limited, self)
        return limited

    def restored(self, row: HealthCheck, definition: CheckType) -> HealthCheck:
        """Return the row of a TTL check with the state kept across the restart."""
        if self._ttl_files is None or definition.ttl <= 0:
            return row
        kept = self._ttl_files.load(row.check_id, self.clock.wall())
        if kept is None:
            return row
        return msgspec.structs.replace(row, status=kept.status, output=kept.output)

    def start(self, check_id: str, definition: CheckType) -> None:
        """Run a check, in place of one with the same id."""
        self.stop(check_id)
        runner = self._types.make_runner(definition, self)
        self._runners[check_id] = runner
        after_s = definition.deregister_critical_service_after / durations.SECOND
        if after_s > 0:
            self._reap_after[check_id] = after_s
        runner.start()

    def stop(self, check_id: str) -> None:
        """Stop a check, if it runs."""
        runner = self._runners.pop(check_id, None)
        self._reap_after.pop(check_id, None)
        if runner is not None:
            runner.stop()

    def forget(self, check_id: str) -> None:
        """Stop a check and drop what is kept of it across restarts."""
        self.stop(check_id)
        if self._ttl_files is not None:
            self._ttl_files.remove(check_id)

    def update_ttl(self, check_id: str, status: str, output: str) -> None:
        """Take the word of the application that a TTL check belongs to.

        Raises:
            ConsultwistError: where the check is unknown or of another type.
        """
        runner, kept = update_ttl(self._runners, check_id, status, output)
        if self._ttl_files is not None:
            expires = int(self.clock.wall() + runner.ttl_s)
            self._ttl_files.save(
                TTLState(check_id=check_id, status=status, output=kept, expires=expires)
            )

    def counts(self) -> tuple[int, int]:
        """Return how many checks run by themselves, and how many wait for updates."""
        ttls = sum(isinstance(runner, TTLRunner) for runner in self._runners.values())
        return len(self._runners) - ttls, ttls

    def _reap_critical(self) -> None:
        self._timer = self.reactor.callLater(_REAP_INTERVAL_S, self._reap_critical)
        for check_id, after_s in list(self._reap_after.items()):
            critical_s = self._state.critical_for(check_id)
            check = self._state.check(check_id)
            if check is None or critical_s is None or not check.service_id:
                continue
            if check.status == CRITICAL and critical_s > after_s:
                self.log.info(
                    "deregistered service with critical checks: {service}",
                    service=check.service_id,
                )
                self._reap(check.service_id)


class _CheckWatch:
    """Calls back when the statuses or outputs of some checks have changed."""

    def __init__(
        self, runners: CheckRunners, service_id: str, changed: Callable[[], None]
    ) -> None:
        self._runners = runners
        self._service_id = service_id
        self._changed = changed
        self._seen = self._own_checks(runners, service_id)
        self._calling = False

    def start(self, state: LocalState) -> Callable[[], None]:
        """Begin; returns what ends the watch."""
        return state.observe(self._look)

    def _look(self) -> None:
        if self._calling:
            return
        # The callback may itself change a check: look again until nothing moves, but
        # never call it from within itself.
        self._calling = True
        try:
            while (
                now := self._own_checks(self._runners, self._service_id)
            ) != self._seen:
                self._seen = now
                self._changed()
        finally:
            self._calling = False

    @staticmethod
    def _own_checks(
        runners: CheckRunners, service_id: str
    ) -> list[tuple[str, str]] | None:
        """Return the statuses that are watched: as in Consul, not those of the node.

        Those are seen when the alias is refreshed, each minute.
        """
        found = runners.local_checks(service_id)
        if found is None or not service_id:
            return None
        return [(c.check_id, c.status) for c in found if c.service_id == service_id]
