"""The encryption keys of the gossip pools."""

from typing import Annotated

from consultwist.structs.query import QueryMeta, QueryOptions
from consultwist.wire.struct import Field, Struct


class KeyringRequest(QueryOptions):
    """Asks servers to list or change the keys of their pools."""

    operation: str = ""
    key: str = ""
    datacenter: str = ""
    forwarded: bool = False
    relay_factor: int = 0
    local_only: bool = False


class KeyringResponse(Struct):
    """What the members of one pool answered."""

    wan: Annotated[bool, Field(name="WAN")] = False
    datacenter: str = ""
    segment: str = ""
    messages: Annotated[dict[str, str] | None, Field(omit_empty=True)] = None
    keys: dict[str, int] | None = None
    primary_keys: dict[str, int] | None = None
    num_nodes: int = 0
    error: Annotated[str, Field(omit_empty=True)] = ""


class KeyringResponses(QueryMeta):
    """What the members of all pools answered."""

    responses: list[KeyringResponse] | None = None
