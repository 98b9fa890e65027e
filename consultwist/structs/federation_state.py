"""Federation states: what each datacenter tells the others of its mesh gateways."""

from consultwist.structs.catalog import CheckServiceNode
from consultwist.structs.query import RaftIndex, WriteRequest
from consultwist.wire.time import ZERO_TIME, Time


class FederationState(RaftIndex):
    """The mesh gateways of one datacenter.

    ``primary_modify_index`` is the index of the last change in the primary datacenter,
    which the copies in the others keep.
    """

    datacenter: str = ""
    mesh_gateways: list[CheckServiceNode] | None = None
    updated_at: Time = ZERO_TIME
    primary_modify_index: int = 0


class FederationStateRequest(WriteRequest):
    """Stores or deletes the federation state of a datacenter."""

    datacenter: str = ""
    op: str = ""
    state: FederationState | None = None
