"""Snapshots between agents: a connection of its own for each (first byte 5).

::

    asked:     SnapshotRequest, to restore the archive, then the end of this direction
    answered:  SnapshotResponse, to save the archive, then the end

Archives come in and go out by way of files, as fast as the other end takes them.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.errors import (
    CallInterrupted,
    ConsultwistError,
    ServerUnreachable,
    WireError,
    from_wire,
)
from consultwist.rpc.dial import Dialer, go_text
from consultwist.rpc.first_byte import FirstByte
from consultwist.structs.snapshot import (
    RESTORE,
    SAVE,
    SnapshotRequest,
    SnapshotResponse,
)
from consultwist.wire.msgpack import StreamUnpacker
from consultwist.wire.spool import open_spool, pieces_of

log = Logger()

#: A header is some hundred bytes; tokens are short.
_HEADER_MAX: Final = 64 * 1024

#: The largest archive that is taken; over HTTP it is the same.
_ARCHIVE_MAX: Final = 1024 * 1024 * 1024

#: How long the other end may be silent: it may have to take a snapshot first.
_SILENCE_MAX_S: Final = 120.0


@attrs.frozen
class SavedSnapshot:
    """A snapshot that is ready to be sent.

    Attributes:
        response: what is said before it.
        pieces: the archive; some pieces may be empty. Each takes about a millisecond
            to make.
        close: lets go of it; called once, at the end or before.
    """

    response: SnapshotResponse
    pieces: Iterator[bytes]
    close: Callable[[], None]


class Snapshots(Shape):
    """What saves and restores, or knows who does."""

    def save_snapshot(self, request: SnapshotRequest) -> Deferred[SavedSnapshot]:
        """Take a snapshot; fires when it can be sent."""

    def restore_snapshot(
        self, request: SnapshotRequest, archive: BinaryIO
    ) -> Deferred[SnapshotResponse]:
        """Put the state of an archive in place; fires when that is done."""


@attrs.define(kw_only=True)
class _Progress:
    """Who is told how the sending goes.

    Attributes:
        moved: something was sent.
        done: all was sent, or it cannot be.
    """

    moved: Callable[[], None]
    done: Callable[[bool], None]


@implementer(IPushProducer)
class _Feed:
    """Writes pieces as fast as a connection takes them, one in each turn."""

    def __init__(
        self, reactor: Any, transport: Any, pieces: Iterator[bytes], tell: _Progress
    ) -> None:
        self._reactor = reactor
        self._transport = transport
        self._pieces = pieces
        self._tell = tell
        self._is_paused = False
        self._is_over = False
        self._later: IDelayedCall | None = None
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        """Go on: the connection has room."""
        self._is_paused = False
        if self._later is None and not self._is_over:
            self._later = self._reactor.callLater(0, self._write)

    def pauseProducing(self) -> None:
        """Wait: the connection is full."""
        self._is_paused = True

    def stopProducing(self) -> None:
        """Stop; the connection is gone."""
        self._is_over = True

    def _write(self) -> None:
        """Write the next piece that is not empty."""
        self._later = None
        if self._is_over or self._is_paused:
            return
        self._tell.moved()
        try:
            piece = next(filter(None, self._pieces), None)
        except Exception:
            log.failure("a snapshot cannot be sent to its end")
            self._end(whole=False)
            return
        if piece is None:
            self._end(whole=True)
            return
        self._later = self._reactor.callLater(0, self._write)
        self._transport.write(piece)

    def _end(self, *, whole: bool) -> None:
        self._is_over = True
        self._transport.unregisterProducer()
        self._tell.done(whole)


class _Transfer(Protocol):
    """What both ends have in common: a header first, then an archive into a file."""

    def __init__(self, reactor: Any, folder: str) -> None:
        self._reactor = reactor
        self._folder = folder
        self._unpacker: StreamUnpacker | None = StreamUnpacker(_HEADER_MAX)
        self._file: BinaryIO | None = None
        self._size = 0
        self._timer: IDelayedCall | None = None

    @property
    def _stream(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        self.start_timer()

    def start_timer(self) -> None:
        """Wait for the other end, but not for ever."""
        self._timer = self._reactor.callLater(_SILENCE_MAX_S, self._too_late)

    def moved(self) -> None:
        """Note that the other end takes or gives something."""
        if self._timer is not None:
            self._timer.reset(_SILENCE_MAX_S)

    def dataReceived(self, data: bytes) -> None:
        self.moved()
        try:
            self._take(data)
        except (ConsultwistError, OSError) as error:
            self.failed(str(error))

    def _take(self, data: bytes) -> None:
        unpacker = self._unpacker
        if unpacker is not None:
            unpacker.feed(data)
            header = next(iter(unpacker), None)
            if header is None:
                return
            self._unpacker = None
            data = unpacker.read_raw(unpacker.pending)
            self.header_received(header)
        if not data:
            return
        self._size += len(data)
        if self._file is None or self._size > _ARCHIVE_MAX:
            raise WireError("snapshot: more bytes came than there should be")
        self._file.write(data)

    def open_file(self) -> None:
        """Keep what comes from now on."""
        self._file = open_spool(self._folder)

    def take_file(self) -> BinaryIO:
        """Give away the file with what came."""
        file, self._file = self._file, None
        assert file is not None
        file.seek(0)
        return file

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 - whatever the reason
        self.forget_timer()
        if self._file is not None:
            self._file.close()
            self._file = None

    def forget_timer(self) -> None:
        """Wait without a limit: it is our turn."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        self.failed("snapshot: the other end is silent")

    def header_received(self, raw: Any) -> None:
        """Take the header; for subclasses."""

    def failed(self, text: str) -> None:
        """End because of an error; for subclasses."""


