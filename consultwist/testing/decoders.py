"""Every decoder of bytes from outside, as one function of bytes.

`DECODERS` maps names to functions that fuzzers and property tests call with any bytes.
A function returns where the bytes were read or were refused as the decoder says;
whatever else is wrong comes out as an exception: another error, a result that depends
on how a stream was cut, a record that does not survive its own encoding.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.api.txn.table import TxnTable
from consultwist.config.merge import Source, merge_sources
from consultwist.dns import message as dns
from consultwist.errors import BadRequest, ConfigError, ConsultwistError, WireError
from consultwist.gossip.memberlist import messages as gossip
from consultwist.gossip.memberlist import stream as gossip_stream
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.serf import expression, snapshot
from consultwist.gossip.serf import messages as serf
from consultwist.gossip.serf.query import matches
from consultwist.http.messages import query_pairs
from consultwist.http.parser import (
    Body,
    BodyTooLarge,
    Malformed,
    Memory,
    RequestReader,
)
from consultwist.raft.codec import RequestDecoder, ResponseDecoder
from consultwist.raft.configuration import Configuration
from consultwist.state.chunking import Chunks
from consultwist.state.fsm import UnknownCommand
from consultwist.structs.catalog import (
    CheckServiceNode,
    CheckType,
    Node,
    ServiceDefinition,
)
from consultwist.structs.filter import compile_filter
from consultwist.testing.state import Replica
from consultwist.wire import json, json_decode, msgpack
from consultwist.wire.struct import Struct

Decoder = Callable[[bytes], None]

#: The key that seeds of encrypted gossip were made with.
GOSSIP_KEY: Final = bytes(range(16))

#: More than any input of a fuzzer: announced sizes above it are refused.
_BODY_MAX: Final = 1024 * 1024


def _pieces(data: bytes) -> list[bytes]:
    """Cut bytes behind the first as that says: whole, or in pieces of some size."""
    if not data:
        return []
    size = data[0] or len(data)
    return [data[at : at + size] for at in range(1, len(data), size)]


def _choice(data: bytes, choices: Iterable[Any]) -> tuple[Any, bytes]:
    """Return what the first byte chooses, and the bytes behind it."""
    known = list(choices)
    return known[(data[0] if data else 0) % len(known)], data[1:]


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
    cls, body = _choice(data, record_classes())
    try:
        record = cls.unpack(body)
    except WireError:
        return
    written = record.pack()
    assert cls.unpack(written).pack() == written
    json.encode(record)


def decode_stream(data: bytes) -> None:
    """Cut a stream of msgpack values; the cuts do not matter."""
    pieces = _pieces(data)
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
    cls, body = _choice(data, record_classes())
    strict = len(body) % 2 == 0
    for decode in (json_decode.decode, json_decode.decode_list):
        with contextlib.suppress(WireError):
            json.encode(decode(cls, body, strict=strict))


def decode_filter(data: bytes) -> None:
    """Compile a filter expression and ask it about a record."""
    kinds = (CheckServiceNode, Node, ServiceDefinition, CheckType)
    cls, body = _choice(data, kinds)
    with contextlib.suppress(BadRequest):
        compile_filter(body.decode("utf-8", "surrogateescape"), cls)(cls())


def decode_config(data: bytes) -> None:
    """Read a configuration file: HCL, or JSON where the first byte says so."""
    kind, body = _choice(data, ("hcl", "json"))
    text = body.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ConfigError):
        merge_sources([Source("fuzz", text, kind)])


def decode_http(data: bytes) -> None:
    """Read requests off a connection; the cuts do not matter."""
    pieces = _pieces(data)
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


def decode_packet(data: bytes) -> None:
    """Take a gossip packet apart, and read the messages in it."""
    codec, packet = _choice(data, _codecs())
    for message in codec.unpack(packet):
        _decode_gossip(message)


def _codecs() -> list[PacketCodec]:
    """Return what pools of all kinds use: plain, with keys, with a label."""
    keys = Keyring([GOSSIP_KEY])
    return [
        PacketCodec(Keyring()),
        PacketCodec(keys, verify_incoming=False),
        PacketCodec(keys),
        PacketCodec(keys, label=b"alpha"),
    ]


_GOSSIP_KINDS: Final[tuple[tuple[int, type[Struct]], ...]] = (
    (gossip.PING, gossip.Ping),
    (gossip.INDIRECT_PING, gossip.IndirectPing),
    (gossip.ACK, gossip.Ack),
    (gossip.NACK, gossip.Nack),
    (gossip.SUSPECT, gossip.Suspect),
    (gossip.ALIVE, gossip.Alive),
    (gossip.DEAD, gossip.Dead),
)


def _decode_gossip(message: bytes) -> None:
    if message[0] == gossip.USER:
        decode_serf(message[1:])
    for kind, cls in _GOSSIP_KINDS:
        if message[0] == kind:
            with contextlib.suppress(WireError):
                gossip.decode(cls, message[1:]).pack()


def decode_gossip_stream(data: bytes) -> None:
    """Read the message of a gossip stream; the cuts do not matter."""
    codec, rest = _choice(data, _codecs())
    pieces = _pieces(rest)
    is_dialing = len(rest) % 2 == 0
    cut = _received(codec, pieces, is_dialing=is_dialing)
    assert cut == _received(codec, [b"".join(pieces)], is_dialing=is_dialing)


def _received(
    codec: PacketCodec, pieces: list[bytes], *, is_dialing: bool
) -> gossip_stream.Received | None:
    reader = gossip_stream.StreamReader(codec, is_dialing=is_dialing)
    try:
        for piece in pieces:
            message = reader.feed(piece) if piece else None
            if isinstance(message, gossip_stream.Compressed):
                return gossip_stream.inflate(message)
            if message is not None:
                return message
    except WireError:
        return None
    return None


_SERF_KINDS: Final[tuple[tuple[int, type[Struct]], ...]] = (
    (serf.LEAVE, serf.LeaveIntent),
    (serf.JOIN, serf.JoinIntent),
    (serf.PUSH_PULL, serf.SerfState),
    (serf.USER_EVENT, serf.UserEvent),
    (serf.QUERY, serf.Query),
    (serf.QUERY_RESPONSE, serf.QueryResponse),
    (serf.CONFLICT_RESPONSE, serf.ConflictMember),
    (serf.KEY_REQUEST, serf.KeyRequest),
    (serf.KEY_RESPONSE, serf.KeyResponse),
)


def decode_serf(data: bytes) -> None:
    """Read a message of Serf, the message that a relay holds, a query's filters."""
    for _ in range(len(data)):
        if data[:1] != bytes((serf.RELAY,)):
            break
        try:
            data = serf.decode_relay(data[1:])[1]
        except WireError:
            return
    for kind, cls in _SERF_KINDS:
        if data[:1] == bytes((kind,)):
            with contextlib.suppress(WireError):
                _use_serf(serf.decode(cls, data[1:]))


