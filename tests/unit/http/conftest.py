"""What the tests of the HTTP layer share."""

import pytest
from twisted.logger import globalLogPublisher


@pytest.fixture
def logged():
    """Count the failures of a class that were logged."""
    events = []
    globalLogPublisher.addObserver(events.append)

    def count(kind):
        return sum(
            1
            for event in events
            if "log_failure" in event and event["log_failure"].check(kind)
        )

    yield count
    globalLogPublisher.removeObserver(events.append)
