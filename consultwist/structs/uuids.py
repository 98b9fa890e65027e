"""UUIDs: made from given randomness, compared by value as Consul's tables do."""

import random
import re
from typing import Final

from consultwist.errors import ConsultwistError

#: The length of a UUID's text, four hyphens included.
_TEXT_LENGTH: Final = 36
_HYPHENS_MAX: Final = 4
_HYPHENS: Final = (8, 13, 18, 23)
_ODD: Final = re.compile("[^0-9a-fA-F]")


def make_uuid(rng: random.Random) -> str:
    """Return 128 random bits in the form of a UUID, as Consul makes its ids."""
    return uuid_text(rng.getrandbits(128))


def uuid_text(number: int) -> str:
    """Return the text form of 128 bits."""
    digits = f"{number:032x}"
    return "-".join(
        (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    )


def uuid_key(text: str) -> str:
    """Return what a UUID is looked up by: its digits, in lower case.

    Raises:
        ConsultwistError: where the text is no UUID, with the text of Go's index.
    """
    if len(text.encode("utf-8", "surrogateescape")) != _TEXT_LENGTH:
        raise ConsultwistError("index error: UUID must be 36 characters")
    hyphens = text.count("-")
    if hyphens > _HYPHENS_MAX:
        raise ConsultwistError(
            f'index error: UUID should have maximum of 4 "-"; got {hyphens}'
        )
    digits = text.replace("-", "")
    if len(digits) % 2:
        raise ConsultwistError(
            "index error: Input (without hyphens) must be even length"
        )
    problem = _hex_problem(digits)
    if problem:
        raise ConsultwistError(f"index error: Invalid UUID: {problem}")
    return digits.lower()


def uuid_problem(text: str) -> str:
    """Return what is wrong with the form of a UUID, or nothing."""
    if len(text.encode("utf-8", "surrogateescape")) != _TEXT_LENGTH:
        return "uuid string is wrong length"
    if len(text) != _TEXT_LENGTH or any(text[at] != "-" for at in _HYPHENS):
        return "uuid is improperly formatted"
    return _hex_problem(text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:])


def _hex_problem(digits: str) -> str:
    odd = _ODD.search(digits)
    if odd is None:
        return ""
    return f"encoding/hex: invalid byte: {_unicode_name(odd.group())}"


def _unicode_name(character: str) -> str:
    """Name a byte as Go's ``%#U`` does; hex decoding looks at bytes."""
    byte = character.encode("utf-8", "surrogateescape")[0]
    shown = f" '{chr(byte)}'" if chr(byte).isprintable() else ""
    return f"U+{byte:04X}{shown}"
