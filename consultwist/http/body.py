"""Request bodies to records."""

from typing import TypeVar

from consultwist.errors import BadRequest, WireError
from consultwist.http.messages import Request
from consultwist.wire import json_decode
from consultwist.wire.struct import Struct

Record = TypeVar("Record", bound=Struct)

#: How most endpoints begin their refusal of a body.
REFUSAL = "Request decode failed"


def decode_body(
    request: Request,
    cls: type[Record],
    refusal: str = REFUSAL,
    *,
    strict: bool = True,
    name: str | None = None,
) -> Record:
    """Return the record that the body of a request stands for.

    Args:
        request: the request.
        cls: the class of the record.
        refusal: what the error begins with.
        strict: whether unknown fields are refused.
        name: see `json_decode.decode`.

    Raises:
        BadRequest: where the body is not JSON or does not fit the record.
    """
    try:
        return json_decode.decode(cls, request.body, strict=strict, name=name)
    except WireError as error:
        raise BadRequest(f"{refusal}: {error}") from error


def decode_body_list(
    request: Request, cls: type[Record], refusal: str = REFUSAL, go_type: str = ""
) -> list[Record]:
    """Return the records of a body that is a JSON array; see `decode_body`."""
    try:
        return json_decode.decode_list(cls, request.body, go_type=go_type)
    except WireError as error:
        raise BadRequest(f"{refusal}: {error}") from error