def _use_serf(body: Struct) -> None:
    body.pack()
    if isinstance(body, serf.Query):
        matches(body.filters or (), "node", {"role": "consul", "vsn": "2"})


def decode_expression(data: bytes) -> None:
    """Match a regular expression from a stranger's query against a text."""
    pattern, _, text = data.decode("utf-8", "replace").partition("\n")
    with contextlib.suppress(BadRequest):
        expression.search(pattern, text)


def decode_serf_snapshot(data: bytes) -> None:
    """Replay a Serf snapshot; what is remembered is written and read as the same."""
    lines = data.decode("utf-8", "replace").split("\n")
    first, second = snapshot.Remembered(), snapshot.Remembered()
    first.replay(lines, rejoin_after_leave=len(data) % 2 == 0)
    second.replay(first.lines(), rejoin_after_leave=False)
    assert first == second


def decode_raft(data: bytes) -> None:
    """Read both directions of a Raft stream; the cuts do not matter."""
    pieces = _pieces(data)
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


def decode_configuration(data: bytes) -> None:
    """Read the configuration of a Raft cluster."""
    with contextlib.suppress(ConsultwistError):
        Configuration.unpack(data).check()


def _replica() -> Replica:
    return Replica(
        CatalogTable(), SessionTable(), KVTable(), TxnTable(), CoordinateTable()
    )


def decode_snapshot(data: bytes) -> None:
    """Restore a state snapshot; what was restored can be written and restored."""
    pieces = _pieces(data)
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
    "dns": decode_dns,
    "packet": decode_packet,
    "gossip-stream": decode_gossip_stream,
    "serf": decode_serf,
    "expression": decode_expression,
    "serf-snapshot": decode_serf_snapshot,
    "raft": decode_raft,
    "configuration": decode_configuration,
    "snapshot": decode_snapshot,
    "command": decode_command,
    "chunks": decode_chunks,
}
