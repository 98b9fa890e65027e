"""A host for checks whose time stands still until a test advances it."""

import random
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from consultwist.interfaces import ICheckHost
from consultwist.structs.catalog import HealthCheck
from consultwist.testing.clock import ReactorClock


@implementer(ICheckHost)
class RecordingHost:
    """Writes down what is reported; answers from what a test has laid down."""

    def __init__(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.clock = ReactorClock(self.reactor)
        self.rng = random.Random(7)
        self.config = SimpleNamespace(
            node_name="n1",
            datacenter="dc1",
            ca_file="",
            ca_path="",
            cert_file="",
            key_file="",
            server_name="",
            tls_min_version="tls12",
            enable_agent_tls_for_checks=False,
            enable_local_script_checks=False,
            enable_remote_script_checks=False,
            check_output_max_size=4096,
            check_deregister_interval_min=60.0,
        )
        self.reports: list[tuple[str, str, str]] = []
        self.answers: list[Any] = []
        self.requests: list[tuple[str, Any]] = []
        self.checks: list[HealthCheck] | None = []
        self.watchers: list[Any] = []

    def report(self, check_id: str, status: str, output: str) -> None:
        """Write down a report."""
        self.reports.append((check_id, status, output))

    def rpc(self, method: str, request: Any) -> Any:
        """Give the next answer; an exception is raised."""
        self.requests.append((method, request))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def check_token(self, check_id: str) -> str:
        """Give every check a token that shows where it was used."""
        return f"token of {check_id}"

    def local_checks(self, service_id: str) -> list[HealthCheck] | None:
        """Return what a test has laid down."""
        return self.checks

    def watch_checks(self, service_id: str, changed: Any) -> Any:
        """Remember who wants to hear of changes."""
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)


@pytest.fixture
def host() -> RecordingHost:
    """A host whose reports can be read."""
    made = RecordingHost()
    verifyObject(ICheckHost, made)
    return made
