"""On a real reactor long turns are found, and metrics leave for a statsd server."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.blackbox

HERE = Path(__file__).parent
ADDRESS = "127.76.0.11"


def test_long_turns_are_found_and_sent():
    """Waiting is no turn, work is; what is too long reaches the statsd server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((ADDRESS, 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        child = subprocess.run(
            [sys.executable, HERE / "driver.py", f"{ADDRESS}:{port}"],
            env=os.environ | {"PYTHONPATH": str(HERE.parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        found = json.loads(child.stdout)
        data = server.recv(65536)
    # The reactor waits up to 0.3 s here without that being a turn.
    assert found["seen"]["idle"] < 0.2
    assert 0.02 <= found["seen"]["busy"] < 0.2
    assert found["seen"]["too busy"] >= 0.2
    assert found["slow"] >= 1
    assert b"consul.runtime.slow_turn:2" in data
    assert data.endswith(b"|ms\n")
