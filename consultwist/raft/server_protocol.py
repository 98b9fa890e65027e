"""The server's end of a Raft stream: requests in, answers out in the same order."""

from collections import deque
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.errors import ConsultwistError
from consultwist.raft.codec import RequestDecoder, SnapshotBytes, encode_response
from consultwist.raft.interfaces import IRaftReceiver, IReplyTo, ISnapshotSink
from consultwist.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    Message,
    Request,
)

log = Logger()

#: A stock leader has up to 128 requests in flight (raft.md section 1). With twice as
#: many unanswered the stream is not read until half of them are.
_UNANSWERED_MAX: Final = 256

#: How long the rest of a message may take.
_MESSAGE_TIMEOUT_S: Final = 10.0


@implementer(IReplyTo)
class _Slot:
    """The place of one answer in the order of a stream."""

    __slots__ = ("_protocol", "encoded")

    def __init__(self, protocol: "RaftServerProtocol") -> None:
        self._protocol = protocol
        self.encoded: bytes | None = None

    def answer(self, response: Message | None, error: str = "") -> None:
        """Send the answer, once those before it are sent."""
        self.encoded = encode_response(response, error)
        self._protocol.send_answers()


class RaftServerProtocol(Protocol):
    """A stream that a peer opened.

    The first byte has been read before; what followed it comes as `dataReceived`.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        clock: Clock,
        receiver: IRaftReceiver,
        accepted: "dict[RaftServerProtocol, None]",
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._receiver = receiver
        self._accepted = accepted
        self._decoder = RequestDecoder()
        self._slots: deque[_Slot] = deque()
        self._is_paused = False
        self._is_refused = False
        self._leader = ""
        self._snapshot: tuple[InstallSnapshot, ISnapshotSink] | None = None
        self._timer: IDelayedCall | None = None
        self._last_data = 0.0

    def refuse(self) -> None:
        """Close the stream, now or when it is connected."""
        self._is_refused = True
        if self.transport is not None:
            self._abort()

    def connectionMade(self) -> None:
        if self._is_refused:
            self._abort()
            return
        self._accepted[self] = None
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        try:
            for item in self._decoder.feed(data):
                if isinstance(item, SnapshotBytes):
                    self._take_snapshot(item)
                else:
                    self._take(item)
        except (ConsultwistError, OSError) as error:
            log.warn("raft: a peer's stream is closed: {error}", error=error)
            self._abort()
            return
        if not self._decoder.is_between_requests:
            self._watch()
        if len(self._slots) > _UNANSWERED_MAX and not self._is_paused:
            self._is_paused = True
            self._stream.pauseProducing()

    def _take(self, request: Request) -> None:
        if isinstance(request, InstallSnapshot):
            self._snapshot = (request, self._receiver.snapshot_started(request))
            return
        if isinstance(request, AppendEntries):
            self._leader = request.leader.decode("utf-8", "surrogateescape")
        self._receiver.request_received(request, self._slot())

    def _take_snapshot(self, piece: SnapshotBytes) -> None:
        assert self._snapshot is not None
        request, sink = self._snapshot
        sink.write(piece.data)
        if piece.is_last:
            self._snapshot = None
            self._receiver.snapshot_received(request, sink, self._slot())

    def _slot(self) -> _Slot:
        slot = _Slot(self)
        self._slots.append(slot)
        return slot

    def send_answers(self) -> None:
        """Write the answers that are there and whose turn it is."""
        ready = []
        while self._slots and self._slots[0].encoded is not None:
            ready.append(self._slots.popleft().encoded)
        if ready and self in self._accepted:
            self._stream.write(b"".join(filter(None, ready)))
        if self._is_paused and len(self._slots) <= _UNANSWERED_MAX // 2:
            self._is_paused = False
            self._stream.resumeProducing()

    @property
    def _stream(self) -> Any:
        return self.transport

    def _watch(self) -> None:
        """Close the stream if the rest of a message does not come."""
        self._last_data = self._clock.monotonic()
        if self._timer is None:
            self._timer = self._reactor.callLater(_MESSAGE_TIMEOUT_S, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._decoder.is_between_requests:
            return
        left_s = self._last_data + _MESSAGE_TIMEOUT_S - self._clock.monotonic()
        if left_s <= 0:
            self._abort()
        else:
            self._timer = self._reactor.callLater(left_s, self._look)

    def _abort(self) -> None:
        self._stream.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - it is gone, whatever the reason
        self._accepted.pop(self, None)
        self._slots.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._snapshot is not None:
            self._snapshot[1].abort()
            self._snapshot = None
        if self._leader:
            self._receiver.stream_lost(self._leader)
