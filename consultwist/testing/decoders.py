"""Every decoder of bytes from outside, as one function of bytes.

`DECODERS` maps names to functions that fuzzers and property tests call with any bytes.
A function returns where the bytes were read or were refused as the decoder says;
whatever else is wrong comes out as an exception: another error, a result that depends
on how a stream was cut, a record that does not survive its own encoding.
"""

import contextlib
import functools
import gzip
import io
from collections.abc import Callable
from typing import Any, Final

from consultwist.agent.plugins import discover
from consultwist.config.merge import Source, merge_sources
from consultwist.dns import message as dns
from consultwist.errors import BadRequest, ConfigError, ConsultwistError, WireError
from consultwist.http.messages import query_pairs
from consultwist.http.parser import (
    Body,
    BodyTooLarge,
    Malformed,
    Memory,
    RequestReader,
)
from consultwist.interfaces import IStateTable
from consultwist.raft.codec import RequestDecoder, ResponseDecoder
from consultwist.raft.configuration import Configuration
from consultwist.rpc.codec import MessageDecoder
from consultwist.server.archive import ArchiveReader, BadArchive
from consultwist.state.chunking import Chunks
from consultwist.state.fsm import UnknownCommand
from consultwist.structs.catalog import (
    CheckServiceNode,
    CheckType,
    Node,
    ServiceDefinition,
)
from consultwist.structs.filter import compile_filter
from consultwist.testing.check_decoders import decode_http2, decode_response
from consultwist.testing.decoder_input import choice, pieces_of
from consultwist.testing.gossip_decoders import (
    decode_expression,
    decode_gossip_stream,
    decode_packet,
    decode_serf,
    decode_serf_snapshot,
)
from consultwist.testing.state import Replica
from consultwist.wire import json, json_decode, msgpack
from consultwist.wire.struct import Struct
from consultwist.yamux.session import Ended, Received, Session

Decoder = Callable[[bytes], None]

#: More than any input of a fuzzer: announced sizes above it are refused.
_BODY_MAX: Final = 1024 * 1024


def record_classes() -> list[type[Struct]]:
    """Return all record classes that are loaded, by name."""
    found: dict[str, type[Struct]] = {}
    waiting: list[type[Struct]] = [Struct]
    while waiting:
        for cls in waiting.pop().__subclasses__():
            waiting.append(cls)
            if cls.__module__.startswith("consultwist."):
                found[f"{cls.__name__} {cls.__module__}"] = cls
    return [found[name] for name in sorted(found)]


def decode_record(data: bytes) -> None:
    """Read msgpack as a record; what was read can be written, read and shown."""
    cls, body = choice(data, record_classes())
    try:
        record = cls.unpack(body)
    except WireError:
        return
    written = record.pack()
    assert cls.unpack(written).pack() == written
    json.encode(record)


def decode_stream(data: bytes) -> None:
    """Cut a stream of msgpack values; the cuts do not matter."""
    pieces = pieces_of(data)
    assert repr(_values(pieces)) == repr(_values([b"".join(pieces)]))


def _values(pieces: list[bytes]) -> list[Any]:
    unpacker = msgpack.StreamUnpacker(_BODY_MAX)
    found: list[Any] = []
    with contextlib.suppress(WireError):
        for piece in pieces:
            unpacker.feed(piece)
            found += unpacker
    return found


def decode_json(data: bytes) -> None:
    """Read JSON as a record or a list of records, with and without unknown fields."""
    cls, body = choice(data, record_classes())
    strict = len(body) % 2 == 0
    for decode in (json_decode.decode, json_decode.decode_list):
        with contextlib.suppress(WireError):
            json.encode(decode(cls, body, strict=strict))


def decode_filter(data: bytes) -> None:
    """Compile a filter expression and ask it about a record."""
    kinds = (CheckServiceNode, Node, ServiceDefinition, CheckType)
    cls, body = choice(data, kinds)
    with contextlib.suppress(BadRequest):
        compile_filter(body.decode("utf-8", "surrogateescape"), cls)(cls())


def decode_config(data: bytes) -> None:
    """Read a configuration file: HCL, or JSON where the first byte says so."""
    kind, body = choice(data, ("hcl", "json"))
    text = body.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ConfigError):
        merge_sources([Source("fuzz", text, kind)])


def decode_http(data: bytes) -> None:
    """Read requests off a connection; the cuts do not matter."""
    pieces = pieces_of(data)
    assert _requests(pieces) == _requests([b"".join(pieces)])


def _requests(pieces: list[bytes]) -> list[object]:
    reader = RequestReader(Memory())
    seen: list[object] = []
    body: Body | None = None
    try:
        for piece in pieces:
            reader.feed(piece)
            waits = False
            while not waits:
                body, waits = _next_part(reader, body, seen)
    except (Malformed, BodyTooLarge) as error:
        seen.append(type(error))
    return seen


def _next_part(
    reader: RequestReader, body: Body | None, seen: list[object]
) -> tuple[Body | None, bool]:
    """Read a head or a body; return the body that is due, and whether more is."""
    if body is not None:
        content = body.read(reader)
        if content is not None:
            seen.append(content)
        return (body, True) if content is None else (None, False)
    request = reader.head()
    if request is None:
        return None, True
    seen.append((request.method, request.path, request.head.fields))
    with contextlib.suppress(ValueError):
        seen += query_pairs(request.raw_query)
    length = request.head.length
    return (Body(length, _BODY_MAX) if length else None), False


