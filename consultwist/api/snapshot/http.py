"""The path ``/v1/snapshot``."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, BinaryIO, Final, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.clock import Clock
from consultwist.http.messages import MaybeLater, Request, Sink, Stream
from consultwist.http.params import query_options, write_options
from consultwist.http.responses import index_headers
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.snapshot import (
    RESTORE,
    SAVE,
    SnapshotRequest,
    SnapshotResponse,
)
from consultwist.wire.spool import open_spool

_ARCHIVE_TYPE: Final = "application/x-gzip"

#: The largest archive that is taken. A stock server has no limit; states beyond a few
#: hundred megabytes are not practical with either.
_ARCHIVE_MAX_BYTES: Final = 1024 * 1024 * 1024

#: After so long the reactor has its turn.
_SLICE_S: Final = 0.005


class Saved(Protocol):
    """A snapshot as `IClusterDelegate.save_snapshot` gives it."""

    response: SnapshotResponse
    pieces: Any
    close: Callable[[], None]


class SnapshotEndpoints:
    """The path of snapshots, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("GET", "/v1/snapshot")
    async def save(self, request: Request) -> MaybeLater:
        """Return an archive of the state."""
        options = query_options(request, self.agent)
        wanted = SnapshotRequest(
            datacenter=options["datacenter"],
            token=options["token"],
            allow_stale=options.get("allow_stale", False),
            op=SAVE,
        )
        saved: Saved = await self.agent.delegate.save_snapshot(wanted)

        def start(sink: Sink) -> Callable[[], None]:
            return _Feed(self.agent.reactor, self.agent.clock, saved, sink).start()

        return Stream(start, _ARCHIVE_TYPE, headers=index_headers(saved.response))

    @route("PUT", "/v1/snapshot", body_limit=_ARCHIVE_MAX_BYTES)
    async def restore(self, request: Request) -> None:
        """Put the state of an archive in the place of this one."""
        order = SnapshotRequest(op=RESTORE, **write_options(request, self.agent))
        # A body that came with its head is not worth a file.
        with request.spool or BytesIO(request.body) as archive:
            await self.agent.delegate.restore_snapshot(order, archive)

    def open_spool(self) -> BinaryIO:
        """Open a file for an archive that comes in."""
        return open_spool(self.agent.config.data_dir)


class _Feed:
    """Sends an archive while it is made, in small pieces."""

    log = Logger()

    def __init__(self, reactor: Any, clock: Clock, saved: Saved, sink: Sink) -> None:
        self._reactor = reactor
        self._clock = clock
        self._saved = saved
        self._sink = sink
        self._later: IDelayedCall | None = None
        self._is_over = False

    def start(self) -> Callable[[], None]:
        """Begin; return what stops it."""
        self._sink.on_drained = self._pump
        self._pump()
        return self._stop

    def _stop(self) -> None:
        self._is_over = True
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._saved.close()

    def _pump(self) -> None:
        if self._later is not None:
            return
        try:
            self._send_slice()
        except Exception:
            self.log.failure("a snapshot cannot be sent to its end")
            self._sink.abort()

    def _send_slice(self) -> None:
        end = self._clock.monotonic() + _SLICE_S
        while not self._is_over and not self._sink.blocked:
            if self._clock.monotonic() >= end:
                self._later = self._reactor.callLater(0, self._go_on)
                return
            piece = next(self._saved.pieces, None)
            if piece is None:
                self._sink.finish()
                return
            self._sink.write(piece)

    def _go_on(self) -> None:
        self._later = None
        self._pump()


@implementer(IPlugin, IHTTPEndpoint)
class SnapshotRoutes:
    """The path of snapshots."""

    name = "snapshot"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent; archives go to files as they come."""
        endpoints = SnapshotEndpoints(agent)
        return [
            attrs.evolve(each, open_spool=endpoints.open_spool)
            if each.methods == ("PUT",)
            else each
            for each in collect_routes(endpoints)
        ]
