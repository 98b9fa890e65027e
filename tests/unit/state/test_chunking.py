"""The extensions that say where a chunk belongs."""

import pytest

from consultwist.errors import WireError
from consultwist.state.chunking import ChunkPlace

_UINT64_MAX = 2**64 - 1


def test_places_are_read_as_they_were_written():
    """Up to the largest number that the fields hold."""
    place = ChunkPlace(_UINT64_MAX, 1, 3)
    assert ChunkPlace.decode(place.encode()) == place


@pytest.mark.parametrize(
    "extensions",
    [
        b"\x08",
        b"\x08\xff",
        b"\x08" + b"\xff" * 10,
        b"\x08" + b"\xff" * 9 + b"\x02",
        b"\x28\x01",
        b"\x0d\0\0\0\0",
    ],
    ids=["no value", "cut", "endless", "over 64 bits", "unknown field", "wrong kind"],
)
def test_malformed_extensions_are_refused(extensions):
    """A number that no field holds could not be written into a snapshot again."""
    with pytest.raises(WireError, match="malformed"):
        ChunkPlace.decode(extensions)
