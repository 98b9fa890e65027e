"""From a request to an entry of the Raft log, and back to its answer."""

import random
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred

from consultwist.errors import ConsultwistError
from consultwist.state.chunking import CHUNK_SIZE, split
from consultwist.structs.message_type import MessageType
from consultwist.wire.struct import Struct

_TYPE_BYTES: Final = [bytes((number,)) for number in range(256)]

#: Operation numbers of chunked commands: any 64-bit number (raft's chunking).
_OPERATION_BITS: Final = 64


class Proposer(Protocol):
    """What Raft offers to those who want something in the log."""

    def propose(self, data: bytes, extensions: bytes | None = None) -> Deferred[Any]:
        """Propose a command; fires with what the state machine answered."""


class RaftApply:
    """Proposes commands and gives back what the state machine answered."""

    def __init__(
        self, raft: Proposer, rng: random.Random, counted: Callable[[float], None]
    ) -> None:
        """Take what is needed.

        Args:
            raft: takes the proposals.
            rng: numbers chunked operations.
            counted: counts each proposal.
        """
        self._raft = raft
        self._rng = rng
        self._counted = counted

    def __call__(self, message_type: int, request: Struct) -> Deferred[Any]:
        """Propose one command; fails where the state machine refuses it."""
        self._counted(1)
        command = _TYPE_BYTES[message_type] + request.pack()
        if message_type == MessageType.KVS and len(command) > CHUNK_SIZE:
            return self._propose_chunks(command)
        return self._raft.propose(command)

    def _propose_chunks(self, command: bytes) -> Deferred[Any]:
        """Propose the chunks at once; the last one's answer is the command's."""
        operation = self._rng.getrandbits(_OPERATION_BITS)
        *others, last = split(command, operation)
        for data, extensions in others:
            # If one of these is lost, the last one completes nothing and fails too.
            self._raft.propose(data, extensions).addErrback(lambda _: None)
        return self._raft.propose(*last).addCallback(_require_whole)


def _require_whole(result: Any) -> Any:
    """Fail where the last chunk completed nothing: the term changed in between."""
    if result is None:
        raise ConsultwistError("please resubmit call for rechunking")
    return result
