"""Intentions: which service may talk to which."""

from typing import Annotated

from consultwist.structs.query import RaftIndex, WriteRequest
from consultwist.wire.struct import Field
from consultwist.wire.time import ZERO_TIME, Time


class Intention(RaftIndex):
    """Whether a source service may connect to a destination."""

    id: str = ""
    description: Annotated[str, Field(omit_empty=True)] = ""
    source_ns: str = ""
    source_name: str = ""
    destination_ns: str = ""
    destination_name: str = ""
    source_type: str = ""
    action: str = ""
    default_addr: Annotated[str, Field(json="-")] = ""
    default_port: Annotated[int, Field(json="-")] = 0
    meta: dict[str, str] | None = None
    precedence: int = 0
    created_at: Time = ZERO_TIME
    updated_at: Time = ZERO_TIME
    hash: bytes | None = None


class IntentionRequest(WriteRequest):
    """Creates, changes or deletes an intention."""

    datacenter: str = ""
    op: str = ""
    intention: Intention | None = None
