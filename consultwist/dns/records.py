r"""DNS records: what stands in the sections of a message.

Names are text in presentation form, fully qualified (``web.service.consul.``): a
character that would be mistaken is escaped, ``\\.`` or ``\\032``. Numbers are those of
the IANA registry "Domain Name System (DNS) Parameters".

Nothing of this is changed once it is made. The classes do not enforce that, here and in
the other modules of this package: frozen ones take twice as long to make.
"""

import re
import socket
from typing import Final

import attrs

from consultwist.errors import WireError

TYPE_A: Final = 1
TYPE_NS: Final = 2
TYPE_CNAME: Final = 5
TYPE_SOA: Final = 6
TYPE_PTR: Final = 12
TYPE_MX: Final = 15
TYPE_TXT: Final = 16
TYPE_AAAA: Final = 28
TYPE_SRV: Final = 33
TYPE_OPT: Final = 41
TYPE_DS: Final = 43
TYPE_AXFR: Final = 252
TYPE_ANY: Final = 255

CLASS_IN: Final = 1

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5

#: RFC 1035 section 2.3.4: octets of a label, of a name on the wire, of a text string.
LABEL_MAX: Final = 63
NAME_MAX: Final = 255
STRING_MAX: Final = 255


@attrs.define
class Address:
    """The data of an A (four bytes) or AAAA record (sixteen)."""

    packed: bytes

    def __str__(self) -> str:
        """Return the usual text of the address."""
        family = socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6
        return socket.inet_ntop(family, self.packed)


@attrs.define
class Target:
    """The data of a record that only names another name: CNAME, NS, PTR."""

    name: str


@attrs.define
class Service:
    """The data of an SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


@attrs.define
class Exchange:
    """The data of an MX record."""

    preference: int
    name: str


@attrs.define
class Authority:
    """The data of an SOA record."""

    primary: str
    mailbox: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


@attrs.define
class Text:
    """The data of a TXT record: strings of at most 255 bytes."""

    strings: tuple[bytes, ...]


@attrs.define
class Opaque:
    """The data of a record that is not looked into."""

    data: bytes


RecordData = Address | Target | Service | Exchange | Authority | Text | Opaque


@attrs.define
class Record:
    """One resource record."""

    name: str
    type: int
    ttl: int
    data: RecordData
    class_: int = CLASS_IN


def packed_address(text: str) -> bytes | None:
    """Return the four or sixteen bytes of an IP address; None for any other text.

    An IPv4 address written as IPv6 (``::ffff:10.0.0.1``) counts as IPv4, as in Go.
    """
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return None
    mapped = packed[:12] == b"\0" * 10 + b"\xff\xff"
    return packed[12:] if mapped else packed


def address_record(name: str, ttl: int, packed: bytes) -> Record:
    """Return the A or AAAA record of an address."""
    kind = TYPE_A if len(packed) == 4 else TYPE_AAAA
    return Record(name, kind, ttl, Address(packed))


# --- names ----------------------------------------------------------------------------

#: These are escaped in text (RFC 1035 section 5.1), as the stock agent does it.
_SPECIAL: Final = frozenset(b"\"\\.();@' ")
_PLAIN: Final = re.compile(rb"[A-Za-z0-9_-]*")
_ESCAPE: Final = re.compile(r"\\(?:(\d{3})|(.))", re.DOTALL)
_UNESCAPED_DOT: Final = re.compile(r"((?:[^\\.]|\\\d{3}|\\.)*)\.", re.DOTALL)


def label_text(label: bytes) -> str:
    """Return the presentation form of one label."""
    if _PLAIN.fullmatch(label):
        return label.decode("ascii")
    return "".join(map(_escaped, label))


def _escaped(byte: int) -> str:
    if not 0x20 <= byte < 0x7F:
        return f"\\{byte:03d}"
    return f"\\{byte:c}" if byte in _SPECIAL else chr(byte)


def label_bytes(text: str) -> bytes:
    """Return the bytes of a label in presentation form.

    Raises:
        WireError: where it is empty, too long or wrongly escaped.
    """
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    data = text.encode("utf-8", "surrogateescape")
    if not 0 < len(data) <= LABEL_MAX:
        raise WireError(f"dns: a label of {len(data)} bytes")
    return data


def _unescaped(match: re.Match[str]) -> str:
    number, character = match.groups()
    if number is None:
        return str(character)
    if int(number) > 255:
        raise WireError("dns: an escape above 255")
    # One byte, also above 127: the encoder turns it back with surrogateescape.
    return bytes([int(number)]).decode("utf-8", "surrogateescape")


def split_name(name: str) -> list[str]:
    """Return the labels of a name in presentation form; none for the root."""
    if "\\" not in name:
        return name.rstrip(".").split(".") if name.strip(".") else []
    return _UNESCAPED_DOT.findall(qualified(name))


def first_label(name: str) -> tuple[str, str]:
    """Return the first label of a name and what follows its dot."""
    if "\\" not in name:
        label, _, rest = name.partition(".")
        return label, rest
    match = _UNESCAPED_DOT.match(name)
    if match is None:
        return name, ""
    return match.group(1), name[match.end() :]


def qualified(name: str) -> str:
    """Return a name with the dot at its end."""
    return name if name.endswith(".") and not name.endswith("\\.") else name + "."
