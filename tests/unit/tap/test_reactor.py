"""The reactor of an agent: what becomes of the events of descriptors."""

import os
import select
import socket
import sys
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from consultwist.tap.reactor import AgentReactor, install_reactor


class Reader:
    """A descriptor that records what the reactor does with it."""

    def __init__(self, descriptor, answer: Any = None):
        self.descriptor = descriptor
        self.answer = answer
        self.events: list[Any] = []

    def fileno(self):
        return self.descriptor

    def doRead(self):
        self.events.append("read")
        os.read(self.descriptor, 10)
        if callable(self.answer):
            self.answer()
            return None
        return self.answer

    def doWrite(self):
        self.events.append("write")

    def connectionLost(self, reason):
        self.events.append(reason.type)


@pytest.fixture
def reactor():
    """Return a reactor that nobody else knows and that is never run."""
    made = AgentReactor()
    yield made
    made._poller.close()
    made.waker.connectionLost(None)


@pytest.fixture
def pair():
    """Return two connected sockets."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_reader_is_called_when_there_is_something_to_read(reactor, pair):
    """One event, one call; none without an event."""
    ours, theirs = pair
    reader = Reader(ours.fileno())
    reactor.addReader(reader)
    reactor.doPoll(0)
    assert reader.events == []
    theirs.send(b"x")
    reactor.doPoll(None)
    assert reader.events == ["read"]


def test_a_writer_is_called_when_there_is_room(reactor, pair):
    """Whatever is no plain read goes Twisted's way."""
    writer = Reader(pair[0].fileno())
    reactor.addWriter(writer)
    reactor.doPoll(0)
    assert writer.events == ["write"]


def test_a_reader_that_is_done_is_let_go(reactor, pair):
    """What a reader returns is why its connection is lost."""
    ours, theirs = pair
    reader = Reader(ours.fileno(), CONNECTION_DONE)
    reactor.addReader(reader)
    theirs.send(b"x")
    reactor.doPoll(0)
    assert reader.events == ["read", ConnectionDone]
    assert reader not in reactor.getReaders()


def test_a_reader_that_fails_loses_its_connection_and_is_logged(reactor, pair):
    """A fault in one connection is neither hidden nor the end of the others."""
    ours, theirs = pair
    reader = Reader(ours.fileno(), lambda: 1 // 0)
    logged: list[Any] = []

    @implementer(ILogObserver)
    def observe(event):
        logged.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        reactor.addReader(reader)
        theirs.send(b"x")
        reactor.doPoll(0)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert reader.events == ["read", ZeroDivisionError]
    assert [event["log_failure"].type for event in logged] == [ZeroDivisionError]


def test_a_descriptor_that_went_in_the_same_turn_is_left_alone(reactor):
    """An event that is out of date reaches nobody."""
    (a, b), (c, d) = socket.socketpair(), socket.socketpair()
    with a, b, c, d:
        first, second = Reader(a.fileno()), Reader(c.fileno())
        first.answer = lambda: reactor.removeReader(second)
        second.answer = lambda: reactor.removeReader(first)
        for reader in (first, second):
            reactor.addReader(reader)
        b.send(b"x")
        d.send(b"x")
        reactor.doPoll(0)
        assert len(first.events) + len(second.events) == 1


def test_an_interrupted_wait_is_no_event(reactor):
    """A signal ends the wait, and nothing else happens."""

    class Interrupted:
        def poll(self, *_):
            raise InterruptedError

        def close(self):
            pass

    poller, reactor._poller = reactor._poller, Interrupted()
    try:
        assert reactor.doPoll(1) is None
    finally:
        reactor._poller = poller


def test_its_clock_never_runs_back(reactor):
    """Timers do not stand still when the wall clock is set back."""
    assert reactor.seconds.__name__ == "monotonic"


def test_twisted_keeps_its_events_where_we_look(reactor):
    """The reactor rests on these: look at `tap.reactor` if this fails."""
    assert reactor._selectables == {reactor.waker.fileno(): reactor.waker}
    assert reactor._POLL_IN == select.EPOLLIN


def test_the_reactor_that_a_user_has_chosen_stays(monkeypatch):
    """``twistd -r`` is heard."""
    chosen = object()
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", chosen)
    install_reactor()
    assert sys.modules["twisted.internet.reactor"] is chosen