def decode_dns(data: bytes) -> None:
    """Read a DNS message; what was read can be written, and then read as the same."""
    try:
        read = dns.decode(data)
        if read.edns is not None:
            read.edns.subnet  # noqa: B018 - reading it decodes it
    except dns.FormatError:
        return
    try:
        written = dns.encode(read)
    except WireError:
        # A message may be longer once its names stand written out.
        return
    again = dns.decode(written)
    assert (again.questions, again.answer) == (read.questions, read.answer)


def decode_raft(data: bytes) -> None:
    """Read both directions of a Raft stream; the cuts do not matter."""
    pieces = pieces_of(data)
    for read in (_raft_requests, _raft_responses):
        assert repr(read(pieces)) == repr(read([b"".join(pieces)]))


def _raft_requests(pieces: list[bytes]) -> tuple[list[object], bytes]:
    decoder = RequestDecoder()
    found: list[object] = []
    raw = b""
    with contextlib.suppress(WireError):
        for piece in pieces:
            for each in decoder.feed(piece):
                content = getattr(each, "data", None)
                if content is None:
                    found.append(each)
                else:
                    raw += content
    return found, raw


def _raft_responses(pieces: list[bytes]) -> list[object]:
    decoder = ResponseDecoder()
    found: list[object] = []
    with contextlib.suppress(WireError):
        for piece in pieces:
            found += decoder.feed(piece)
    return found


def decode_rpc(data: bytes) -> None:
    """Cut the messages of an RPC stream; the cuts do not matter."""
    pieces = pieces_of(data)
    assert repr(_calls(pieces)) == repr(_calls([b"".join(pieces)]))


def _calls(pieces: list[bytes]) -> list[object]:
    decoder = MessageDecoder(_BODY_MAX)
    found: list[object] = []
    with contextlib.suppress(WireError):
        for piece in pieces:
            found += decoder.feed(piece)
    return found


def decode_yamux(data: bytes) -> None:
    """Take the frames of a yamux connection; the cuts do not matter."""
    pieces = pieces_of(data)
    assert _streams(pieces) == _streams([b"".join(pieces)])


def _streams(pieces: list[bytes]) -> tuple[dict[int, bytes], str]:
    """Return what came on each stream, and why the session has ended."""
    session = Session(0.0, is_client=False)
    session.open()
    came: dict[int, bytes] = {}
    reason = ""
    for piece in pieces:
        session.receive(piece)
        for action in session.take_actions():
            if isinstance(action, Received):
                number = action.stream.id
                came[number] = came.get(number, b"") + action.data
                session.consumed(action.stream, len(action.data))
            elif isinstance(action, Ended):
                reason = action.reason
    return came, reason


def decode_archive(data: bytes) -> None:
    """Read an archive of a snapshot, or of a tar that the fuzzer changes."""
    kind, rest = choice(data, ("packed", "plain"))
    if kind == "plain":
        rest = rest[:1] + gzip.compress(rest[1:], 1, mtime=0)
    reader = ArchiveReader(io.BytesIO(), _BODY_MAX)
    with contextlib.suppress(BadArchive):
        for piece in pieces_of(rest):
            for _ in reader.feed(piece):
                pass
        reader.finish()


def decode_configuration(data: bytes) -> None:
    """Read the configuration of a Raft cluster."""
    with contextlib.suppress(ConsultwistError):
        Configuration.unpack(data).check()


@functools.cache
def state_tables() -> tuple[IStateTable, ...]:
    """Return all state tables; the first call imports all plugins."""
    return discover().state_tables


def _replica() -> Replica:
    return Replica(*state_tables())


def decode_snapshot(data: bytes) -> None:
    """Restore a state snapshot; what was restored can be written and restored."""
    pieces = pieces_of(data)
    replica = _replica()
    try:
        replica.fsm.restore(pieces)
    except WireError:
        return
    written = replica.snapshot()
    again = _replica()
    again.restore(written)
    assert again.snapshot() == written


def decode_command(data: bytes) -> None:
    """Apply a command as a committed entry: a result, or an error of ours."""
    replica = _replica()
    with contextlib.suppress(UnknownCommand):
        result = replica.apply_bytes(data, 7)
        assert not isinstance(result, Exception) or isinstance(result, ConsultwistError)


def decode_chunks(data: bytes) -> None:
    """Join chunks by the places in their extensions, and read those of a snapshot."""
    chunks = Chunks()
    at = 0
    with contextlib.suppress(WireError):
        while at < len(data):
            extensions = data[at + 1 : at + 1 + data[at] % 32]
            chunks.add(1, extensions, b"x")
            at += 1 + len(extensions)
    with contextlib.suppress(WireError):
        chunks = Chunks.from_record(msgpack.unpack(data))
    kept = chunks.records()
    assert Chunks.from_record(msgpack.unpack(kept)).records() == kept
    for operation in chunks:
        chunks.add(1, bytes((8, operation & 0x7F, 24, 2)), b"y")
        break


DECODERS: Final[dict[str, Decoder]] = {
    "record": decode_record,
    "stream": decode_stream,
    "json": decode_json,
    "filter": decode_filter,
    "config": decode_config,
    "http": decode_http,
    "response": decode_response,
    "http2": decode_http2,
    "dns": decode_dns,
    "packet": decode_packet,
    "gossip-stream": decode_gossip_stream,
    "serf": decode_serf,
    "expression": decode_expression,
    "serf-snapshot": decode_serf_snapshot,
    "raft": decode_raft,
    "rpc": decode_rpc,
    "yamux": decode_yamux,
    "archive": decode_archive,
    "configuration": decode_configuration,
    "snapshot": decode_snapshot,
    "command": decode_command,
    "chunks": decode_chunks,
}
