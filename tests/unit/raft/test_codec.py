"""Framing of the Raft stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.errors import WireError
from consultwist.raft.codec import (
    RequestDecoder,
    ResponseDecoder,
    SnapshotBytes,
    encode_request,
    encode_response,
)
from consultwist.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshot,
    RequestPreVote,
    RequestVote,
    TimeoutNow,
)

REQUESTS = [
    AppendEntries(protocol_version=3, term=2, leader=b"a:1", entries=[]),
    AppendEntries(
        protocol_version=3,
        term=2,
        leader=b"a:1",
        entries=[Entry.make(i, 2, 0, b"x" * i, None) for i in range(1, 40)],
        leader_commit_index=7,
        id=b"id",
        addr=b"a:1",
    ),
    RequestVote(protocol_version=3, term=5, candidate=b"b:1"),
    TimeoutNow(protocol_version=3),
    RequestPreVote(protocol_version=3, term=6, id=b"id", addr=b"b:1"),
]


def in_pieces(content: bytes, size: int) -> list[bytes]:
    return [content[i : i + size] for i in range(0, len(content), size)]


@given(size=st.integers(1, 600))
def test_requests_come_out_as_they_went_in_however_the_stream_is_cut(size: int) -> None:
    """All kinds of requests, with and without the newer sender fields."""
    content = b"".join(encode_request(request) for request in REQUESTS)
    decoder = RequestDecoder()
    out = [item for piece in in_pieces(content, size) for item in decoder.feed(piece)]
    assert out == REQUESTS
    assert decoder.is_between_requests


@given(size=st.integers(1, 400), length=st.integers(0, 1000))
def test_a_snapshots_bytes_are_passed_on_and_the_next_request_found(
    size: int, length: int
) -> None:
    """Raw bytes of any value follow an InstallSnapshot."""
    body = bytes(i % 256 for i in range(length))
    install = InstallSnapshot(protocol_version=3, term=1, size=length)
    content = encode_request(install) + body + encode_request(REQUESTS[2])
    decoder = RequestDecoder()
    items = [item for piece in in_pieces(content, size) for item in decoder.feed(piece)]
    assert items[0] == install
    assert items[-1] == REQUESTS[2]
    pieces = [item for item in items if isinstance(item, SnapshotBytes)]
    assert b"".join(piece.data for piece in pieces) == body
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@pytest.mark.parametrize(
    "content",
    [
        b"\x09\x80",
        b"\xa1x\x80",
        b"\x00\x91\x00",
        b"\x00\xc1",
        b"\x02\x81\xa4Size\xff",
        b"\x02\x81\xa4Size\xcf" + b"\xff" * 8,
    ],
    ids=[
        "unknown type",
        "no type",
        "no map",
        "no msgpack",
        "negative size",
        "size over 63 bits",
    ],
)
def test_nonsense_is_refused(content: bytes) -> None:
    """The stream cannot be followed any further: the peer is at fault."""
    with pytest.raises(WireError):
        list(RequestDecoder().feed(content))


def test_an_entry_of_wrong_types_is_refused() -> None:
    """Entries are kept for long: their fields are looked at before."""
    bad = encode_request(
        AppendEntries(entries=[Entry(index=1, term=1, encoded=b"\x81\xa5Index\xa1x")])
    )
    with pytest.raises(WireError):
        list(RequestDecoder().feed(bad))


def test_a_message_larger_than_the_bound_is_refused() -> None:
    """A peer cannot make the buffer grow without end."""
    decoder = RequestDecoder()
    list(decoder.feed(b"\x00\x81\xa7Entries\xdb\x7f\xff\xff\xff"))
    for _ in range(63):
        list(decoder.feed(bytes(1024 * 1024)))
    with pytest.raises(WireError, match="too large"):
        list(decoder.feed(bytes(2 * 1024 * 1024)))


@given(size=st.integers(1, 200))
def test_responses_come_out_in_order(size: int) -> None:
    """An error text with nil, then a structure."""
    response = AppendEntriesResponse(protocol_version=3, term=4, success=True)
    content = encode_response(None, "no") + encode_response(response)
    decoder = ResponseDecoder()
    out = [item for piece in in_pieces(content, size) for item in decoder.feed(piece)]
    assert out[0] == ("no", None)
    assert out[1][0] == ""
    assert AppendEntriesResponse.from_raw(out[1][1]) == response


def test_a_response_without_error_text_is_refused() -> None:
    """The first of the two values must be a string."""
    with pytest.raises(WireError):
        list(ResponseDecoder().feed(b"\x01\x80"))
