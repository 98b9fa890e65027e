"""Runs checks on a real reactor until each has reported, and prints the reports.

Reads from standard input ``{"config": {...}, "checks": [{...}, ...], "wait_s": ...}``,
the checks by the field names of `CheckType`; writes by check id ``[status, output]``.
"""

import json
import random
import sys
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor as installed  # noqa: TID251 - this is a program
from twisted.plugin import getPlugins
from zope.interface import implementer

from consultwist.checks.definition import validate, with_limits
from consultwist.checks.selection import CheckTypes
from consultwist.clock import SystemClock
from consultwist.interfaces import ICheckHost, ICheckType
from consultwist.structs.catalog import CheckType, HealthCheck

DEFAULTS = {
    "node_name": "n76",
    "datacenter": "dc1",
    "ca_file": "",
    "ca_path": "",
    "cert_file": "",
    "key_file": "",
    "server_name": "",
    "tls_min_version": "tls12",
    "enable_agent_tls_for_checks": False,
    "check_output_max_size": 4096,
    "check_deregister_interval_min": 60.0,
}


@implementer(ICheckHost)
class Host:
    """A host that ends the program when all checks have reported."""

    def __init__(self, config: dict[str, Any], awaited: set[str]) -> None:
        self.reactor: Any = installed
        self.clock = SystemClock()
        self.rng = random.Random(1)
        self.config = SimpleNamespace(**DEFAULTS | config)
        self.reports: dict[str, tuple[str, str]] = {}
        self._awaited = awaited

    def report(self, check_id: str, status: str, output: str) -> None:
        """Keep the last report of each check."""
        self.reports[check_id] = (status, output)
        self._awaited.discard(check_id)
        if not self._awaited and self.reactor.running:
            self.reactor.stop()

    def rpc(self, method: str, request: Any) -> Any:
        """There are no servers."""
        raise RuntimeError("No known Consul servers")

    def check_token(self, check_id: str) -> str:
        """There are no tokens."""
        return ""

    def local_checks(self, service_id: str) -> list[HealthCheck] | None:
        """There are no services."""
        return None

    def watch_checks(self, service_id: str, changed: Any) -> Any:
        """Nothing changes."""
        return lambda: None


def main() -> None:
    """Run what standard input asks for."""
    asked = json.load(sys.stdin)
    definitions = [CheckType(**fields) for fields in asked["checks"]]
    host = Host(asked.get("config", {}), {d.check_id for d in definitions})
    types = CheckTypes(getPlugins(ICheckType))
    runners = []
    for definition in definitions:
        validate(definition)
        limited = with_limits(definition, host.config)  # type: ignore[arg-type]  # has what is read
        runners.append(types.make_runner(limited, host))
    for runner in runners:
        host.reactor.callWhenRunning(runner.start)
    host.reactor.callLater(asked.get("wait_s", 10), host.reactor.stop)
    host.reactor.run()
    for runner in runners:
        runner.stop()
    json.dump({"kinds": types.kinds(), "reports": host.reports}, sys.stdout)


if __name__ == "__main__":
    main()
