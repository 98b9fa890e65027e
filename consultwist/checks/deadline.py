"""Waiting no longer than a given time."""

from typing import NoReturn, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")


def within(
    reactor: IReactorTime, awaited: Deferred[T], timeout_s: float
) -> Deferred[T]:
    """Cancel what is awaited after a time; it then fails with `TimeoutError`.

    Unlike ``Deferred.addTimeout`` it does so whatever error the cancelled work makes
    of it, such as that of a connection that was given up.
    """
    return awaited.addTimeout(timeout_s, reactor, onTimeoutCancel=_timed_out)


def _timed_out(_result: object, timeout_s: float) -> NoReturn:
    raise TimeoutError(f"nothing came within {timeout_s} s")
