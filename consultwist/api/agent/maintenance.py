"""The parameter ``enable`` of the two maintenance endpoints."""

from consultwist.errors import BadRequest
from consultwist.http.messages import Request
from consultwist.wire.strconv import parse_bool


def read_enable(request: Request) -> bool:
    """Return whether maintenance shall begin or end.

    Raises:
        BadRequest: where the parameter is missing or neither true nor false.
    """
    text = request.query.get("enable")
    if text is None:
        raise BadRequest("Missing value for enable")
    try:
        return parse_bool(text)
    except ValueError:
        raise BadRequest(f'Invalid value for enable: "{text}"') from None
