"""The files that remember what was registered."""

import pytest

from consultwist.agent.persistence import Files, FileWriter
from consultwist.structs.catalog import NodeService
from consultwist.testing.deferred import failure_of, no_result_of, result_of
from consultwist.testing.host import make_host


class World:
    """Two folders of one writer."""

    def __init__(self, root):
        self.host = make_host()
        self.writer = FileWriter(self.host)
        self.services = Files(self.writer, root / "services")
        self.checks = Files(self.writer, root / "checks")
        self.root = root
        self._pool = self.host.reactor.getThreadPool()
        self.host.reactor.getThreadPool = lambda: self
        self._waiting = []

    def callInThreadWithCallback(self, done, work, *args):  # noqa: N802 - Twisted's
        """Take work as a pool does, but leave it until `work` is called."""
        self._waiting.append((done, work, args))

    def begin(self):
        """Go on to the next turn of the reactor."""
        self.host.reactor.advance(0)

    def work(self):
        """Let the thread do what it was given; return how much that was."""
        waiting, self._waiting = self._waiting, []
        for done, work, args in waiting:
            self._pool.callInThreadWithCallback(done, work, *args)
        return len(waiting)

    def stored(self, files):
        """Return the ids of the services that can be loaded."""
        return [service.id for service in files.load(NodeService)]


@pytest.fixture
def world(tmp_path):
    """Return a world on an empty disk."""
    return World(tmp_path)


def test_what_is_asked_for_in_one_turn_is_one_batch(world):
    """The thread is given everything at once, and all is told when it is done."""
    first = world.services.save("a", NodeService(id="a"))
    second = world.checks.save("b", NodeService(id="b"))
    world.begin()
    no_result_of(first)
    assert world.work() == 1
    assert (result_of(first), result_of(second)) == (None, None)
    assert world.stored(world.services) == ["a"]
    assert world.stored(world.checks) == ["b"]


def test_what_comes_while_the_thread_is_busy_waits_for_it(world):
    """Changes of the same file happen in their order."""
    first = world.services.save("a", NodeService(id="a"))
    world.begin()
    second = world.services.remove("a")
    third = world.services.save("b", NodeService(id="b"))
    world.begin()
    assert world.work() == 1
    assert result_of(first) is None
    no_result_of(second)
    assert world.work() == 1
    assert (result_of(second), result_of(third)) == (None, None)
    assert world.stored(world.services) == ["b"]


def test_a_file_that_was_not_there_is_as_good_as_removed(world):
    """Removing twice is no error."""
    world.services.save("a", NodeService(id="a"))
    removed = [world.services.remove("a") for _ in range(2)]
    world.begin()
    world.work()
    assert [result_of(each) for each in removed] == [None, None]
    assert world.stored(world.services) == []


def test_nothing_is_removed_where_nothing_was_ever_written(world):
    """A fresh data directory has no folder of services yet; that is no error."""
    removed = world.services.remove("a")
    world.begin()
    world.work()
    assert result_of(removed) is None


def test_a_failure_is_told_to_whom_it_concerns(world):
    """One folder that cannot be written to does not fail what goes to another."""
    (world.root / "services").write_text("no folder")
    failed = world.services.save("a", NodeService(id="a"))
    saved = world.checks.save("b", NodeService(id="b"))
    world.begin()
    world.work()
    assert failure_of(failed, OSError)
    assert result_of(saved) is None


def test_without_a_directory_nothing_is_written(world):
    """In development mode all is in memory."""
    files = Files(world.writer, None)
    assert result_of(files.save("a", NodeService(id="a"))) is None
    assert result_of(files.remove("a")) is None
    assert list(files.load(NodeService)) == []
