"""The program around an agent: signals and exit codes."""

import io
import signal
from typing import Any, ClassVar

import pytest
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from consultwist.config.flags import ParsedFlags
from consultwist.errors import ConfigError
from consultwist.tap.build import prepare
from consultwist.tap.logging import AgentLog
from consultwist.tap.options import AgentOptions
from consultwist.tap.program import LEAVE_TIMEOUT_S, Program
from consultwist.tap.run import banner, use_monotonic_time


class Reactor(Clock):
    """A reactor that runs when told."""

    running = True
    stopped = False

    def callWhenRunning(self, call):
        self.callLater(0, call)

    def callFromThread(self, call, *arguments):
        self.callLater(0, call, *arguments)

    def stop(self):
        self.stopped = True
        self.running = False


class Agent(MultiService):
    """An agent that records what it is asked for."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error
        self.asked = []
        self.left: Deferred[Any] = Deferred()

    async def reload(self):
        self.asked.append("reload")
        if self.error is not None:
            raise self.error

    async def leave(self):
        self.asked.append("leave")
        await self.left


class World:
    """A started program with all that is around it."""

    made: ClassVar[list["World"]] = []

    def __init__(self, *, make=None, **flags):
        self.reactor = Reactor()
        self.agent = Agent()
        self.said: list[str] = []
        self.stdout = io.StringIO()
        prepared = prepare(ParsedFlags({"bind": "127.0.0.1", "dev": True, **flags}))
        log = AgentLog(prepared.config.logging, self.stdout, lambda: 0.0)
        self.program = Program(
            self.reactor,
            prepared,
            make or (lambda left: self.agent),
            log,
            self.said.append,
        )
        self.made.append(self)
        self.program.startService()
        self.reactor.advance(0)

    def signal(self, number):
        self.program.take_signal(number)
        self.reactor.advance(0)

    @property
    def end(self):
        """The exit code, once the reactor was told to stop."""
        return self.program.exit_code if self.reactor.stopped else None


@pytest.fixture(autouse=True)
def _handlers():
    """End the programs, and put the signal handlers of the test process back."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for world in World.made:
        world.program.stopService()
    World.made.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


def client(tmp_path, **flags):
    return World(dev=False, **{"data-dir": str(tmp_path)}, **flags)


def test_running_is_announced():
    """Programs that start an agent wait for this line."""
    world = World()
    assert world.said == ["==> Consul agent running!"]
    assert world.agent.running
    assert world.end is None


def test_server_stops_at_once_when_terminated():
    """A server comes back; leaving would shrink the quorum."""
    world = World()
    world.signal(signal.SIGTERM)
    assert (world.agent.asked, world.end) == ([], 1)


def test_client_leaves_when_terminated(tmp_path):
    """A client is gone for good, and says so to the others."""
    world = client(tmp_path)
    world.signal(signal.SIGTERM)
    assert (world.agent.asked, world.end) == (["leave"], None)
    world.agent.left.callback(None)
    world.reactor.advance(0)
    assert world.end == 0


def test_client_leaves_when_interrupted(tmp_path):
    """Control-C is a goodbye too."""
    world = client(tmp_path)
    world.signal(signal.SIGINT)
    assert world.agent.asked == ["leave"]


def test_a_leave_that_ends_the_program_by_itself_ends_it_once(tmp_path):
    """The agent asks for the end before its leave is done; one end is enough."""
    kept: list[Any] = []

    def make(left):
        kept.append((left, Agent()))
        return kept[0][1]

    flags: dict[str, Any] = {"dev": False, "data-dir": str(tmp_path)}
    world = World(make=make, **flags)
    world.signal(signal.SIGTERM)
    left, agent = kept[0]
    left()
    agent.left.callback(None)
    calls = world.reactor.getDelayedCalls()
    assert len([call for call in calls if call.getTime() == 0]) == 1
    world.reactor.advance(0)
    assert world.end == 0


