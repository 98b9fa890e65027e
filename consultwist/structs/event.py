"""User events."""

from typing import Any

import msgpack

from consultwist.errors import WireError
from consultwist.structs.query import QueryMeta, QueryOptions
from consultwist.wire.msgpack import unpack
from consultwist.wire.struct import Struct


class UserEvent(Struct):
    """An event that an agent fired, as the API shows it.

    The filters are regular expressions: of node names, service ids and their tags.
    """

    id: str = ""
    name: str = ""
    payload: bytes | None = None
    node_filter: str = ""
    service_filter: str = ""
    tag_filter: str = ""
    version: int = 0
    l_time: int = 0


class EventFireRequest(QueryOptions):
    """Asks a server to fire a user event."""

    datacenter: str = ""
    name: str = ""
    payload: bytes | None = None


class EventFireResponse(QueryMeta):
    """Says that a user event was fired."""


#: Short names of the fields that gossip carries, in the order in which they are
#: written; those in the second group are left out where they are empty.
_ALWAYS = (("ID", "id"), ("n", "name"))
_SOMETIMES = (
    ("nf", "node_filter"),
    ("p", "payload"),
    ("sf", "service_filter"),
    ("tf", "tag_filter"),
)

#: Unlike everything else of Consul's, these payloads are of the new specification,
#: which tells text from bytes.
_packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape")


def encode_event(event: UserEvent) -> bytes:
    """Return the payload that gossip carries for an event."""
    fields: dict[str, Any] = {name: getattr(event, field) for name, field in _ALWAYS}
    for name, field in _SOMETIMES:
        value = getattr(event, field)
        if value:
            fields[name] = value
    fields["v"] = event.version
    packed: bytes = _packer.pack(fields)
    return packed


def decode_event(payload: bytes, l_time: int) -> UserEvent:
    """Return the event that a payload of gossip stands for.

    Raises:
        WireError: where it is none.
    """
    fields = unpack(payload)
    if not isinstance(fields, dict):
        raise WireError("event: a map was expected")
    return UserEvent(
        id=_text(fields, b"ID"),
        name=_text(fields, b"n"),
        payload=_raw(fields, b"p") or None,
        node_filter=_text(fields, b"nf"),
        service_filter=_text(fields, b"sf"),
        tag_filter=_text(fields, b"tf"),
        version=_number(fields, b"v"),
        l_time=l_time,
    )


def _raw(fields: dict[Any, Any], name: bytes) -> bytes:
    # Keys are texts in the new specification, whose raw form is bytes here as well.
    value = fields.get(name) or b""
    if not isinstance(value, bytes):
        raise WireError(f"event: bytes were expected for {name.decode()}")
    return value


def _text(fields: dict[Any, Any], name: bytes) -> str:
    return _raw(fields, name).decode("utf-8", "surrogateescape")


def _number(fields: dict[Any, Any], name: bytes) -> int:
    value = fields.get(name) or 0
    if not isinstance(value, int):
        raise WireError(f"event: a number was expected for {name.decode()}")
    return value
