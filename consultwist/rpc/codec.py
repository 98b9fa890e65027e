"""The RPC codec: msgpack values one after the other, nothing around them.

::

    request  = header {Seq, ServiceMethod}          body (the argument)
    response = header {Error, Seq, ServiceMethod}   body (the reply)

Bodies are raw values here: what they mean depends on the method.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from consultwist.errors import WireError
from consultwist.wire import msgpack
from consultwist.wire.msgpack import StreamUnpacker
from consultwist.wire.struct import Struct

#: What stands for a reply without content, and beside an error.
EMPTY_BODY: Final = b"\x80"

#: Names that are kept packed; Consul has some hundred methods.
_METHODS_KEPT: Final = 512

_SEQ: Final = msgpack.pack("Seq")
_METHOD: Final = msgpack.pack("ServiceMethod")
_ERROR: Final = msgpack.pack("Error")
_NO_ERROR: Final = b"\x83" + _ERROR + msgpack.pack("")


class RequestHeader(Struct):
    """What stands before an argument."""

    seq: int = 0
    service_method: str = ""


class ResponseHeader(Struct):
    """What stands before a reply."""

    error: str = ""
    seq: int = 0
    service_method: str = ""


def encode_request(seq: int, method: str, body: bytes) -> bytes:
    """Return a request; `body` is the argument, packed."""
    return b"\x82" + _call(seq, method) + body


def encode_response(seq: int, method: str, body: bytes) -> bytes:
    """Return a response; `body` is the reply, packed."""
    return _NO_ERROR + _call(seq, method) + body


def encode_error(seq: int, method: str, text: str) -> bytes:
    """Return a response that is an error."""
    return b"\x83" + _ERROR + msgpack.pack(text) + _call(seq, method) + EMPTY_BODY


def _call(seq: int, method: str) -> bytes:
    return _SEQ + msgpack.pack(seq) + _method_field(method)


@lru_cache(maxsize=_METHODS_KEPT)
def _method_field(method: str) -> bytes:
    return _METHOD + msgpack.pack(method)


class MessageDecoder:
    """Cuts pairs of header and body out of a stream, within a bound."""

    def __init__(self, size_max: int = msgpack.MESSAGE_SIZE_MAX) -> None:
        self._unpacker = StreamUnpacker(size_max)
        self._header: Any = None

    @property
    def pending(self) -> int:
        """Tell how many bytes wait for the rest of their message."""
        return self._unpacker.pending

    @property
    def is_between_messages(self) -> bool:
        """Tell whether all that came was whole messages."""
        return self._header is None and not self._unpacker.pending

    def feed(self, data: bytes) -> Iterator[tuple[dict[Any, Any], Any]]:
        """Yield what is complete now: each message as raw header and raw body.

        Raises:
            WireError: where the bytes are no messages.
        """
        self._unpacker.feed(data)
        for value in self._unpacker:
            if self._header is None:
                if not isinstance(value, dict):
                    raise WireError("rpc: a message begins with no header")
                self._header = value
            else:
                header, self._header = self._header, None
                yield header, value
