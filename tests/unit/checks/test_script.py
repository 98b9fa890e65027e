"""Script checks map exit codes, keep the tail of the output, and kill at timeouts."""

from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError
from zope.interface.verify import verifyObject

from consultwist.checks.command import CommandError
from consultwist.checks.script import ScriptCheck, ScriptProbe
from consultwist.interfaces import ICheckType
from consultwist.structs.catalog import CheckType
from consultwist.testing.deferred import failure_of, no_result_of, result_of


class Program:
    """A program whose life a test decides."""

    def __init__(self, reactor, args, output, ended):
        self.args = args
        self.output = output
        self.ended = ended
        self.kills = 0

    def kill(self):
        """Count the kills."""
        self.kills += 1


class Starter:
    """Starts programs of a test's own."""

    def __init__(self):
        self.programs = []

    def __call__(self, reactor, args, output, ended):
        """Start one."""
        self.programs.append(Program(reactor, args, output, ended))
        return self.programs[-1]


def make_probe(host, starter, **fields):
    """Make a probe of a script."""
    values: dict[str, Any] = {"script_args": ["x"], "output_max_size": 4096} | fields
    return ScriptProbe(CheckType(**values), host, starter)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (0, "passing"),
        (1, "warning"),
        (2, "critical"),
        (255, "critical"),
        (-9, "critical"),
    ],
)
def test_the_exit_code_tells_the_status(host, code, status):
    """0 passes, 1 warns; other codes and signals are critical."""
    starter = Starter()
    outcome = make_probe(host, starter).run()
    starter.programs[0].output(b"fi")
    starter.programs[0].output(b"ne\n")
    starter.programs[0].ended(code)
    found = result_of(outcome)
    assert (found.status, found.output, found.damped) == (status, "fine\n", True)
    assert host.reactor.getDelayedCalls() == []


def test_a_long_output_keeps_its_tail_and_says_so(host):
    """As captured: the last bytes, after how many of how many they are."""
    starter = Starter()
    outcome = make_probe(host, starter, output_max_size=4).run()
    starter.programs[0].output(b"0123456789\n")
    starter.programs[0].ended(0)
    assert result_of(outcome).output == "Captured 4 of 11 bytes\n...\n789\n"


def test_bytes_that_are_no_text_survive(host):
    """Output that is not UTF-8 is kept as it is for those who read it."""
    starter = Starter()
    outcome = make_probe(host, starter).run()
    starter.programs[0].output(b"\xff\xfea")
    starter.programs[0].ended(0)
    found = result_of(outcome).output
    assert found.encode("utf-8", "surrogateescape") == b"\xff\xfea"


def test_a_timeout_kills_and_is_critical_at_once(host):
    """At the timeout the group is killed and what was written so far is shown."""
    starter = Starter()
    outcome = make_probe(host, starter, timeout=1_500_000_000).run()
    starter.programs[0].output(b"begin\n")
    host.reactor.advance(1.4)
    no_result_of(outcome)
    host.reactor.advance(0.1)
    found = result_of(outcome)
    assert found.status == "critical"
    assert found.output == "Timed out (1.5s) running check\n\nbegin\n"
    assert not found.damped
    assert starter.programs[0].kills == 1


def test_a_timeout_without_output_says_only_that(host):
    """Nothing written, nothing shown; the default timeout is 30 seconds."""
    starter = Starter()
    outcome = make_probe(host, starter).run()
    host.reactor.advance(30)
    assert result_of(outcome).output == "Timed out (30s) running check"


def test_a_program_that_cannot_be_killed_is_not_started_again(host):
    """Two runs of a check never overlap, even where the first one hangs."""
    starter = Starter()
    probe = make_probe(host, starter)
    result_of_first = probe.run()
    host.reactor.advance(30)
    result_of(result_of_first)
    assert result_of(probe.run()).output == "Timed out (30s) running check"
    assert len(starter.programs) == 1
    starter.programs[0].ended(-9)
    probe.run()
    assert len(starter.programs) == 2


def test_a_program_that_does_not_start_is_critical_at_once(host):
    """What cannot be started has the system's reason as its output."""

    def refuse(reactor, args, output, ended):
        raise CommandError("fork/exec /no/such/file: no such file or directory")

    found = result_of(make_probe(host, refuse).run())
    assert found.status == "critical"
    assert found.output == "fork/exec /no/such/file: no such file or directory"
    assert not found.damped


def test_a_stopped_check_lets_its_program_end(host):
    """A program may deregister its own check without being killed for it."""
    starter = Starter()
    outcome = make_probe(host, starter).run()
    outcome.cancel()
    failure_of(outcome, CancelledError)
    assert starter.programs[0].kills == 0
    starter.programs[0].ended(0)
    assert host.reactor.getDelayedCalls() == []


def test_takes_scripts_but_not_those_for_containers(host):
    """Arguments make a script, with a container they make a docker check."""
    check_type = ScriptCheck()
    verifyObject(ICheckType, check_type)
    definition = CheckType(script_args=["true"], interval=10**9)
    assert check_type.takes(definition)
    assert not check_type.takes(
        msgspec.structs.replace(definition, docker_container_id="abc")
    )
    assert not check_type.takes(CheckType(http="x"))
    runner = check_type.make_runner(definition, host)
    runner.start()
    runner.stop()
    assert host.reactor.getDelayedCalls() == []
