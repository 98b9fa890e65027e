"""The leader has tombstones reaped when they are old enough."""

from types import SimpleNamespace

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from consultwist.api.kv.leader import (
    GRANULARITY_S,
    RETRY_S,
    TTL_S,
    TombstoneBins,
    TombstoneCollector,
)
from consultwist.api.kv.rpc import KVS
from consultwist.api.kv.table import TOMBSTONES, KVTable, TombstoneSet
from consultwist.errors import NoLeader
from consultwist.interfaces import ILeaderRoutine
from consultwist.structs.kv import DirEntry, KVSRequest
from consultwist.structs.message_type import MessageType
from consultwist.testing.clock import ReactorClock
from consultwist.testing.state import LocalServer, Replica

LATEST_S = TTL_S + GRANULARITY_S


class Reaper:
    """Remembers what was to be reaped; fails while `failing`."""

    def __init__(self):
        self.indexes = []
        self.failing = False

    def __call__(self, index) -> Deferred[None]:
        self.indexes.append(index)
        return fail(NoLeader()) if self.failing else succeed(None)


def _bins():
    reactor, reaper = Clock(), Reaper()
    return reactor, reaper, TombstoneBins(reactor, ReactorClock(reactor), reaper)


def test_tombstones_live_for_their_time_and_no_bin_longer():
    """Nothing is reaped before 15 minutes, all within another 30 seconds."""
    reactor, reaper, bins = _bins()
    bins.observe(TombstoneSet(7))
    reactor.advance(TTL_S - 1)
    assert reaper.indexes == []
    reactor.advance(GRANULARITY_S + 1)
    assert reaper.indexes == [7]
    assert len(bins) == 0
    assert reactor.getDelayedCalls() == []


def test_tombstones_of_one_bin_are_reaped_at_once():
    """The highest index of a bin stands for all; there is one timer."""
    reactor, reaper, bins = _bins()
    for index in range(10, 1010):
        bins.observe(TombstoneSet(index))
    assert len(bins) == 1
    assert len(reactor.getDelayedCalls()) == 1
    reactor.advance(LATEST_S)
    assert reaper.indexes == [1009]


def test_bins_are_bounded_by_the_lifetime():
    """A tombstone every second for an hour never makes more bins than fit in."""
    reactor, reaper, bins = _bins()
    for index in range(1, 3601):
        bins.observe(TombstoneSet(index))
        reactor.advance(1)
        assert len(bins) <= LATEST_S / GRANULARITY_S + 1
        assert len(reactor.getDelayedCalls()) == 1
    assert reaper.indexes == sorted(reaper.indexes)
    reactor.pump([1] * int(LATEST_S + 1))
    assert reaper.indexes[-1] == 3600


def test_a_failed_attempt_is_repeated():
    """Until it succeeds, each time after a while."""
    reactor, reaper, bins = _bins()
    bins.observe(TombstoneSet(7))
    reaper.failing = True
    reactor.advance(LATEST_S)
    reactor.advance(RETRY_S)
    reaper.failing = False
    reactor.advance(RETRY_S)
    reactor.advance(10 * RETRY_S)
    assert reaper.indexes == [7, 7, 7]


def test_a_failed_attempt_is_left_to_the_next_bin_where_that_is_soon():
    """The next bin's index is higher, so it reaps the failed ones, too."""
    reactor, reaper, bins = _bins()
    bins.observe(TombstoneSet(7))
    reactor.advance(GRANULARITY_S)
    bins.observe(TombstoneSet(8))
    reaper.failing = True
    reactor.advance(LATEST_S - GRANULARITY_S)
    assert reaper.indexes == [7]
    reaper.failing = False
    reactor.advance(GRANULARITY_S)
    reactor.advance(LATEST_S)
    assert reaper.indexes == [7, 8]


def test_other_notes_are_none_of_its_business():
    """Only tombstones make bins."""
    _, _, bins = _bins()
    bins.observe(SimpleNamespace(index=7))
    assert len(bins) == 0


def _collector():
    replica = Replica(KVTable())
    server = LocalServer(replica, KVS())
    routine = TombstoneCollector()
    verifyObject(ILeaderRoutine, routine)
    return replica, server, routine


def _delete(replica, key):
    for operation in ("set", "delete"):
        entry = DirEntry(key=key, value=b"1")
        replica.apply(MessageType.KVS, KVSRequest(op=operation, dir_ent=entry))


def test_a_new_leader_also_reaps_what_it_found():
    """Tombstones from before get a full lifetime; new ones follow through notes."""
    replica, server, routine = _collector()
    _delete(replica, "old")
    stop = routine.start(server)
    server.reactor.advance(60)
    _delete(replica, "new")
    assert len(replica.rows(TOMBSTONES)) == 2
    server.reactor.advance(TTL_S + GRANULARITY_S - 60)
    assert [row.key for row in replica.rows(TOMBSTONES)] == ["new"]
    server.reactor.advance(60 + GRANULARITY_S)
    assert replica.rows(TOMBSTONES) == []
    stop()


def test_nothing_is_reaped_after_leadership_was_lost():
    """The routine leaves no timer and no observer behind."""
    replica, server, routine = _collector()
    stop = routine.start(server)
    _delete(replica, "a")
    stop()
    _delete(replica, "b")
    server.reactor.advance(2 * LATEST_S)
    assert len(replica.rows(TOMBSTONES)) == 2
    assert server.reactor.getDelayedCalls() == []
