"""CheckTypes: which of the plugins runs a check definition."""

from collections.abc import Iterable

from consultwist.errors import BadRequest, ConfigError
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

#: A definition may name several sources; in Consul the first of these runs. Types of
#: releases after 1.8 stand behind the others that run at an interval.
_ORDER = (
    "ttl",
    "http",
    "tcp",
    "grpc",
    "docker",
    "script",
    "udp",
    "h2ping",
    "os_service",
    "alias",
)


class CheckTypes:
    """The check types that this agent has, in the order in which they are asked.

    Types of third parties are asked before the built-in ones, by name, because a
    definition has no other fields than Consul's: what is special about theirs is
    written inside one of those, such as a URL with a scheme of their own.
    """

    def __init__(self, plugins: Iterable[ICheckType]) -> None:
        """Take the plugins that discovery found.

        Raises:
            ConfigError: where two plugins claim the same kind.
        """
        by_kind: dict[str, ICheckType] = {}
        for plugin in plugins:
            other = by_kind.setdefault(plugin.kind, plugin)
            if other is not plugin:
                raise ConfigError(
                    f"two plugins claim the check type {plugin.kind!r}: "
                    f"{type(other).__module__} and {type(plugin).__module__}"
                )
        self._types = sorted(by_kind.values(), key=_rank)

    def kinds(self) -> list[str]:
        """Return the kinds, in the order in which they are asked."""
        return [plugin.kind for plugin in self._types]

    def find(self, definition: CheckType) -> ICheckType:
        """Return the type that runs a definition.

        Raises:
            BadRequest: where no plugin takes it.
        """
        for plugin in self._types:
            if plugin.takes(definition):
                return plugin
        raise BadRequest(f"No check type takes the definition of {definition.name!r}")

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what runs a definition; see `ICheckType.make_runner`."""
        return self.find(definition).make_runner(definition, host)


def _rank(plugin: ICheckType) -> tuple[int, str]:
    kind: str = plugin.kind
    return (_ORDER.index(kind) + 1 if kind in _ORDER else 0), kind
