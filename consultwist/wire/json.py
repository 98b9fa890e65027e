"""JSON as Go's encoder writes it, and as Go's decoder reads it."""

from typing import Any

import msgspec

from consultwist.wire.json_number import json_number
from consultwist.wire.struct import Struct
from consultwist.wire.time import Time


def _plain_hook(value: object) -> Any:
    if isinstance(value, Struct):
        return value.to_plain()
    if isinstance(value, Time):
        return value.json()
    raise TypeError(f"no JSON form for {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_plain_hook)


def encode(value: object) -> bytes:
    """Return compact JSON: records by their options, bytes as base64.

    As Go does, ``<``, ``>`` and ``&`` are written as escapes, and bytes of a text
    that are not UTF-8 as replacement characters.
    """
    return encode_plain(_to_plain(value))


def encode_plain(plain: object) -> bytes:
    """Return compact JSON of what records have become by `to_plain`; see `encode`."""
    try:
        data = _encoder.encode(plain)
    except UnicodeEncodeError:
        data = _encoder.encode(_clean(plain))
    return escape(data)


def prettify(data: bytes) -> bytes:
    """Return JSON indented by four spaces with a final newline, as for ``?pretty``."""
    return msgspec.json.format(data, indent=4) + b"\n"


def _to_plain(value: Any) -> Any:
    # msgspec would encode a Struct by itself, without its options.
    kind = value.__class__
    if kind is list or kind is tuple:
        return [
            item.to_plain() if isinstance(item, Struct) else _to_plain(item)
            for item in value
        ]
    if isinstance(value, Struct):
        return value.to_plain()
    if kind is dict:
        return {key: _to_plain(item) for key, item in value.items()}
    return json_number(value) if kind is float else value


def escape(data: bytes) -> bytes:
    """Return JSON in which what Go does not write as it is has become escapes."""
    # These characters stand in JSON only inside strings.
    if b"<" in data or b">" in data or b"&" in data:
        for character, replacement in _ASCII_ESCAPES:
            data = data.replace(character, replacement)
    if not data.isascii():
        for character, replacement in _OTHER_ESCAPES:
            data = data.replace(character, replacement)
    return data


_ASCII_ESCAPES = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))
_OTHER_ESCAPES = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


def _clean(value: Any) -> Any:
    """Replace what is not UTF-8 in all texts of a plain value."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value
