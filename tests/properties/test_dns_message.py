"""DNS messages, whatever they hold: nothing breaks, and nothing is lost."""

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.dns.message import (
    EDNS,
    HEADER_SIZE,
    Asked,
    FormatError,
    Message,
    decode,
    encode,
)
from consultwist.dns.names import Client, Question
from consultwist.dns.records import (
    TYPE_A,
    TYPE_AAAA,
    TYPE_CNAME,
    TYPE_NS,
    TYPE_PTR,
    TYPE_SOA,
    TYPE_SRV,
    TYPE_TXT,
    Address,
    Authority,
    Opaque,
    Record,
    Service,
    Target,
    Text,
    label_bytes,
    label_text,
)
from consultwist.dns.settings import Settings
from consultwist.dns.trim import limits_for, measure, trim

octets = st.integers(0, 255)
words = st.integers(0, 2**16 - 1)
longs = st.integers(0, 2**32 - 1)
labels = st.one_of(
    st.sampled_from([b"web", b"service", b"node", b"consul", b"n1"]),
    st.binary(min_size=1, max_size=20),
)
names = st.lists(labels, max_size=6).map(
    lambda parts: "".join(f"{label_text(part)}." for part in parts) or "."
)
record_data = st.one_of(
    st.tuples(st.just(TYPE_A), st.builds(Address, st.binary(min_size=4, max_size=4))),
    st.tuples(
        st.just(TYPE_AAAA), st.builds(Address, st.binary(min_size=16, max_size=16))
    ),
    st.tuples(
        st.sampled_from([TYPE_CNAME, TYPE_NS, TYPE_PTR]), st.builds(Target, names)
    ),
    st.tuples(st.just(TYPE_SRV), st.builds(Service, words, words, words, names)),
    st.tuples(
        st.just(TYPE_SOA),
        st.builds(Authority, names, names, longs, longs, longs, longs, longs),
    ),
    st.tuples(
        st.just(TYPE_TXT),
        st.builds(Text, st.lists(st.binary(max_size=255), max_size=3).map(tuple)),
    ),
    st.tuples(st.just(65280), st.builds(Opaque, st.binary(max_size=40))),
)
records = st.builds(
    lambda name, ttl, data: Record(name, data[0], ttl, data[1]),
    names,
    longs,
    record_data,
)
sections = st.lists(records, max_size=4)
edns = st.builds(
    EDNS,
    words,
    st.lists(st.tuples(words, st.binary(max_size=12)), max_size=2).map(tuple),
    octets,
    words,
)
messages = st.builds(
    Message,
    id=words,
    flags=words,
    questions=st.lists(st.builds(Asked, names, words, words), min_size=1, max_size=1),
    answer=sections,
    authority=sections,
    additional=sections,
    edns=st.none() | edns,
)


@given(messages, st.booleans())
def test_round_trip(message, compress):
    """What is written is read again, with and without compression."""
    assert decode(encode(message, compress=compress)) == message


@given(messages)
def test_compression_never_makes_a_message_longer(message):
    """A compressed message has at most the size of the other."""
    assert len(encode(message)) <= len(encode(message, compress=False))


@given(messages)
def test_another_implementation_reads_what_is_written(message):
    """A message of ours has the same counts of records for dnspython."""
    message.edns = None
    message.flags = 0x8400
    for section in (message.answer, message.authority, message.additional):
        # Its own checks of odd contents are not what is tested.
        section[:] = [record for record in section if record.type != TYPE_TXT]
    read = dns.message.from_wire(encode(message), one_rr_per_rrset=True)
    assert len(read.answer) == len(message.answer)
    assert len(read.authority) == len(message.authority)
    assert len(read.additional) == len(message.additional)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data):
    """Nothing a stranger sends raises anything but FormatError."""
    try:
        decode(data)
    except FormatError:
        assert True


@given(messages, st.data())
def test_damaged_messages_are_read_or_refused(message, data):
    """A message with one byte changed, cut at any place, does no harm."""
    wire = bytearray(encode(message))
    wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(octets)
    cut = data.draw(st.integers(0, len(wire)))
    try:
        found = decode(bytes(wire[:cut]))
    except FormatError:
        return
    assert cut >= HEADER_SIZE
    assert found.questions is not None


@given(st.binary(min_size=1, max_size=63))
def test_labels_keep_their_bytes(label):
    """Any label survives being shown as text."""
    assert label_bytes(label_text(label)) == label


services = st.integers(1, 60).map(
    lambda count: [
        Record(
            "web.service.consul.", TYPE_SRV, 0, Service(1, 1, 80, f"n{i}.node.consul.")
        )
        for i in range(count)
    ]
)


@given(
    services,
    st.integers(0, 4096),
    st.integers(0, 8),
    st.booleans(),
    st.integers(0, 200),
)
def test_answers_fit_what_the_client_takes(answer, udp_size, limit, compress, extra):
    """A trimmed answer has the size offered, or holds one record only."""
    additional = [
        Record(f"n{i}.node.consul.", TYPE_TXT, 0, Text((b"x" * extra,)))
        for i in range(len(answer))
    ]
    question = Question(
        name="web.service.consul.",
        type=TYPE_SRV,
        settings=Settings(udp_answer_limit=limit, compress=compress),
        client=Client("127.0.0.1", False, EDNS(udp_size)),
    )
    kept, more = trim(question, answer, additional)
    assert kept == answer[: len(kept)]
    limits = limits_for(question, len(answer))
    assert len(kept) <= max(limits.answers, len(kept[:1]))
    if len(kept) > 1:
        assert measure(question, kept, more, compress=compress) <= max(udp_size, 512)
    if len(kept) < len(answer):
        targets = {r.data.target for r in kept if isinstance(r.data, Service)}
        assert {record.name for record in more} == targets


@pytest.mark.parametrize("length", [64, 70])
def test_labels_have_an_end(length):
    """A label that is too long for the wire is refused, not cut."""
    message = Message(questions=[Asked(f"{'n' * length}.node.consul.", TYPE_A)])
    with pytest.raises(Exception, match=f"a label of {length} bytes"):
        encode(message)
