"""JSON configuration text to plain values, with Go's words for mistakes."""

import json
from typing import Any, NoReturn

from consultwist.errors import ConfigError, WireError
from consultwist.wire.json_scan import only_value

#: Go's names for what may stand at the top instead of an object.
_TOP_NAMES = {list: "array", str: "string", bool: "bool", float: "number"}


def decode_object(text: str) -> dict[str, Any]:
    """Return the object that a JSON text holds; ``null`` is an empty one.

    All numbers are float, as Go has them before it knows their type.

    Raises:
        ConfigError: where the text is no JSON or no object.
    """
    try:
        value = json.loads(text, parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ConfigError(_mistake(text) or str(error)) from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        name = _TOP_NAMES[type(value)]
        raise ConfigError(
            f"json: cannot unmarshal {name} into Go value of type "
            "map[string]interface {}"
        )
    return value


def _mistake(text: str) -> str:
    """Return what Go says about a text that is not JSON."""
    try:
        only_value(text.encode("utf-8", "surrogateescape"))
    except WireError as error:
        return str(error)
    return ""


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
