"""The parameter ``enable`` of the two maintenance endpoints."""

from typing import Final

from consultwist.errors import BadRequest
from consultwist.http.messages import Request

#: What Go's strconv.ParseBool takes.
_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_FALSE: Final = ("0", "f", "F", "FALSE", "false", "False")


def read_enable(request: Request) -> bool:
    """Return whether maintenance shall begin or end.

    Raises:
        BadRequest: where the parameter is missing or neither true nor false.
    """
    text = request.query.get("enable")
    if text is None:
        raise BadRequest("Missing value for enable")
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise BadRequest(f'Invalid value for enable: "{text}"')
