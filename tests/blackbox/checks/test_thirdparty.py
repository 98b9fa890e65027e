"""A check type of another distribution is found and runs like a built-in one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blackbox.checks.children import run_checks

pytestmark = pytest.mark.blackbox

SOURCE = Path(__file__).parents[2] / "thirdparty" / "acme_checks"
S = 1_000_000_000


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build and install the distribution into a folder of its own."""
    folder = tmp_path_factory.mktemp("acme")
    source, target = folder / "source", folder / "target"
    shutil.copytree(SOURCE, source)
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, source],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return target


def definition(folder, files_max):
    """Return the definition of a check of a folder."""
    return {
        "check_id": "spool",
        "http": f"acme-folder:{folder}?max={files_max}",
        "interval": S,
    }


def test_an_installed_type_is_found_and_runs(installed, tmp_path):
    """The agent asks the third party's type first, and reports what it finds."""
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    found = run_checks([definition(tmp_path, 5)], path=str(installed))
    assert found["kinds"][0] == "acme-folder"
    assert found["reports"] == {"spool": ["passing", "3 of 5 files"]}
    found = run_checks([definition(tmp_path, 2)], path=str(installed))
    assert found["reports"] == {"spool": ["warning", "3 of 2 files"]}


def test_built_in_types_run_beside_it(installed):
    """Other definitions are not touched by the third party's type."""
    script = {"check_id": "s", "script_args": ["true"], "interval": S}
    found = run_checks([script], path=str(installed))
    assert found["reports"] == {"s": ["passing", ""]}


def test_without_the_distribution_there_is_no_such_type(tmp_path):
    """Where it is not installed its URL is one that HTTP does not know."""
    found = run_checks([definition(tmp_path, 2)])
    assert "acme-folder" not in found["kinds"]
    status, output = found["reports"]["spool"]
    assert status == "critical"
    assert 'unsupported protocol scheme "acme-folder"' in output
