"""Python programs that use Consul through a client library work with our agent.

``py-consul`` and ``python-consul`` both call their package ``consul``, so each is
installed into a folder of its own (``make venv-test`` does) and runs in a process of
its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from consultwist.testing.processes import RunningAgent, wait_until

pytestmark = [pytest.mark.compat, pytest.mark.blackbox]

LIBRARIES = Path(sys.prefix) / "clients"
PROGRAM = Path(__file__).with_name("client_scenarios.py")

#: The names of the scenarios in that program; the test cannot import it.
SCENARIOS = (
    "register_and_discover",
    "store_keys",
    "block",
    "sessions",
    "lock",
    "look_around",
)


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """One agent for all scenarios."""
    with RunningAgent(tmp_path_factory.mktemp("agent")) as running:
        wait_until(lambda: running.http("GET", "/v1/catalog/nodes").json)
        yield running


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("library", ["py-consul", "python-consul"])
def test_scenario(agent, library, scenario):
    """The library gets what its documentation promises."""
    folder = LIBRARIES / library
    if not folder.is_dir():
        pytest.skip(f"{library} is not installed; make venv-test does that")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), scenario, agent.address],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
