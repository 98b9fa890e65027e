"""What a check definition may say, what it means, and the row that it begins with.

The texts of the errors, the order in which mistakes are looked for and the order in
which one of several sources wins are those of Consul 1.8.7. A definition that names
two sources is accepted there, so it is here.
"""

import msgspec
from twisted.logger import Logger

from consultwist import durations
from consultwist.checks.expectations import Expectations
from consultwist.checks.outcome import CRITICAL, PASSING, WARNING
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import BadRequest, ConsultwistError
from consultwist.structs.catalog import CheckType, HealthCheck, NodeService
from consultwist.structs.check_definition import CheckDefinition

log = Logger()

#: The least interval of a check; Consul raises lower ones.
INTERVAL_MIN = 1 * durations.SECOND

#: The output kept of a check that asks for no size of its own: Consul's buffer size.
OUTPUT_SIZE_DEFAULT = 4096

_STATUSES = (PASSING, WARNING, CRITICAL)


def validate(check: CheckType) -> None:
    """Refuse a definition that says how it runs in a way that makes no sense.

    Raises:
        BadRequest: with Consul's text; callers put their own words before it
            (``Invalid check: `` in the HTTP API).
    """
    probes = runs_at_interval(check)
    is_alias = bool(check.alias_node or check.alias_service)
    if check.interval > 0 and check.ttl > 0:
        raise BadRequest("Interval and TTL cannot both be specified")
    if probes and check.interval <= 0:
        raise BadRequest(f"Interval must be > 0 for {_interval_types(check)} checks")
    if probes and is_alias:
        raise BadRequest("Interval cannot be set for Alias checks")
    if is_alias and check.ttl > 0:
        raise BadRequest("TTL must be not be set for Alias checks")
    if not probes and not is_alias and check.ttl <= 0:
        raise BadRequest("TTL must be > 0 for TTL checks")
    if check.output_max_size < 0:
        raise BadRequest("MaxOutputMaxSize must be positive")
    if check.failures_before_critical < check.failures_before_warning:
        raise BadRequest(
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        )
    Expectations.of(check)


def runs_at_interval(check: CheckType) -> bool:
    """Tell whether a definition names something that is probed again and again."""
    return bool(
        check.script_args
        or check.http
        or check.tcp
        or check.grpc
        or _is_of_later_type(check)
    )


def _is_of_later_type(check: CheckType) -> bool:
    return bool(check.udp or check.h2ping or check.os_service)


def _interval_types(check: CheckType) -> str:
    """Return whom an interval is asked of, in the words of who first had the type."""
    if _is_of_later_type(check):
        return "Script, HTTP, H2PING, TCP, UDP or OSService"
    return "Script, HTTP, or TCP"


def is_status(status: str) -> bool:
    """Tell whether a check may have this status: passing, warning or critical."""
    return status in _STATUSES


def kind_of(check: CheckType) -> str:
    """Return the ``Type`` that the catalog shows for a definition, or nothing."""
    sources = (
        ("grpc", check.grpc),
        ("http", check.http),
        ("ttl", check.ttl > 0),
        ("tcp", check.tcp),
        ("udp", check.udp),
        ("h2ping", check.h2ping),
        ("os_service", check.os_service),
        ("alias", check.alias_node or check.alias_service),
        ("docker", check.script_args and check.docker_container_id),
        ("script", check.script_args),
    )
    return next((kind for kind, source in sources if source), "")


def with_limits(check: CheckType, config: RuntimeConfig) -> CheckType:
    """Return a definition with its intervals and sizes within what is allowed.

    Too short times are raised, with a warning in the log; the output size becomes the
    default or is cut to the agent's ``check_output_max_size``. The check id is filled
    from the name where it is missing.
    """
    changes: dict[str, object] = {}
    if runs_at_interval(check) and check.interval < INTERVAL_MIN:
        log.warn(
            "check has interval below 1s: check={check}",
            check=check.check_id,
        )
        changes["interval"] = INTERVAL_MIN
    least = round(config.check_deregister_interval_min * durations.SECOND)
    if 0 < check.deregister_critical_service_after < least:
        log.warn(
            "check has deregister interval below {least}: check={check}",
            check=check.check_id,
            least=durations.render(least),
        )
        changes["deregister_critical_service_after"] = least
    cap = max(1, config.check_output_max_size)
    changes["output_max_size"] = min(check.output_max_size or OUTPUT_SIZE_DEFAULT, cap)
    if not check.check_id:
        changes["check_id"] = check.name
    return msgspec.structs.replace(check, **changes)


def require_scripts(check: CheckType, config: RuntimeConfig, *, remote: bool) -> None:
    """Refuse a check that runs commands where the agent has not opted in.

    Args:
        check: the definition.
        config: says what the agent allows.
        remote: whether the definition came in through the HTTP API.

    Raises:
        ConsultwistError: with Consul's text; a 500 in the HTTP API.
    """
    if not check.script_args:
        return
    if remote and not config.enable_remote_script_checks:
        raise ConsultwistError(
            "Scripts are disabled on this agent from remote calls; "
            "to enable, configure 'enable_script_checks' to true"
        )
    if not remote and not config.enable_local_script_checks:
        raise ConsultwistError(
            "Scripts are disabled on this agent; to enable, configure "
            "'enable_script_checks' or 'enable_local_script_checks' to true"
        )


def node_check_row(definition: CheckDefinition, node: str) -> HealthCheck:
    """Return the row that a definition standing for itself begins with.

    Its ``Type`` is empty, as in Consul; the HTTP API fills it by `kind_of`.
    """
    return HealthCheck(
        node=node,
        check_id=definition.id or definition.name,
        name=definition.name,
        status=definition.status or CRITICAL,
        notes=definition.notes,
        service_id=definition.service_id,
    )


def service_check_row(
    check: CheckType, service: NodeService, node: str, *, number: int, count: int
) -> HealthCheck:
    """Return the row that a check inside a service definition begins with.

    Args:
        check: the definition.
        service: the instance that it belongs to.
        node: the name of this agent's node.
        number: which of the service's checks it is, from 1.
        count: how many checks the service has; ids are numbered where several.
    """
    suffix = f":{number}" if count > 1 else ""
    return HealthCheck(
        node=node,
        check_id=check.check_id or f"service:{service.id}{suffix}",
        name=check.name or f"Service '{service.service}' check",
        status=check.status or CRITICAL,
        notes=check.notes,
        service_id=service.id,
        service_name=service.service,
        service_tags=service.tags,
        type=kind_of(check),
    )
