"""What was asked of a pool, and who waits for it."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred

from consultwist.errors import ConsultwistError
from consultwist.gossip.serf.query import OpenQuery, QueryResult


class JoinFailed(ConsultwistError):
    """No address could be joined; the text names the reason for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        count = len(problems)
        lines = "".join(f"\t* {problem}\n" for problem in problems)
        plural = "" if count == 1 else "s"
        super().__init__(f"{count} error{plural} occurred:\n{lines}\n")


class Asked:
    """A query of ours and who waits for it.

    Args:
        opened: the query.
        on_answer: takes every answer as it comes.
        enough: how many answers end the waiting; 0 for none.
        close: told when no more answers are wanted.
    """

    def __init__(
        self,
        opened: OpenQuery,
        on_answer: Callable[[str, bytes | None], None] | None,
        enough: int,
        close: Callable[[OpenQuery], None],
    ) -> None:
        self._opened = opened
        self._on_answer = on_answer
        self._enough = enough
        self._close = close
        self.done: Deferred[QueryResult] = Deferred(self._cancelled)

    def _cancelled(self, _done: Deferred[QueryResult]) -> None:
        self._close(self._opened)

    def answered(
        self, source: str, payload: bytes | None, asked: dict[OpenQuery, "Asked"]
    ) -> None:
        """Pass an answer on; stop waiting where everybody has answered."""
        if self._on_answer is not None:
            self._on_answer(source, payload)
        if 0 < self._enough <= len(self._opened.responses):
            self.finish(asked)

    def finish(self, asked: dict[OpenQuery, "Asked"]) -> None:
        """Give what has come."""
        asked.pop(self._opened, None)
        self._close(self._opened)
        if not self.done.called:
            self.done.callback(self._opened.result())
