"""DNS messages to bytes and back (RFC 1035, RFC 2782, RFC 6891, RFC 7871).

The decoder takes what any stranger may send: every offset is checked, compression
pointers only lead backwards, so that reading ends, and counts are bounded by the bytes
that are there. Like the stock agent's, it takes a message that ends at a record
boundary before its counts are fulfilled.

The encoder compresses names as the stock agent does: owner names and the targets of
CNAME, MX, NS, PTR and SOA may point to what stands before them; targets of SRV are
written out (RFC 2782) but may be pointed to. Spelling counts: names of other case do
not match.
"""

import struct
from typing import Final

import attrs

from consultwist.dns.records import (
    LABEL_MAX,
    NAME_MAX,
    STRING_MAX,
    TYPE_A,
    TYPE_AAAA,
    TYPE_CNAME,
    TYPE_MX,
    TYPE_NS,
    TYPE_OPT,
    TYPE_PTR,
    TYPE_SOA,
    TYPE_SRV,
    TYPE_TXT,
    Address,
    Authority,
    Exchange,
    Opaque,
    Record,
    RecordData,
    Service,
    Target,
    Text,
    first_label,
    label_bytes,
    label_text,
)
from consultwist.errors import WireError

#: The bits of the second word of the header.
FLAG_RESPONSE: Final = 0x8000
FLAG_AUTHORITATIVE: Final = 0x0400
FLAG_TRUNCATED: Final = 0x0200
FLAG_RECURSION_DESIRED: Final = 0x0100
FLAG_RECURSION_AVAILABLE: Final = 0x0080
FLAG_AUTHENTIC: Final = 0x0020
FLAG_CHECKING_DISABLED: Final = 0x0010
OPCODE_MASK: Final = 0x7800
RCODE_MASK: Final = 0x000F

OPCODE_QUERY: Final = 0
OPCODE_NOTIFY: Final = 4

#: The length field of a message over TCP has 16 bits.
MESSAGE_MAX: Final = 65535
HEADER_SIZE: Final = 12
#: A compression pointer has 14 bits.
_POINTER_MAX: Final = 0x3FFF
_POINTER_BITS: Final = 0xC000

#: The EDNS option of RFC 7871.
OPTION_CLIENT_SUBNET: Final = 8
_FAMILY_BITS: Final = {0: 0, 1: 32, 2: 128}

_HEADER: Final = struct.Struct(">HHHHHH")
_FIXED: Final = struct.Struct(">HHIH")
_WORDS: Final = struct.Struct(">HH")
_WORD: Final = struct.Struct(">H")
_SERVICE: Final = struct.Struct(">HHH")
_AUTHORITY: Final = struct.Struct(">IIIII")

_TARGET_TYPES: Final = frozenset((TYPE_CNAME, TYPE_NS, TYPE_PTR))


class FormatError(WireError):
    """A message that does not decode; holds its question where that was read."""

    def __init__(self, text: str, asked: "Asked | None" = None) -> None:
        super().__init__(text)
        self.asked = asked


@attrs.define
class Asked:
    """The question section's entry: a name, a type, a class."""

    name: str
    type: int
    class_: int = 1


