"""The file that remembers members."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import StorageError
from consultwist.gossip.serf.snapshot import (
    Remembered,
    SnapshotFile,
    alive_line,
    not_alive_line,
    parse_address,
)

VECTOR = Path(__file__).parents[3] / "vectors" / "gossip" / "serf-snapshot.txt"


def replayed(lines, *, rejoin=False):
    found = Remembered()
    found.replay(lines, rejoin_after_leave=rejoin)
    return found


def test_a_snapshot_of_a_stock_agent_is_read():
    """The file of a Consul client that left tells its last members on request."""
    lines = VECTOR.read_text().splitlines(keepends=True)
    at_leave = lines.index("leave\n") + 1
    assert replayed(lines[:at_leave]) == Remembered()
    kept = replayed(lines[:at_leave], rejoin=True)
    assert kept.alive["c1"] == ("127.0.20.1", 8301)
    assert "py7" in kept.alive
    assert "py1" not in kept.alive
    assert kept.clock >= 24
    assert kept.event_clock >= 3


def test_odd_lines_are_skipped():
    """Comments, old records, rubbish: the rest still counts."""
    found = replayed(
        [
            "# comment\n",
            "coordinate: {}\n",
            "alive: two words 10.0.0.1:8301\n",
            "alive: v6 [fe80::1]:8301\n",
            "alive: bad 10.0.0.1\n",
            "alive: bad 10.0.0.1:x\n",
            "alive: \n",
            "clock: 12\n",
            "clock: -1\n",
            "clock: 99999999999999999999999\n",
            "not-alive: nobody\n",
            "nonsense",
        ]
    )
    assert found.alive == {
        "two words": ("10.0.0.1", 8301),
        "v6": ("fe80::1", 8301),
    }
    assert found.clock == 12


@given(st.lists(st.text(max_size=40), max_size=30))
def test_no_file_breaks_the_start(lines):
    """Whatever is in the file, replaying it is safe."""
    replayed(lines)


def test_a_file_is_appended_to_and_read_again(tmp_path):
    """What was written is there after a restart, a leave clears it."""
    path = str(tmp_path / "serf" / "local.snapshot")
    file = SnapshotFile(path, rejoin_after_leave=False)
    file.append([alive_line("a", ("10.0.0.1", 1)), alive_line("b", ("::1", 2))])
    file.append([not_alive_line("a"), "clock: 5\n"])
    file.close()
    again = SnapshotFile(path, rejoin_after_leave=False)
    assert again.remembered.alive == {"b": ("::1", 2)}
    assert again.remembered.clock == 5
    again.append(["leave\n"])
    again.close()
    last = SnapshotFile(path, rejoin_after_leave=False)
    assert last.remembered == Remembered()
    last.close()
    kept = SnapshotFile(path, rejoin_after_leave=True)
    assert kept.remembered.alive == {"b": ("::1", 2)}
    kept.close()


def test_a_file_that_has_grown_is_compacted(tmp_path):
    """The file stays small however often clocks tick, and loses nothing."""
    path = tmp_path / "snapshot"
    file = SnapshotFile(str(path), rejoin_after_leave=False)
    file.append([alive_line("a", ("10.0.0.1", 1))])
    for number in range(20_000):
        file.append([f"clock: {number}\n"])
    file.close()
    assert path.stat().st_size < 130 * 1024
    again = SnapshotFile(str(path), rejoin_after_leave=False)
    assert again.remembered.alive == {"a": ("10.0.0.1", 1)}
    assert again.remembered.clock == 19_999
    again.close()


def test_a_name_cannot_forge_records(tmp_path):
    """A line break inside a member's name is not written."""
    file = SnapshotFile(str(tmp_path / "s"), rejoin_after_leave=False)
    file.append([alive_line("x\nleave\nalive: y", ("10.0.0.1", 1)), "clock: 3\n"])
    file.close()
    assert (tmp_path / "s").read_text() == "clock: 3\n"


def test_a_path_that_cannot_be_used_is_an_error(tmp_path):
    """The operator is told, in one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="serf snapshot"):
        SnapshotFile(str(tmp_path / "file" / "s"), rejoin_after_leave=False)


def test_addresses_are_read_in_both_families():
    """With brackets for IPv6, and nothing else."""
    assert parse_address("[::1]:80") == ("::1", 80)
    for text in ("", ":", "1.2.3.4", ":80", "1.2.3.4:", "1.2.3.4:800000"):
        assert parse_address(text) is None
