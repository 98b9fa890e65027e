"""Streams: one request, at most one answer, then the end.

::

    [label] 0a | length | AES-GCM envelope    while encrypting
    [label] message                           otherwise

The message may be compressed. Only the side that dials writes the label, but both
sides authenticate it. A plain stream has no length: its parts are decoded as they come,
since the sender keeps the connection open while it waits for the answer.
"""

import struct

import attrs
import msgpack

from consultwist.errors import WireError
from consultwist.gossip.memberlist import keyring, messages
from consultwist.gossip.memberlist.members import MEMBERS_MAX
from consultwist.gossip.memberlist.messages import (
    Ack,
    Compress,
    ErrorAnswer,
    NodeState,
    Ping,
    PushPullHeader,
    UserHeader,
)
from consultwist.gossip.memberlist.packet import PacketCodec, expand

#: memberlist's maxPushStateBytes: an encrypted stream must not be longer.
STREAM_SIZE_MAX = 20 * 1024 * 1024

#: Newer members refuse to inflate beyond this, too.
STREAM_INFLATED_MAX = 40 * 1024 * 1024

#: Newer members' limits on the user parts of a stream.
USER_STATE_MAX = 20 * 1024 * 1024

_ENVELOPE = struct.Struct(">BI")

NOT_ENCRYPTED = "Encryption is configured but remote state is not encrypted"
NOT_CONFIGURED = "Remote state is encrypted and encryption is not configured"


@attrs.frozen
class PushPull:
    """A full exchange, one direction of it."""

    join: bool
    nodes: list[NodeState]
    user_state: bytes


@attrs.frozen
class UserData:
    """A message of the layer above."""

    data: bytes


@attrs.frozen
class Compressed:
    """A message that `inflate` turns into one of the others.

    That may take long enough to be done in a thread.
    """

    data: bytes


StreamMessage = Ping | Ack | ErrorAnswer | PushPull | UserData
Received = StreamMessage | Compressed


class StreamRefused(WireError):
    """The outer layers of a stream cannot be read; the sender is told why."""


def seal(codec: PacketCodec, message: bytes, *, is_dialing: bool) -> bytes:
    """Return the bytes that carry a message over a stream."""
    prefix = codec.prefix if is_dialing else b""
    if not codec.is_encrypting:
        return prefix + message
    size = len(message) + keyring.OVERHEAD
    header = _ENVELOPE.pack(messages.ENCRYPT, size)
    return prefix + header + codec.keys.encrypt(message, header + codec.label)


class StreamReader:
    """Takes the one message out of what a member writes to a stream.

    Args:
        codec: keys and label of the pool.
        is_dialing: whether we have opened the stream.
    """

    def __init__(self, codec: PacketCodec, *, is_dialing: bool) -> None:
        self._codec = codec
        self._label = b"" if is_dialing else codec.prefix
        self._buffer = bytearray()
        self._wanted = 1
        self._parser: _Parser | None = None
        self._size = 0

    def feed(self, data: bytes) -> Received | None:
        """Take more bytes; return the message once it is complete.

        Raises:
            StreamRefused: where the sender is to be told the text.
            WireError: where the stream is just to be closed.
        """
        self._size += len(data)
        if self._size > STREAM_SIZE_MAX:
            raise WireError("gossip: a stream is too long")
        if self._parser is not None:
            return self._parser.feed(data)
        self._buffer += data
        if len(self._buffer) < self._wanted:
            return None
        return self._open()

    def _open(self) -> Received | None:
        if not self._strip_label():
            return None
        if self._buffer[0] == messages.ENCRYPT:
            plain = self._decrypt()
            if plain is None:
                return None
            self._parser = _Parser()
            message = self._parser.feed(plain)
            if message is None:
                raise WireError("gossip: a truncated message in a stream")
            return message
        if self._codec.keys and self._codec.verify_incoming:
            raise StreamRefused(NOT_ENCRYPTED)
        self._parser = _Parser()
        rest, self._buffer = bytes(self._buffer), bytearray()
        return self._parser.feed(rest)

    def _strip_label(self) -> bool:
        label = self._label
        if label:
            if not label.startswith(self._buffer[: len(label)]):
                raise WireError("gossip: missing or wrong label on a stream")
            if len(self._buffer) <= len(label):
                self._wanted = len(label) + 1
                return False
            del self._buffer[: len(label)]
            self._label = b""
        if self._buffer[0] == messages.HAS_LABEL:
            raise WireError("gossip: unexpected label on a stream")
        return True

    def _decrypt(self) -> bytes | None:
        if not self._codec.keys:
            raise StreamRefused(NOT_CONFIGURED)
        if len(self._buffer) < _ENVELOPE.size:
            self._wanted = _ENVELOPE.size
            return None
        size = _ENVELOPE.unpack_from(self._buffer)[1]
        if size > STREAM_SIZE_MAX:
            raise WireError("gossip: a stream is too long")
        self._wanted = _ENVELOPE.size + size
        if len(self._buffer) < self._wanted:
            return None
        header = bytes(self._buffer[: _ENVELOPE.size])
        envelope = bytes(self._buffer[_ENVELOPE.size : self._wanted])
        try:
            return self._codec.keys.decrypt(envelope, header + self._codec.label)
        except WireError as error:
            raise StreamRefused(str(error)) from error


