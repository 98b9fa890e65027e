"""Command: a program that runs in a process group of its own, output in one pipe.

Twisted's ``spawnProcess`` can neither make a process group nor tell that a program
could not be started, and it reads the two outputs apart, which loses their order. So
the program is started by the standard library; the reactor watches the pipe, and a
pidfd (Linux 5.3 and later) that becomes readable when the program has ended.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.fdesc import setNonBlocking
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

log = Logger()

#: Bytes taken from the pipe at once: what a pipe holds.
READ_SIZE = 65536


class CommandError(Exception):
    """A program could not be started; the text is that of Go's ``os/exec``."""


class StartCommand(Protocol):
    """What starts a program, so that tests may put another in its place."""

    def __call__(
        self,
        reactor: IReactorFDSet,
        args: Sequence[str],
        output: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> "RunningCommand":
        """Start a program; see `Command`."""


class RunningCommand(Protocol):
    """A program that has been started."""

    def kill(self) -> None:
        """Kill it with everything in its process group."""


class Command:
    """A running program.

    `output` gets what it writes, to either output, in order. `ended` is called once
    with the exit code, negative for a signal, when the program has ended and the pipe
    is at its end: a child that was left behind holding the pipe delays it, unless the
    group was killed.

    Raises:
        CommandError: where the program cannot be started.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        args: Sequence[str],
        output: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self._output = output
        self._ended = ended
        self._killed = False
        self._program = _start(args)
        exit_descriptor = _watch_exit(self._program)
        assert self._program.stdout is not None
        self._pipe: _Readable | None = _Readable(
            reactor, self._program.stdout.fileno(), self._read
        )
        self._exit: _Readable | None = _Readable(reactor, exit_descriptor, self._exited)

    def kill(self) -> None:
        """Kill the program with everything in its group; the pipe no longer counts."""
        self._killed = True
        try:
            os.killpg(self._program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            # A program that changed its user; the rest of the group was killed.
            log.warn("check failed to kill after timeout: {error}", error=error)
        self._close_pipe()
        self._settle()

    def _read(self) -> None:
        assert self._pipe is not None
        try:
            data = os.read(self._pipe.fileno(), READ_SIZE)
        except BlockingIOError:
            return
        if data:
            self._output(data)
        else:
            self._close_pipe()
            self._settle()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.stop()
            self._pipe = None
            assert self._program.stdout is not None
            self._program.stdout.close()

    def _exited(self) -> None:
        assert self._exit is not None
        self._program.wait()
        self._exit.stop()
        os.close(self._exit.fileno())
        self._exit = None
        self._settle()

    def _settle(self) -> None:
        if self._exit is None and self._pipe is None:
            ended, self._ended = self._ended, _ignore
            ended(self._program.returncode)


def _ignore(code: int) -> None:
    """Take the place of what has been told."""


def _start(args: Sequence[str]) -> "subprocess.Popen[bytes]":
    name = args[0]
    if "/" not in name and shutil.which(name) is None:
        raise CommandError(f'exec: "{name}": executable file not found in $PATH')
    try:
        program = subprocess.Popen(
            list(args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            process_group=0,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(f"fork/exec {name}: {reason}") from error
    except ValueError as error:
        # An argument with a null byte.
        raise CommandError(f"fork/exec {name}: invalid argument") from error
    assert program.stdout is not None
    setNonBlocking(program.stdout.fileno())
    return program


def _watch_exit(program: "subprocess.Popen[bytes]") -> int:
    """Return a descriptor that is readable when a program has ended."""
    try:
        return os.pidfd_open(program.pid)
    except OSError as error:
        # No descriptor is left, or the kernel is too old: nobody would hear the end.
        with program:
            os.killpg(program.pid, signal.SIGKILL)
        raise CommandError(f"pidfd_open: {(error.strerror or '').lower()}") from error


@implementer(IReadDescriptor)
class _Readable:
    """Calls when a file descriptor can be read."""

    def __init__(
        self, reactor: IReactorFDSet, descriptor: int, ready: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._ready = ready
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "check command"

    def doRead(self) -> None:
        self._ready()

    def connectionLost(self, reason: object) -> None:  # noqa: ARG002 - Twisted's
        """Hear that the other end is closed, with nothing left to read."""
        self._ready()

    def stop(self) -> None:
        self._reactor.removeReader(self)
