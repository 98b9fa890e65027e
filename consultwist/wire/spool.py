"""Files for what is too large for memory while it comes in or goes out."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

#: What is read at once.
PIECE_BYTES: Final = 64 * 1024

#: What is smaller is kept in memory.
_MEMORY_BYTES: Final = 1024 * 1024


def open_spool(folder: str) -> BinaryIO:
    """Return a file that vanishes when it is closed; small ones stay in memory.

    Args:
        folder: where large ones lie; if it is not there, the system's temporary folder.
    """
    place = folder if folder and Path(folder).is_dir() else None
    spool = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=place)  # noqa: SIM115 - the caller closes it
    return cast(BinaryIO, spool)


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield what a file holds, from its beginning."""
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece
