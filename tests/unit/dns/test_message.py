"""What the codec takes and what it refuses."""

import struct

import pytest

from consultwist.dns.message import (
    EDNS,
    Asked,
    FormatError,
    Message,
    Subnet,
    decode,
    encode,
)
from consultwist.dns.records import (
    TYPE_A,
    TYPE_SRV,
    TYPE_TXT,
    Address,
    Record,
    Service,
    Text,
)
from consultwist.errors import WireError

NAME = b"\x03web\x07service\x06consul\0"
TAIL = struct.pack(">HH", TYPE_A, 1)


def header(*counts: int, flags: int = 0x0100) -> bytes:
    """Return a header with id 1."""
    return struct.pack(">HHHHHH", 1, flags, *counts)


def test_a_question_is_read():
    """Name, type and class come out as they are written."""
    message = decode(header(1, 0, 0, 0) + NAME + TAIL)
    assert message.questions == [Asked("web.service.consul.", TYPE_A, 1)]
    assert message.opcode == 0


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\x03we",
        b"\x41a\0" + TAIL,
        b"\xc0\x0c" + TAIL,
        b"\xc0\x04" + TAIL,
        b"\xc0\x20" + TAIL + bytes(40),
        b"\x01a\xc0\x0e" + TAIL,
        (b"\x3f" + b"a" * 63) * 4 + b"\0" + TAIL,
        NAME + b"\0",
    ],
    ids=[
        "nothing",
        "cut label",
        "unknown label",
        "pointer to itself",
        "pointer into the header",
        "pointer forward",
        "pointer to itself in a name",
        "name too long",
        "half a type",
    ],
)
def test_wrong_questions_are_refused(rest):
    """A name that has no end in the message does not decode."""
    with pytest.raises(FormatError) as caught:
        decode(header(1, 0, 0, 0) + rest)
    assert caught.value.asked is None


@pytest.mark.parametrize(
    "record",
    [
        b"\0" + struct.pack(">HHIH", TYPE_A, 1, 0, 3) + b"abc",
        b"\0" + struct.pack(">HHIH", TYPE_A, 1, 0, 40) + b"abcd",
        b"\0" + struct.pack(">HHIH", TYPE_TXT, 1, 0, 3) + b"\x09ab",
        b"\0" + struct.pack(">HHIH", TYPE_SRV, 1, 0, 9) + bytes(6) + b"\0ab",
        b"\0" + struct.pack(">HHIH", 6, 1, 0, 4) + b"\0\0ab",
        b"\0" + struct.pack(">HHIH", 41, 1, 0, 5) + b"\0\x08\0\x09a",
        b"\0\0\x29\x04",
    ],
    ids=["address", "length", "text", "target", "authority", "option", "cut"],
)
def test_wrong_records_are_refused_with_their_question(record):
    """The question is known by then, so that the answer can repeat it."""
    with pytest.raises(FormatError) as caught:
        decode(header(1, 0, 0, 1) + NAME + TAIL + record)
    assert caught.value.asked == Asked("web.service.consul.", TYPE_A, 1)


@pytest.mark.parametrize("rest", [NAME, NAME + TAIL[:2], NAME + TAIL])
def test_messages_may_end_early_at_a_boundary(rest):
    """As on the stock agent, counts that promise more are passed over."""
    message = decode(header(1, 1, 0, 1) + rest)
    assert message.questions[0].name == "web.service.consul."
    assert message.answer == []


def test_odd_characters_are_escaped():
    """Dots, spaces and bytes that are no text do not part labels."""
    message = decode(header(1, 0, 0, 0) + b"\x04a.b\xff\x01 \0" + TAIL)
    assert message.questions[0].name == "a\\.b\\255.\\ ."
    assert encode(message) == header(1, 0, 0, 0) + b"\x04a.b\xff\x01 \0" + TAIL


def test_targets_of_srv_are_written_out_but_pointed_to():
    """RFC 2782 forbids compression there; later names may still use it."""
    target = "n1.node.consul."
    message = Message(
        questions=[Asked("web.consul.", TYPE_SRV)],
        answer=[Record("web.consul.", TYPE_SRV, 0, Service(1, 1, 80, target))],
        additional=[Record(target, TYPE_A, 0, Address(b"\x0a\0\0\x01"))],
    )
    wire = encode(message)
    assert wire.count(b"\x02n1\x04node\x06consul\0") == 1
    assert decode(wire) == message
    # The owner has 12 bytes, the target 16; each pointer to them has 2.
    assert len(encode(message, compress=False)) - len(wire) == 10 + 14


def test_spelling_counts_in_compression():
    """A name in other case is written again, so that it keeps its case."""
    record = Record("web.consul.", TYPE_A, 0, Address(b"\x0a\0\0\x01"))
    message = Message(questions=[Asked("WEB.Consul.", TYPE_A)], answer=[record])
    assert decode(encode(message)).answer == [record]


def test_what_cannot_be_written_is_refused():
    """Long texts and messages raise, and never leave as broken bytes."""
    long_text = Record("a.", TYPE_TXT, 0, Text((b"x" * 256,)))
    with pytest.raises(WireError, match="a text of 256 bytes"):
        encode(Message(answer=[long_text]))
    many = [Record("a.", TYPE_TXT, 0, Text((b"x" * 255,)))] * 260
    with pytest.raises(WireError, match="a message of"):
        encode(Message(answer=many))
    with pytest.raises(WireError, match="a name of"):
        encode(Message(questions=[Asked("abcdefg." * 40, TYPE_A)]))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\0\x01\x14\0\x0a\x01\xff", (1, 20, b"\x0a\x01\xf0\0")),
        (b"\0\x01\x18\0\x0a", (1, 24, b"\x0a\0\0\0")),
        (b"\0\x01\x08\0\x0a\x01\x02\x03", (1, 8, b"\x0a\0\0\0")),
        (b"\0\0\0\0", (0, 0, b"")),
        (b"\0\x02\x38\0\x20\x01\x0d\xb8", (2, 56, b"\x20\x01\x0d\xb8" + bytes(12))),
    ],
    ids=["masked", "short", "long", "no family", "IPv6"],
)
def test_client_subnets(data, shown):
    """The option is read with the bits behind its prefix cleared."""
    subnet = Subnet.unpack(data)
    assert (subnet.family, subnet.prefix, subnet.address) == shown
    assert EDNS(1232, ((10, b"cookie"), (8, data))).subnet == subnet


@pytest.mark.parametrize(
    "data",
    [b"\0\x03\0\0", b"\0\0\x08\0\x0a", b"\0\x01\x21\0\x0a", b"\0\x01\0", b""],
)
def test_wrong_client_subnets(data):
    """Unknown families and prefixes that are too long are format errors."""
    with pytest.raises(FormatError):
        Subnet.unpack(data)


def test_the_last_opt_record_counts():
    """Where there are two, as on the stock agent."""
    opts = b"".join(b"\0" + struct.pack(">HHIH", 41, n, 0, 0) for n in (512, 4096))
    message = decode(header(1, 0, 0, 2) + NAME + TAIL + opts)
    assert message.edns == EDNS(4096)
    assert message.edns.subnet is None