@attrs.define
class Subnet:
    """The client subnet option: the network that a question came from."""

    family: int
    prefix: int
    scope: int
    address: bytes

    @classmethod
    def unpack(cls, data: bytes) -> "Subnet":
        """Read the option's data; bits behind the prefix are cleared.

        Raises:
            FormatError: for an unknown family or a prefix that is too long.
        """
        if len(data) < 4:
            raise FormatError("dns: a client subnet without address family")
        family, prefix, scope = struct.unpack_from(">HBB", data)
        bits = _FAMILY_BITS.get(family)
        if bits is None or prefix > bits or scope > bits:
            raise FormatError(f"dns: a client subnet /{prefix} of family {family}")
        size = bits // 8
        number = int.from_bytes(data[4 : 4 + size].ljust(size, b"\0"), "big")
        number &= -1 << (bits - prefix)
        return cls(family, prefix, scope, number.to_bytes(size, "big"))

    def pack(self) -> bytes:
        """Return the option's data: only as many address bytes as the prefix needs."""
        head = struct.pack(">HBB", self.family, self.prefix, self.scope)
        return head + self.address[: (self.prefix + 7) // 8]


@attrs.define
class EDNS:
    """The OPT pseudo record (RFC 6891)."""

    udp_size: int
    options: tuple[tuple[int, bytes], ...] = ()
    version: int = 0
    flags: int = 0
    extended_rcode: int = 0

    @property
    def subnet(self) -> Subnet | None:
        """The client subnet option.

        Raises:
            FormatError: where it is there and wrong.
        """
        for code, data in self.options:
            if code == OPTION_CLIENT_SUBNET:
                return Subnet.unpack(data)
        return None


@attrs.define(kw_only=True)
class Message:
    """One DNS message; `flags` is the header's second word, opcode and rcode in it."""

    id: int = 0
    flags: int = 0
    questions: list[Asked] = attrs.Factory(list)
    answer: list[Record] = attrs.Factory(list)
    authority: list[Record] = attrs.Factory(list)
    additional: list[Record] = attrs.Factory(list)
    edns: EDNS | None = None

    @property
    def rcode(self) -> int:
        """The response code."""
        return self.flags & RCODE_MASK

    @property
    def opcode(self) -> int:
        """What is asked for: a query, a notification, ..."""
        return (self.flags & OPCODE_MASK) >> 11


# --- reading --------------------------------------------------------------------------


def decode(data: bytes) -> Message:
    """Return the message that bytes stand for.

    Raises:
        FormatError: where they are no message.
    """
    if len(data) < HEADER_SIZE:
        raise FormatError("dns: shorter than a header")
    ident, flags, *counts = _HEADER.unpack_from(data)
    message = Message(id=ident, flags=flags)
    try:
        _read_sections(data, counts, message)
    except (struct.error, IndexError):
        error: FormatError = FormatError("dns: the message ends inside a record")
        raise _with_question(error, message) from None
    except FormatError as error:
        raise _with_question(error, message) from None
    return message


def _with_question(error: FormatError, message: Message) -> FormatError:
    error.asked = message.questions[0] if message.questions else None
    return error


def _read_sections(data: bytes, counts: list[int], message: Message) -> None:
    offset = HEADER_SIZE
    for _ in range(counts[0]):
        if offset == len(data) and message.questions:
            break
        offset = _read_question(data, offset, message)
    sections = (message.answer, message.authority, message.additional)
    for count, section in zip(counts[1:], sections, strict=True):
        for _ in range(count):
            if offset == len(data):
                return
            offset = _read_record(data, offset, section, message)


def _read_question(data: bytes, offset: int, message: Message) -> int:
    name, offset = read_name(data, offset)
    kind, class_ = 0, 0
    # The stock agent takes a question that ends after its name or its type.
    if offset < len(data):
        (kind,) = _WORD.unpack_from(data, offset)
        offset += 2
        if offset < len(data):
            (class_,) = _WORD.unpack_from(data, offset)
            offset += 2
    message.questions.append(Asked(name, kind, class_))
    return offset


def _read_record(
    data: bytes, offset: int, section: list[Record], message: Message
) -> int:
    name, offset = read_name(data, offset)
    kind, class_, ttl, size = _FIXED.unpack_from(data, offset)
    offset += 10
    end: int = offset + size
    if end > len(data):
        raise FormatError("dns: a record longer than its message")
    if kind == TYPE_OPT:
        options = _read_options(data, offset, end)
        version, flags = (ttl >> 16) & 0xFF, ttl & 0xFFFF
        message.edns = EDNS(class_, options, version, flags, ttl >> 24)
    else:
        value = _read_data(kind, data, offset, end)
        section.append(Record(name, kind, ttl, value, class_))
    return end


def _read_data(kind: int, data: bytes, offset: int, end: int) -> RecordData:
    size = end - offset
    if kind in (TYPE_A, TYPE_AAAA):
        if size != (4 if kind == TYPE_A else 16):
            raise FormatError(f"dns: an address of {size} bytes")
        return Address(data[offset:end])
    if kind in _TARGET_TYPES:
        return Target(_last_name(data, offset, end))
    if kind == TYPE_SRV:
        priority, weight, port = _SERVICE.unpack_from(data, offset)
        return Service(priority, weight, port, _last_name(data, offset + 6, end))
    if kind == TYPE_MX:
        (preference,) = _WORD.unpack_from(data, offset)
        return Exchange(preference, _last_name(data, offset + 2, end))
    if kind == TYPE_SOA:
        return _read_authority(data, offset, end)
    if kind == TYPE_TXT:
        return _read_text(data, offset, end)
    return Opaque(data[offset:end])


def _last_name(data: bytes, offset: int, end: int) -> str:
    name, after = read_name(data, offset)
    if after != end:
        raise FormatError("dns: a name does not end with its record")
    return name


def _read_authority(data: bytes, offset: int, end: int) -> Authority:
    primary, offset = read_name(data, offset)
    mailbox, offset = read_name(data, offset)
    if offset + _AUTHORITY.size != end:
        raise FormatError("dns: an SOA record of the wrong size")
    return Authority(primary, mailbox, *_AUTHORITY.unpack_from(data, offset))


def _read_text(data: bytes, offset: int, end: int) -> Text:
    strings = []
    while offset < end:
        after = offset + 1 + data[offset]
        if after > end:
            raise FormatError("dns: a string longer than its record")
        strings.append(data[offset + 1 : after])
        offset = after
    return Text(tuple(strings))


def _read_options(data: bytes, offset: int, end: int) -> tuple[tuple[int, bytes], ...]:
    options = []
    while offset < end:
        code, size = _WORDS.unpack_from(data, offset)
        offset += 4
        if offset + size > end:
            raise FormatError("dns: an option longer than its record")
        options.append((code, data[offset : offset + size]))
        offset += size
    return tuple(options)


def read_name(data: bytes, offset: int) -> tuple[str, int]:
    """Return the name at an offset, and the offset behind it.

    Raises:
        FormatError: for labels or names that are too long, and for pointers that do
            not lead backwards.
        IndexError: where the name leaves the message.
    """
    labels: list[bytes] = []
    after = 0
    lowest = offset
    size = 1
    while length := data[offset]:
        if length <= LABEL_MAX:
            end = offset + 1 + length
            size += 1 + length
            if end > len(data) or size > NAME_MAX:
                raise FormatError("dns: a name that is too long")
            labels.append(data[offset + 1 : end])
            offset = end
        elif length >= _POINTER_BITS >> 8:
            after = after or offset + 2
            offset = _WORD.unpack_from(data, offset)[0] & _POINTER_MAX
            if not HEADER_SIZE <= offset < lowest:
                raise FormatError("dns: a pointer that does not lead backwards")
            lowest = offset
        else:
            raise FormatError("dns: a label of an unknown kind")
    return _name_text(labels), after or offset + 1


def _name_text(labels: list[bytes]) -> str:
    joined = b".".join(labels)
    # Letters, digits and dashes need no look at each label.
    plain = joined.replace(b".", b"").replace(b"-", b"").replace(b"_", b"").isalnum()
    if plain and joined.count(b".") == len(labels) - 1:
        return joined.decode("ascii") + "."
    return "".join(f"{label_text(label)}." for label in labels) or "."


# --- writing --------------------------------------------------------------------------


def encode(
    message: Message, *, compress: bool = True, size_max: int = MESSAGE_MAX
) -> bytes:
    """Return the bytes of a message.

    Raises:
        WireError: where a name or text cannot be written, or the message has more
            than `size_max` bytes.
    """
    writer = _Writer(message, compress)
    writer.records(message.answer)
    writer.records(message.authority)
    writer.records(message.additional)
    if message.edns is not None:
        writer.edns(message.edns)
    if len(writer.out) > size_max:
        raise WireError(f"dns: a message of {len(writer.out)} bytes")
    return bytes(writer.out)


class _Writer:
    """The bytes of a message so far, and where names stand in them."""

    __slots__ = ("_compress", "_pointers", "out")

    def __init__(self, message: Message, compress: bool) -> None:
        self._compress = compress
        #: Where names stand, as the pointers to them.
        self._pointers: dict[str, bytes] = {}
        self.out = bytearray(
            _HEADER.pack(
                message.id,
                message.flags,
                len(message.questions),
                len(message.answer),
                len(message.authority),
                len(message.additional) + (message.edns is not None),
            )
        )
        for asked in message.questions:
            self._name(asked.name)
            self.out += _WORDS.pack(asked.type, asked.class_)

    def records(self, records: list[Record]) -> None:
        """Write a section."""
        for record in records:
            self._name(record.name)
            self._data(record)

    def _data(self, record: Record) -> None:
        out, data = self.out, record.data
        out += _FIXED.pack(record.type, record.class_, record.ttl, 0)
        start = len(out)
        if isinstance(data, Address):
            out += data.packed
        elif isinstance(data, Service):
            out += _SERVICE.pack(data.priority, data.weight, data.port)
            self._name(data.target, point=False)
        elif isinstance(data, Target):
            self._name(data.name)
        elif isinstance(data, Exchange):
            out += _WORD.pack(data.preference)
            self._name(data.name)
        elif isinstance(data, Authority):
            self._name(data.primary)
            self._name(data.mailbox)
            out += _AUTHORITY.pack(
                data.serial, data.refresh, data.retry, data.expire, data.minimum
            )
        elif isinstance(data, Text):
            self._strings(data)
        elif isinstance(data, Opaque):
            out += data.data
        size = len(out) - start
        if size > MESSAGE_MAX:
            raise WireError(f"dns: a record of {size} bytes")
        _WORD.pack_into(out, start - 2, size)

    def _strings(self, text: Text) -> None:
        for string in text.strings:
            if len(string) > STRING_MAX:
                raise WireError(f"dns: a text of {len(string)} bytes")
            self.out.append(len(string))
            self.out += string

    def edns(self, edns: EDNS) -> None:
        """Write the OPT record."""
        options = b"".join(
            _WORDS.pack(code, len(data)) + data for code, data in edns.options
        )
        ttl = edns.extended_rcode << 24 | edns.version << 16 | edns.flags
        self.out.append(0)
        self.out += _FIXED.pack(TYPE_OPT, edns.udp_size, ttl, len(options)) + options

    def _name(self, name: str, *, point: bool = True) -> None:
        out, pointers = self.out, self._pointers
        point = point and self._compress
        start = len(out)
        while name and name != ".":
            known = pointers.get(name)
            if known is None:
                if len(out) <= _POINTER_MAX:
                    pointers[name] = _WORD.pack(_POINTER_BITS | len(out))
            elif point:
                out += known
                return
            text, name = first_label(name)
            label = label_bytes(text)
            out.append(len(label))
            out += label
        out.append(0)
        if len(out) - start > NAME_MAX:
            raise WireError(f"dns: a name of {len(out) - start} bytes")
