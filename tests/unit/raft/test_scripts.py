"""Raft's rules as scripts with expected traces: ``tests/scripts/raft``."""

from pathlib import Path

import pytest

from consultwist.testing import datadriven
from consultwist.testing.raft_script import RaftScript

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts" / "raft").glob("*.txt"))


def test_there_are_scripts() -> None:
    """A moved folder must not make the tests vanish."""
    assert len(SCRIPTS) > 10


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_rule_holds(path: Path, rewrite: bool) -> None:
    """Every command has the output that the script says."""
    datadriven.run(path, RaftScript().execute, rewrite=rewrite)
