"""What is done where a program that was started cannot be watched."""

import errno
import os

import pytest
from twisted.internet.testing import MemoryReactorClock

from consultwist.checks.command import Command, CommandError


def test_a_program_that_cannot_be_watched_is_ended(monkeypatch):
    """Without a descriptor for its end the program is killed and an error told."""
    started = []

    def refuse(pid):
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    reactor = MemoryReactorClock()
    with pytest.raises(CommandError) as caught:
        Command(reactor, ["sleep", "60"], lambda data: None, lambda code: None)
    assert str(caught.value) == "pidfd_open: too many open files"
    assert reactor.getReaders() == []
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_an_argument_with_a_null_byte_is_refused():
    """What the system cannot take as an argument is told like any other fault."""
    with pytest.raises(CommandError) as caught:
        Command(
            MemoryReactorClock(), ["true", "a\0b"], lambda data: None, lambda code: None
        )
    assert str(caught.value) == "fork/exec true: invalid argument"
