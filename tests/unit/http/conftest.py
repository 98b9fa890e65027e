"""What the tests of the HTTP layer share."""

from typing import Any

import pytest
from twisted.logger import globalLogPublisher


@pytest.fixture
def logged():
    """Count the failures of a class that were logged."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)

    def count(kind):
        failures = [event["log_failure"] for event in events if "log_failure" in event]
        return len([failure for failure in failures if failure.check(kind)])

    yield count
    globalLogPublisher.removeObserver(observer)
