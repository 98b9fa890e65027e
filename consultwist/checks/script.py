"""Script checks: the exit code of a program tells the status."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from consultwist import durations
from consultwist.checks.command import (
    Command,
    CommandError,
    RunningCommand,
    StartCommand,
)
from consultwist.checks.outcome import (
    CRITICAL,
    PASSING,
    WARNING,
    Outcome,
    OutputTail,
)
from consultwist.checks.runner import IntervalRunner
from consultwist.interfaces import ICheckHost, ICheckRunner, ICheckType
from consultwist.structs.catalog import CheckType

log = Logger()

#: How long a script may run that asks for no timeout: Consul's default.
TIMEOUT_DEFAULT = 30 * durations.SECOND

_STATUS_BY_CODE = {0: PASSING, 1: WARNING}


@implementer(ICheckType)
class ScriptCheck:
    """Checks that run a program, without a shell."""

    kind = "script"

    def takes(self, definition: CheckType) -> bool:
        """Take definitions with arguments that are not for a container."""
        return bool(definition.script_args) and not definition.docker_container_id

    def make_runner(self, definition: CheckType, host: ICheckHost) -> ICheckRunner:
        """Make what runs the program at its interval."""
        return IntervalRunner(definition, host, ScriptProbe(definition, host).run)


class ScriptProbe:
    """Runs one program; never twice at the same time."""

    def __init__(
        self,
        definition: CheckType,
        host: ICheckHost,
        start: StartCommand = Command,
    ) -> None:
        self._args: Sequence[str] = definition.script_args or ()
        self._timeout = definition.timeout or TIMEOUT_DEFAULT
        self._output_size_max = definition.output_max_size
        self._reactor = host.reactor
        self._start = start
        self._running = False

    def run(self) -> Deferred[Outcome]:
        """Run the program to its end or its timeout.

        Cancelling forgets the result but lets the program run, up to its timeout: it
        may be the very program that deregisters its own check.
        """
        result: Deferred[Outcome] = Deferred()
        if self._running:
            # Killed at its timeout and still not gone: the system cannot end it.
            result.callback(Outcome(CRITICAL, self._timeout_text(), damped=False))
            return result
        tail = OutputTail(self._output_size_max)
        try:
            command = self._start(
                self._reactor,
                self._args,
                tail.add,
                lambda code: self._ended(code, timer, tail, result),
            )
        except CommandError as error:
            log.warn("check failed to invoke: {error}", error=error)
            result.callback(Outcome(CRITICAL, str(error), damped=False))
            return result
        self._running = True
        timer = self._reactor.callLater(
            self._timeout / durations.SECOND, self._timed_out, command, tail, result
        )
        return result

    def _ended(
        self,
        code: int,
        timer: IDelayedCall,
        tail: OutputTail,
        result: Deferred[Outcome],
    ) -> None:
        self._running = False
        if timer.active():
            timer.cancel()
            status = _STATUS_BY_CODE.get(code, CRITICAL)
            result.callback(Outcome(status, tail.text_with_size()))

    def _timed_out(
        self, command: RunningCommand, tail: OutputTail, result: Deferred[Outcome]
    ) -> None:
        text, output = self._timeout_text(), tail.text_with_size()
        log.warn("timed out running check: {args}", args=self._args)
        command.kill()
        result.callback(
            Outcome(CRITICAL, f"{text}\n\n{output}" if output else text, damped=False)
        )

    def _timeout_text(self) -> str:
        return f"Timed out ({durations.render(self._timeout)}) running check"
