"""Looking into a Deferred without a reactor, in the manner of trial's test case."""

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def result_of(deferred: Deferred[T]) -> T:
    """Return the result that a Deferred has already; a failure is raised."""
    results = _results(deferred)
    assert results, "the Deferred has no result yet"
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def failure_of(deferred: Deferred[Any], *kinds: type[BaseException]) -> BaseException:
    """Return the exception that a Deferred has failed with, which is of these kinds."""
    results = _results(deferred)
    assert results, "the Deferred has no result yet"
    failure = results[0]
    assert isinstance(failure, Failure), f"the Deferred has not failed: {failure!r}"
    assert not kinds or failure.check(*kinds), failure.getTraceback()
    assert failure.value is not None
    return failure.value


def no_result_of(deferred: Deferred[Any]) -> None:
    """Insist that a Deferred has no result yet; it stays usable."""
    results: list[object] = []

    def look(result: object) -> object:
        results.append(result)
        return result

    deferred.addBoth(look)
    assert not results, f"the Deferred has a result: {results[0]!r}"


def _results(deferred: Deferred[T]) -> list[T | Failure]:
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    return results
