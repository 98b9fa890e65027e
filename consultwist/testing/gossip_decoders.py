"""The decoders of gossip, as functions of bytes; see `consultwist.testing.decoders`."""

import contextlib
from typing import Final

from consultwist.errors import BadRequest, WireError
from consultwist.gossip.memberlist import messages as gossip
from consultwist.gossip.memberlist import stream as gossip_stream
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.memberlist.packet import PacketCodec
from consultwist.gossip.serf import messages as serf
from consultwist.gossip.serf import snapshot
from consultwist.gossip.serf.query import matches
from consultwist.testing.decoder_input import choice, pieces_of
from consultwist.wire.regexp import compile_regexp
from consultwist.wire.struct import Struct

#: The key that seeds of encrypted gossip were made with.
GOSSIP_KEY: Final = bytes(range(16))


def decode_packet(data: bytes) -> None:
    """Take a gossip packet apart, and read the messages in it."""
    codec, packet = choice(data, _codecs())
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
    codec, rest = choice(data, _codecs())
    pieces = pieces_of(rest)
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
        compile_regexp(pattern)(text)


def decode_serf_snapshot(data: bytes) -> None:
    """Replay a Serf snapshot; what is remembered is written and read as the same."""
    lines = data.decode("utf-8", "replace").split("\n")
    first, second = snapshot.Remembered(), snapshot.Remembered()
    first.replay(lines, rejoin_after_leave=len(data) % 2 == 0)
    second.replay(first.lines(), rejoin_after_leave=False)
    assert first == second