def inflate(compressed: Compressed) -> StreamMessage:
    """Return the message inside a compressed one.

    Raises:
        WireError: where it cannot be read or holds too much.
    """
    plain = expand(compressed.data, STREAM_INFLATED_MAX)
    message = _Parser(may_inflate=False).feed(plain)
    if message is None:
        raise WireError("gossip: a truncated message in a stream")
    assert not isinstance(message, Compressed)
    return message


class _Parser:
    """Decodes a plain message piece by piece."""

    def __init__(self, *, may_inflate: bool = True) -> None:
        self._kind = -1
        self._may_inflate = may_inflate
        self._unpacker = msgpack.Unpacker(
            raw=True,
            strict_map_key=False,
            max_buffer_size=STREAM_INFLATED_MAX + 1,
            max_ext_len=0,
        )
        self._head: PushPullHeader | UserHeader | None = None
        self._nodes: list[NodeState] = []
        self._rest = bytearray()

    def feed(self, data: bytes) -> Received | None:
        if self._kind < 0:
            if not data:
                return None
            self._kind = data[0]
            data = data[1:]
        self._unpacker.feed(data)
        try:
            return self._parse()
        except msgpack.OutOfData:
            return None
        except WireError:
            raise
        except Exception as error:
            raise WireError(f"msgpack: {error}") from error

    def _parse(self) -> Received | None:
        kind = self._kind
        if kind == messages.PUSH_PULL:
            return self._push_pull()
        if kind == messages.USER:
            return self._user()
        if kind == messages.COMPRESS and self._may_inflate:
            raw = messages.from_raw(Compress, self._unpacker.unpack())
            return Compressed(raw.pack())
        if kind == messages.PING:
            return messages.from_raw(Ping, self._unpacker.unpack())
        if kind == messages.ACK:
            return messages.from_raw(Ack, self._unpacker.unpack())
        if kind == messages.ERROR:
            return messages.from_raw(ErrorAnswer, self._unpacker.unpack())
        raise WireError("gossip: unexpected message type on a stream")

    def _push_pull(self) -> StreamMessage | None:
        head = self._head
        if head is None:
            head = messages.from_raw(PushPullHeader, self._unpacker.unpack())
            if not 0 <= head.nodes <= MEMBERS_MAX:
                raise WireError("gossip: a push/pull claims too many members")
            if not 0 <= head.user_state_len <= USER_STATE_MAX:
                raise WireError("gossip: a push/pull claims too much user state")
            self._head = head
        assert isinstance(head, PushPullHeader)
        while len(self._nodes) < head.nodes:
            self._nodes.append(messages.from_raw(NodeState, self._unpacker.unpack()))
        user_state = self._bytes(head.user_state_len)
        if user_state is None:
            return None
        return PushPull(head.join, self._nodes, user_state)

    def _user(self) -> StreamMessage | None:
        head = self._head
        if head is None:
            head = messages.from_raw(UserHeader, self._unpacker.unpack())
            if not 0 <= head.user_msg_len <= USER_STATE_MAX:
                raise WireError("gossip: a user message claims to be too long")
            self._head = head
        assert isinstance(head, UserHeader)
        data = self._bytes(head.user_msg_len)
        return None if data is None else UserData(data)

    def _bytes(self, count: int) -> bytes | None:
        """Return `count` raw bytes once they have come."""
        if len(self._rest) < count:
            self._rest += self._unpacker.read_bytes(count - len(self._rest))
        return bytes(self._rest) if len(self._rest) >= count else None
