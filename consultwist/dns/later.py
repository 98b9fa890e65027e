"""Values that may be known at once, or only later."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, gatherResults

T = TypeVar("T")
U = TypeVar("U")


def when_known(
    value: T | Deferred[T], then: Callable[[T], U | Deferred[U]]
) -> U | Deferred[U]:
    """Call a function with a value: now where it is known, else when it fires."""
    if isinstance(value, Deferred):
        return value.addCallback(then)
    return then(value)


def when_all_known(values: Sequence[T | Deferred[T]]) -> list[T] | Deferred[list[T]]:
    """Return the values in their order: now where all are known, else later."""
    waiting = [value for value in values if isinstance(value, Deferred)]
    if not waiting:
        return [value for value in values if not isinstance(value, Deferred)]

    def fill(found: list[T]) -> list[T]:
        rest = iter(found)
        return [next(rest) if isinstance(v, Deferred) else v for v in values]

    return gatherResults(waiting, consumeErrors=True).addCallback(fill)