def test_second_signal_does_not_wait(tmp_path):
    """Who asks twice wants it now."""
    world = client(tmp_path)
    world.signal(signal.SIGINT)
    world.signal(signal.SIGINT)
    assert world.end == 1


def test_leaving_takes_only_so_long(tmp_path):
    """An agent that nobody listens to still ends."""
    world = client(tmp_path)
    world.signal(signal.SIGTERM)
    world.reactor.advance(LEAVE_TIMEOUT_S)
    world.reactor.advance(0)
    assert world.end == 1


def test_failing_leave_ends_the_program(tmp_path):
    """The exit code tells that the others were not told."""
    world = client(tmp_path)
    world.signal(signal.SIGTERM)
    world.agent.left.errback(ConfigError("no"))
    world.reactor.advance(0)
    assert world.end == 1


def test_hangup_reloads():
    """The agent reads its files again and goes on."""
    world = World()
    world.signal(signal.SIGHUP)
    assert (world.agent.asked, world.end) == (["reload"], None)


def test_failing_reload_keeps_the_agent_running():
    """A mistake in a file is no reason to stop."""
    world = World()
    world.agent.error = ConfigError("bad")
    world.signal(signal.SIGHUP)
    assert world.end is None


def test_leave_over_the_api_ends_the_program():
    """After it has left, the agent asks for the end."""
    kept: list[Any] = []

    def make(left):
        kept.append(left)
        return Agent()

    world = World(make=make)
    kept[0]()
    world.reactor.advance(0)
    assert world.end == 0


def test_agent_that_cannot_be_made_ends_the_program():
    """The exit code is 1, and nothing is announced."""

    def make(left):
        raise ConfigError("no")

    world = World(make=make)
    world.reactor.advance(0)
    assert (world.said, world.end) == ([], 1)


def test_stopping_lets_go_of_the_data_directory(tmp_path):
    """The next agent may have it at once."""
    world = client(tmp_path)
    world.program.stopService()
    assert not world.agent.running
    client(tmp_path).program.stopService()


def test_log_level_follows_a_reload():
    """The agent tells its children about a new configuration."""
    world = World()
    (setting,) = list(world.agent)
    (observer,) = world.program._log._observers
    before = observer.threshold
    quiet = prepare(
        ParsedFlags({"bind": "127.0.0.1", "dev": True, "log-level": "error"})
    )
    setting.reconfigure(quiet.config)
    assert observer.threshold > before


def test_banner_shows_what_the_agent_is():
    """The lines that people and scripts know from the start of an agent."""
    flags = {"bind": "127.0.0.1", "dev": True, "node": "n1"}
    lines = banner(prepare(ParsedFlags(flags)).config).splitlines()
    assert lines[0] == "==> Starting Consul agent..."
    assert "         Node name: 'n1'" in lines
    assert "        Datacenter: 'dc1' (Segment: '<all>')" in lines
    assert (
        "       Client Addr: [127.0.0.1] (HTTP: 8500, HTTPS: -1, gRPC: 8502, DNS: 8600)"
    ) in lines
    assert lines[-1] == "==> Log data will now stream in as it occurs:"


def test_reactor_gets_a_clock_that_never_runs_back():
    """Timers must not stand still when the wall clock is set back."""
    reactor = Reactor()
    use_monotonic_time(reactor)
    assert reactor.seconds() <= reactor.seconds()
    assert reactor.seconds.__name__ == "monotonic"


class ServerOptions(AgentOptions):
    """The options of the server command."""

    mode = "server"


def test_twistd_options_are_the_flags_of_the_agent():
    """All words after the command are the agent's."""
    options = ServerOptions()
    options.parseOptions(["-node", "a", "--bind=127.0.0.1"])
    assert options.flags.values == {
        "node": "a",
        "bind": "127.0.0.1",
        "server": True,
    }
    assert "-retry-join=<value>" in options.getUsage()
