"""What asks for a snapshot of the state, and what comes before the archive."""

from typing import Final

from consultwist.structs.query import QueryMeta
from consultwist.wire.struct import Struct

#: What a request wants: an archive, or to have one put in place.
SAVE: Final = 0
RESTORE: Final = 1


class SnapshotRequest(Struct):
    """Asks for an archive of the state, or to put one in place."""

    datacenter: str = ""
    token: str = ""
    allow_stale: bool = False
    op: int = SAVE


class SnapshotResponse(QueryMeta):
    """What is said before an archive is sent, or after one was put in place."""

    error: str = ""