@implementer(IHalfCloseableProtocol)
class SnapshotServerProtocol(_Transfer):
    """The server's end of one transfer."""

    def __init__(self, reactor: Any, folder: str, snapshots: Snapshots) -> None:
        super().__init__(reactor, folder)
        self._snapshots = snapshots
        self._request: SnapshotRequest | None = None
        self._saved: SavedSnapshot | None = None

    def header_received(self, raw: Any) -> None:
        """Begin to save, or keep the archive that follows."""
        request = self._request = SnapshotRequest.from_raw(raw)
        if request.op == RESTORE:
            self.open_file()
        elif request.op == SAVE:
            self._begin(self._snapshots.save_snapshot(request), self._send)
        else:
            raise WireError(f"unrecognized snapshot op {request.op}")

    def readConnectionLost(self) -> None:
        """The client has said all: restore what came."""
        if self._request is None:
            self._stream.loseConnection()
        elif self._file is not None:
            archive = self.take_file()
            done = self._snapshots.restore_snapshot(self._request, archive)
            done.addBoth(_closing, archive)
            self._begin(done, self._tell)

    def writeConnectionLost(self) -> None:
        """Our side is ended."""

    def _begin(self, done: Deferred[Any], then: Callable[[Any], None]) -> None:
        self.forget_timer()
        done.addCallback(then)
        done.addErrback(self._refused)

    def _send(self, saved: SavedSnapshot) -> None:
        if not self.connected:
            saved.close()
            return
        self._saved = saved
        self._stream.write(saved.response.pack())
        self.start_timer()
        tell = _Progress(moved=self.moved, done=self._sent)
        _Feed(self._reactor, self._stream, saved.pieces, tell)

    def _sent(self, whole: bool) -> None:
        if whole:
            self._stream.loseConnection()
        else:
            # A client must not take half of an archive for a whole one.
            self._stream.abortConnection()

    def _tell(self, response: SnapshotResponse) -> None:
        if self.connected:
            self._stream.write(response.pack())
            self._stream.loseConnection()

    def _refused(self, failure: Failure) -> None:
        if not failure.check(ConsultwistError):
            log.failure("a snapshot failed", failure)
        self.failed(failure.getErrorMessage())

    def failed(self, text: str) -> None:
        """Say why there is no snapshot, and end."""
        if self.connected:
            self._tell(SnapshotResponse(error=text))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        super().connectionLost(reason)
        if self._saved is not None:
            self._saved.close()
            self._saved = None


def _closing(result: Any, file: BinaryIO) -> Any:
    file.close()
    return result


@implementer(IHalfCloseableProtocol)
class _ClientProtocol(_Transfer):
    """The client's end of one transfer."""

    def __init__(
        self,
        reactor: Any,
        folder: str,
        request: SnapshotRequest,
        archive: BinaryIO | None = None,
    ) -> None:
        super().__init__(reactor, folder)
        self._request = request
        self._archive = archive
        self._response: SnapshotResponse | None = None
        self.done: Deferred[Any] = Deferred(lambda _: self._stream.abortConnection())

    def connectionMade(self) -> None:
        super().connectionMade()
        self._stream.write(self._request.pack())
        if self._archive is None:
            self._said_all(True)
        else:
            pieces = pieces_of(self._archive)
            tell = _Progress(moved=self.moved, done=self._said_all)
            _Feed(self._reactor, self._stream, pieces, tell)

    def _said_all(self, whole: bool) -> None:
        if not whole:
            self._stream.abortConnection()
            return
        # TLS gathers small writes until the end of the turn; they come before.
        self._reactor.callLater(0, self._end_our_side)

    def _end_our_side(self) -> None:
        if self.connected:
            self._stream.loseWriteConnection()

    def header_received(self, raw: Any) -> None:
        """Take the response; an archive follows where one was asked for."""
        response = SnapshotResponse.from_raw(raw)
        if response.error:
            self._finish(Failure(from_wire(response.error)))
            return
        self._response = response
        if self._request.op == SAVE:
            self.open_file()

    def readConnectionLost(self) -> None:
        """The server has said all."""
        self._stream.loseConnection()

    def writeConnectionLost(self) -> None:
        """We have said all."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        response = self._response
        if response is None or not reason.check(type(connectionDone.value)):
            self.failed("snapshot: the connection was lost")
        elif self._request.op == SAVE and not self.done.called:
            file = self.take_file()
            self._finish(SavedSnapshot(response, pieces_of(file), file.close))
        else:
            self._finish(response)
        super().connectionLost(reason)

    def failed(self, text: str) -> None:
        """Tell who waits that there is no snapshot."""
        self._finish(Failure(CallInterrupted(text)))

    def _finish(self, result: Any) -> None:
        if not self.done.called:
            self.done.callback(result)
        if self.connected:
            self._stream.abortConnection()


class SnapshotCalls:
    """Has other servers save and restore."""

    def __init__(self, reactor: Any, dialer: Dialer, folder: str) -> None:
        self._reactor = reactor
        self._dialer = dialer
        self._folder = folder

    async def call(
        self,
        address: str,
        datacenter: str,
        request: SnapshotRequest,
        archive: BinaryIO | None = None,
    ) -> Any:
        """Make a transfer with the server at an address.

        Returns:
            A `SavedSnapshot`, or the `SnapshotResponse` of a restore.

        Raises:
            ConsultwistError: where the server refuses, or is not reached.
        """
        protocol = _ClientProtocol(self._reactor, self._folder, request, archive)
        try:
            await self._dialer.connect(
                address, datacenter, FirstByte.SNAPSHOT, protocol
            )
        except Exception as error:
            text = go_text(address, Failure(error))
            raise ServerUnreachable(text) from error
        return await protocol.done
