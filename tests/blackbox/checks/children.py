"""Child processes that run checks, and the servers that they check."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ADDRESS = "127.76.0.10"


def run_checks(
    checks: list[dict[str, Any]], *, path: str = "", **asked: Any
) -> dict[str, Any]:
    """Run checks in a child until each has reported; return what it printed."""
    found = os.pathsep.join(part for part in (path, str(ROOT)) if part)
    child = subprocess.run(
        [sys.executable, HERE / "driver.py"],
        input=json.dumps({"checks": checks} | asked),
        env=os.environ | {"PYTHONPATH": found},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    printed: dict[str, Any] = json.loads(child.stdout)
    return printed


@contextmanager
def servers(tls: dict[str, dict[str, str]] | None = None) -> Iterator[dict[str, int]]:
    """Start servers in a child; give their ports by name."""
    child = subprocess.Popen(
        [sys.executable, HERE / "server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps({"address": ADDRESS, "tls": tls or {}}) + "\n")
        child.stdin.flush()
        yield json.loads(child.stdout.readline())
    finally:
        child.stdin.close()
        child.wait(10)
        child.stdout.close()
