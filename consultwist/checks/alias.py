"""Alias checks: as healthy as another service or node.

For something on this node the agent tells of changes; for another node the servers are
asked with a blocking query.
"""

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.deadline import within
from consultwist.checks.definition import OUTPUT_SIZE_DEFAULT
from consultwist.checks.outcome import CRITICAL, PASSING, WARNING
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import (
    CheckType,
    HealthCheck,
    IndexedHealthChecks,
    IndexedNodeServices,
    NodeSpecificRequest,
)
from consultwist.wire.struct import Struct

log = Logger()

#: A local alias is looked at this often even where nothing was told: Consul's.
REFRESH_S = 60.0

#: How long a query about another node blocks: Consul's.
WAIT_TIME = 60 * durations.SECOND

#: The servers may add a sixteenth to the wait time; the rest is for the network.
QUERY_TIMEOUT_S = 75.0

#: Failures before the agent begins to wait between queries, and the longest wait.
BACKOFF_AFTER = 3
BACKOFF_MAX_S = 60.0

#: How often the servers are asked whether a service exists, before it is assumed.
EXISTS_ATTEMPTS = 4


@implementer(ICheckType)
class AliasCheck:
    """Checks that follow the checks of another service or node."""

    kind = "alias"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions that name a node or a service to follow."""
        return bool(definition.alias_node or definition.alias_service)

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what follows the other checks."""
        if definition.alias_node in ("", host.config.node_name):
            return LocalAliasRunner(definition, host)
        return RemoteAliasRunner(definition, host)


def judge(
    definition: CheckType, checks: Iterable[HealthCheck]
) -> tuple[str, str, bool]:
    """Return status and output of an alias, and whether its service has checks.

    Checks of the node count too; critical ones win over warnings. The output is cut,
    because aliases that follow each other would make it grow without end.
    """
    size_max = definition.output_max_size or OUTPUT_SIZE_DEFAULT
    status, output, is_found = PASSING, "No checks found.", False
    for check in checks:
        if definition.alias_node and check.node != definition.alias_node:
            continue
        is_same = check.service_id == definition.alias_service
        if check.service_id and not is_same:
            continue
        is_found = is_found or is_same
        if check.status in (CRITICAL, WARNING):
            status = check.status
            output = f'Aliased check "{check.name}" failing: {check.output}'
            output = output[:size_max]
            if status == CRITICAL:
                break
        elif status == PASSING:
            output = "All checks passing."
    return status, output, is_found


def _missing(definition: CheckType) -> str:
    return (
        f"Service {definition.alias_service} could not be found "
        f"on node {definition.alias_node}"
    )


@implementer(ICheckRunner)
class LocalAliasRunner:
    """Follows checks of this agent.

    A change is looked at in the next turn of the reactor, so that any number of
    changes cost one look, and two aliases that follow each other take turns.
    """

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._definition = definition
        self._host = host
        self._timer: IDelayedCall | None = None
        self._end_watch: Callable[[], None] | None = None

    def start(self) -> None:
        """Report at once, then at each change."""
        self._end_watch = self._host.watch_checks(
            self._definition.alias_service, self._changed
        )
        self._update()

    def stop(self) -> None:
        """Stop to follow."""
        if self._end_watch is not None:
            self._end_watch()
            self._end_watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _changed(self) -> None:
        if self._timer is not None:
            self._timer.reset(0)

    def _update(self) -> None:
        self._timer = self._host.reactor.callLater(REFRESH_S, self._update)
        status, output = self._look()
        self._host.report(self._definition.check_id, status, output)

    def _look(self) -> tuple[str, str]:
        checks = self._host.local_checks(self._definition.alias_service)
        if checks is None:
            return CRITICAL, _missing(self._definition)
        # A check of the node that follows the node would hold itself critical.
        others = (c for c in checks if c.check_id != self._definition.check_id)
        status, output, _ = judge(self._definition, others)
        return status, output


@implementer(ICheckRunner)
class RemoteAliasRunner:
    """Follows checks of another node through blocking queries."""

    def __init__(self, definition: CheckType, host: ICheckHost) -> None:
        self._definition = definition
        self._host = host
        self._following: Deferred[None] | None = None

    def start(self) -> None:
        """Ask the servers, and ask again as soon as something changed."""
        self._following = Deferred.fromCoroutine(self._follow())
        self._following.addErrback(lambda failure: failure.trap(CancelledError))
        self._following.addErrback(
            lambda failure: log.failure("alias check is broken", failure)
        )

    def stop(self) -> None:
        """Stop; the query under way is given up."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        failures = 0
        index = 0
        while True:
            if failures > BACKOFF_AFTER:
                await self._pause(min(2.0 ** (failures - BACKOFF_AFTER), BACKOFF_MAX_S))
            try:
                answer: IndexedHealthChecks = await self._ask(
                    "Health.NodeChecks", self._request(index)
                )
            except CancelledError:
                raise
            except Exception as error:
                failures += 1
                if failures > 1:
                    self._report(
                        CRITICAL, f"Failure checking aliased node or service: {error}"
                    )
                # A failure that is known at once must not keep the agent busy.
                await self._pause(0)
                continue
            failures = 0
            # At least 1, so that the next query blocks in any case.
            index = max(answer.index, 1)
            await self._judge(answer.health_checks or [])

    async def _judge(self, checks: list[HealthCheck]) -> None:
        status, output, is_found = judge(self._definition, checks)
        if not is_found and not await self._service_exists():
            status, output = CRITICAL, _missing(self._definition)
        self._report(status, output)

    async def _service_exists(self) -> bool:
        """Ask whether the service is registered; assume so where nobody answers."""
        if not self._definition.alias_service:
            return True
        for attempt in range(1, EXISTS_ATTEMPTS + 1):
            try:
                answer: IndexedNodeServices = await self._ask(
                    "Catalog.NodeServices", self._request(0)
                )
            except CancelledError:
                raise
            except Exception as error:
                log.warn("alias check cannot ask for services: {error}", error=error)
                await self._pause(float(attempt))
                continue
            found = answer.node_services
            services = (found.services or {}) if found is not None else {}
            wanted = self._definition.alias_service
            return any(service.id == wanted for service in services.values())
        return True

    def _request(self, index: int) -> NodeSpecificRequest:
        return NodeSpecificRequest(
            datacenter=self._host.config.datacenter,
            node=self._definition.alias_node,
            token=self._host.check_token(self._definition.check_id),
            allow_stale=True,
            min_query_index=index,
            max_query_time=WAIT_TIME if index else 0,
        )

    async def _ask(self, method: str, request: Struct) -> Any:
        answer = self._host.rpc(method, request)
        if isinstance(answer, Deferred):
            return await within(self._host.reactor, answer, QUERY_TIMEOUT_S)
        return answer

    async def _pause(self, seconds: float) -> None:
        await deferLater(self._host.reactor, seconds)

    def _report(self, status: str, output: str) -> None:
        self._host.report(self._definition.check_id, status, output)
