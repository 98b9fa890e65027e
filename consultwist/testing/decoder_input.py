"""How fuzzers make choices: the first byte of an input makes them."""

from collections.abc import Iterable
from typing import Any


def pieces_of(data: bytes) -> list[bytes]:
    """Cut bytes behind the first as that says: whole, or in pieces of some size."""
    if not data:
        return []
    size = data[0] or len(data)
    return [data[at : at + size] for at in range(1, len(data), size)]


def choice(data: bytes, choices: Iterable[Any]) -> tuple[Any, bytes]:
    """Return what the first byte chooses, and the bytes behind it."""
    known = list(choices)
    return known[(data[0] if data else 0) % len(known)], data[1:]
