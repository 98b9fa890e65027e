"""Spools keep what is small in memory, and what is large in a folder."""

import os
from pathlib import Path

import pytest

from consultwist.wire.spool import PIECE_BYTES, open_spool, pieces_of


def test_a_spool_gives_back_what_it_took(tmp_path):
    """Piece by piece from the beginning, as often as is wanted."""
    content = os.urandom(3 * PIECE_BYTES + 7)
    with open_spool(str(tmp_path)) as spool:
        spool.write(content)
        for _ in range(2):
            pieces = list(pieces_of(spool))
            assert b"".join(pieces) == content
            assert max(map(len, pieces)) == PIECE_BYTES


def test_what_is_large_lies_in_the_folder_without_a_name(tmp_path):
    """It is gone with its last user, even if that is killed."""
    with open_spool(str(tmp_path)) as spool:
        spool.write(bytes(2 * 1024 * 1024))
        place = str(Path(f"/proc/self/fd/{spool.fileno()}").readlink())
        assert place.startswith(str(tmp_path))
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["", "/does/not/exist"])
def test_without_a_folder_the_systems_own_is_taken(folder):
    """As for agents that keep nothing on the disk."""
    with open_spool(folder) as spool:
        spool.write(bytes(2 * 1024 * 1024))
        assert len(b"".join(pieces_of(spool))) == 2 * 1024 * 1024
