"""The data directory: permissions, lock, node id."""

import random
import stat

import pytest

from consultwist.errors import ConfigError
from consultwist.tap.data_dir import DataDirectory, uuid_problem, write_private

RNG = random.Random(1)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_directory_and_files_are_private(tmp_path):
    """Only the agent's user may look inside."""
    directory = DataDirectory(tmp_path / "a" / "data")
    directory.open()
    directory.node_id(RNG, from_machine=False)
    directory.close()
    assert mode(directory.path) == 0o700
    assert {mode(file) for file in directory.path.iterdir()} == {0o600}


def test_second_agent_is_kept_out(tmp_path):
    """Two agents on one directory would destroy each other's state."""
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.open()
    with pytest.raises(ConfigError, match="is in use by another agent"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_directory_that_cannot_be_made(tmp_path):
    """A file in the way is named."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="data_dir cannot be used"):
        DataDirectory(tmp_path / "file" / "data").open()


def test_node_id_stays(tmp_path):
    """A node keeps its id across restarts."""
    directory = DataDirectory(tmp_path)
    made = directory.node_id(RNG, from_machine=False)
    assert uuid_problem(made) == ""
    assert directory.node_id(RNG, from_machine=False) == made


def test_node_id_of_a_stock_agent_is_taken_over(tmp_path):
    """An agent may follow a stock one on its data directory."""
    node_id = "98D82002-3535-f566-6f3f-5dcb802fb11c"
    (tmp_path / "node-id").write_text(node_id)
    found = DataDirectory(tmp_path).node_id(RNG, from_machine=False)
    assert found == node_id.lower()


def test_broken_node_id_is_refused(tmp_path):
    """An agent with another id would be a stranger to its own catalog entry."""
    (tmp_path / "node-id").write_text("zz")
    with pytest.raises(ConfigError, match="is invalid: uuid string is wrong length"):
        DataDirectory(tmp_path).node_id(RNG, from_machine=False)


def test_id_from_the_machine_is_always_the_same(tmp_path):
    """Without a data directory of before, the machine tells who it is."""
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        directory = DataDirectory(tmp_path / name)
        ids.append(directory.node_id(RNG, from_machine=True))
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("zz", "uuid string is wrong length"),
        ("98d82002_3535_f566_6f3f_5dcb802fb11c", "uuid is improperly formatted"),
        ("98d82002-3535-f566-6f3f-5dcb802fb11c", ""),
    ],
)
def test_uuid_problem(text, problem):
    """The words are Consul's."""
    assert uuid_problem(text) == problem


def test_replacing_a_file_leaves_nothing_beside_it(tmp_path):
    """A shorter text replaces a longer one wholly."""
    write_private(tmp_path / "f", b"long text")
    write_private(tmp_path / "f", b"short")
    assert [file.name for file in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"short"
