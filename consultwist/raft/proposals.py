"""Proposals between those who wait for them and the log.

What is proposed in one turn of the reactor, or while the disk is busy, becomes one
batch: one write, one message to each follower, one call of the state machine, and all
answers together.
"""

from collections.abc import Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from consultwist.errors import ConsultwistError, RaftBusy

#: Entries, and bytes of them, that may wait to be committed. A client that is faster
#: than the disk or the followers gets an error instead of all memory.
PENDING_MAX: Final = 16384
PENDING_SIZE_MAX: Final = 128 * 1024 * 1024


@attrs.define(eq=False)
class Proposal:
    """A command that somebody waits for."""

    data: bytes
    extensions: bytes | None
    done: "Deferred[Any]" = attrs.field(factory=Deferred)


class Proposals:
    """Gathers proposals, and finds them again by the index they were given."""

    def __init__(self) -> None:
        self.gathered: list[Proposal] = []
        #: Set while proposals are to stay gathered.
        self.is_held = False
        self._waiting: dict[int, Proposal] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self.gathered) + len(self._waiting)

    def add(self, data: bytes, extensions: bytes | None) -> "Deferred[Any]":
        """Gather a proposal; the Deferred fires with the state machine's answer.

        Cancelling it before the entry is in the log withdraws it; later it only means
        that nobody waits any more.

        Raises:
            RaftBusy: where too much is waiting already.
        """
        size = self._size + len(data)
        if len(self) >= PENDING_MAX or size > PENDING_SIZE_MAX:
            raise RaftBusy
        proposal = Proposal(data, extensions)
        self.gathered.append(proposal)
        self._size = size
        return proposal.done

    def take(self) -> list[Proposal]:
        """Return what was gathered and is still wanted."""
        gathered, self.gathered = self.gathered, []
        wanted = [proposal for proposal in gathered if not proposal.done.called]
        if len(wanted) < len(gathered):
            self._size -= sum(len(p.data) for p in gathered if p.done.called)
        return wanted

    def wait(self, batch: Sequence[Proposal], first_index: int) -> None:
        """Note the indexes that a batch was given."""
        self._waiting.update(enumerate(batch, first_index))

    def wait_for(self, index: int) -> "Deferred[Any]":
        """Return a Deferred for an entry that is no command."""
        proposal = Proposal(b"", None)
        self._waiting[index] = proposal
        return proposal.done

    def answer(self, index: int, result: Any) -> None:
        """Answer an applied entry; a failure is a result, too."""
        proposal = self._waiting.pop(index, None)
        if proposal is None:
            return
        self._size -= len(proposal.data)
        if isinstance(result, ConsultwistError):
            proposal.done.errback(result)
        else:
            proposal.done.callback(result)

    def fail_after(self, index: int, error: ConsultwistError) -> None:
        """Fail everything that is not in the log up to an index."""
        late = [i for i in self._waiting if i > index]
        failed = [self._waiting.pop(i) for i in late] + self.gathered
        self.gathered = []
        for proposal in failed:
            self._size -= len(proposal.data)
            proposal.done.errback(error)
