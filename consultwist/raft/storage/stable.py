"""The current term and the vote in it, in a small file that is replaced whole.

A server that forgot its vote could vote twice in a term: the file is durable before
the vote is told to anyone.
"""

import zlib
from pathlib import Path
from typing import Final

import attrs

from consultwist.errors import StorageError, WireError
from consultwist.raft.storage import files
from consultwist.wire.struct import Struct

_MAGIC: Final = b"CWSTATE1"


class HardState(Struct):
    """The term, and the address of whom this server voted for in it."""

    term: int = 0
    vote: str = ""


@attrs.frozen
class StableStore:
    """The file of term and vote."""

    path: Path

    def load(self) -> HardState:
        """Return what was saved last; a server without the file never voted.

        Raises:
            StorageError: where the file is damaged.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return HardState()
        head = len(_MAGIC) + 4
        crc = zlib.crc32(content[head:]).to_bytes(4, "little")
        if content[:head] != _MAGIC + crc:
            raise StorageError(f"{self.path}: term and vote are damaged")
        try:
            return HardState.unpack(content[head:])
        except WireError as error:
            raise StorageError(f"{self.path}: {error}") from error

    def save(self, state: HardState) -> None:
        """Make term and vote durable."""
        packed = state.pack()
        crc = zlib.crc32(packed).to_bytes(4, "little")
        files.write_atomically(self.path, _MAGIC + crc + packed)
