"""Services and checks of files that the agent could not register.

The texts are those of Consul's log, which shows a check as Go prints its structure.
"""

from typing import Any

from consultwist import durations
from consultwist.checks.definition import validate
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import BadRequest, ConfigError
from consultwist.structs.catalog import CheckType
from consultwist.structs.check_definition import CheckDefinition
from consultwist.structs.check_extensions import is_unused
from consultwist.wire.struct import field_specs

_SCRIPTS_DISABLED = (
    "Scripts are disabled on this agent; to enable, configure "
    "'enable_script_checks' or 'enable_local_script_checks' to true"
)

_DURATIONS = ("interval", "timeout", "ttl", "deregister_critical_service_after")


def check_definitions(config: RuntimeConfig) -> None:
    """Refuse definitions that cannot be registered.

    Raises:
        ConfigError: naming the service or check.
    """
    for service in config.services:
        if not service.name:
            raise ConfigError('Failed to register service "": Service name missing')
        for check in service.checks or ():
            problem = _check_problem(check)
            if problem:
                raise ConfigError(
                    f'Failed to validate checks for service "{service.name}": {problem}'
                )
            if _runs_script(check) and not config.enable_local_script_checks:
                raise ConfigError(
                    f'Failed to register service "{service.name}": {_SCRIPTS_DISABLED}'
                )
    for definition in config.checks:
        check = definition.check_type()
        problem = _check_problem(check)
        if problem:
            problem = f"Check is not valid: {problem}"
        elif _runs_script(check) and not config.enable_local_script_checks:
            problem = _SCRIPTS_DISABLED
        if problem:
            raise ConfigError(
                f"Failed to register check '{definition.name}': {problem} "
                f"{_go_text(definition)}"
            )


def _check_problem(check: CheckType) -> str:
    try:
        validate(check)
    except BadRequest as error:
        return str(error)
    return ""


def _runs_script(check: CheckType) -> bool:
    return bool(check.script_args)


def _go_text(definition: CheckDefinition) -> str:
    """Return a definition as Go's %v prints it: the values, in the order declared."""
    values = [
        _go_value(spec.attribute, getattr(definition, spec.attribute))
        for spec in field_specs(CheckDefinition)
        if not is_unused(definition, spec.attribute)
    ]
    return f"&{{{' '.join(values)} {{}}}}"


def _go_value(name: str, value: Any) -> str:
    if name in _DURATIONS:
        return durations.render(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(_go_value('', element) for element in value)}]"
    if isinstance(value, dict):
        pairs = (f"{key}:{_go_value('', value[key])}" for key in sorted(value))
        return f"map[{' '.join(pairs)}]"
    return str(value)
