"""AnswerCache: finished answers by the bytes of their question.

An entry holds several answers, made one by one as they are asked for, which differ in
the order of their records; they are handed out in turn. It is only good while every
reply of the servers that it rests on still has the same payload object. On a server
that leads there is nothing to ask as long as its state has the same version.
"""

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from consultwist.clock import Clock
from consultwist.dns.answers import Source
from consultwist.dns.reads import STALE_NS

#: So many orders of the instances are kept of each answer.
VARIANTS_MAX: Final = 8
#: Limits of one cache; beyond them the oldest entries go.
ENTRIES_MAX: Final = 8192
SIZE_MAX_BYTES: Final = 16 * 2**20
#: Longer questions are not worth a place: a name has 255 bytes.
QUESTION_MAX_BYTES: Final = 320

Ask = Callable[[str, Any], Any]


class Entry:
    """The finished answers to one question.

    Attributes:
        sources: what they rest on.
        make: makes one more, without its id, given the second of the wall clock.
        observe: is told, in milliseconds, how long each answer took.
        wanted: how many are made before they are used again.
        dated: whether they hold the second, as the serial number of the zone.
        size: how many bytes they may come to hold.
        version: of the state for which they were last found good; -1 for none.
    """

    __slots__ = (
        "_second",
        "_turn",
        "_variants",
        "dated",
        "make",
        "observe",
        "size",
        "sources",
        "version",
        "wanted",
    )

    def __init__(
        self,
        sources: tuple[Source, ...],
        make: Callable[[int], bytes],
        observe: Callable[[float], None],
        *,
        varies: bool,
        dated: bool,
    ) -> None:
        self.sources = sources
        self.make = make
        self.observe = observe
        self.wanted = VARIANTS_MAX if varies else 1
        self.dated = dated
        self.size = 0
        self.version = -1
        self._second = 0
        self._turn = 0
        self._variants: list[bytes] = []

    def add(self, answer: bytes, second: int) -> None:
        """Keep the first answer."""
        self._variants.append(answer)
        self._second = second
        self._turn = 1 % self.wanted
        self.size = len(answer) * self.wanted

    @property
    def follows_state(self) -> bool:
        """Whether the answers change only with the state of the servers."""
        requests = (source.request for source in self.sources)
        return not any(getattr(one, "use_cache", False) for one in requests)

    def is_good(self, ask: Ask) -> bool:
        """Ask the servers again; tell whether the replies are the same."""
        for source in self.sources:
            reply = ask(source.method, source.request)
            if isinstance(reply, Deferred):
                # The question is asked again, and that one is waited for.
                reply.addErrback(lambda _: None)
                return False
            same = source.payload(reply) is source.value
            if not same or reply.last_contact > STALE_NS:
                return False
        return True

    def take(self, second: int) -> bytes:
        """Return the next answer in turn."""
        if self.dated and second != self._second:
            self._second = second
            self._variants.clear()
        turn = self._turn
        if turn < len(self._variants):
            answer = self._variants[turn]
        else:
            answer = self.make(second)
            self._variants.append(answer)
        self._turn = turn + 1 if turn + 1 < self.wanted else 0
        return answer


class AnswerCache:
    """Entries by question, the oldest first."""

    def __init__(self, ask: Ask, clock: Clock, read_version: Callable[[], int]) -> None:
        """Begin with nothing.

        Args:
            ask: asks the servers, for the sources of entries.
            clock: the time.
            read_version: gives the version of the state, see `IClusterDelegate`.
        """
        self._ask = ask
        self._read_version = read_version
        self._wall = clock.wall
        self._monotonic = clock.monotonic
        self._entries: dict[bytes, Entry] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def recall(self, question: bytes) -> bytes | None:
        """Return a finished answer without its id, or None."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        began = self._monotonic()
        version = self._read_version()
        if (version != entry.version or version < 0) and not self._renew(
            question, entry, version
        ):
            return None
        answer = entry.take(int(self._wall()) if entry.dated else 0)
        entry.observe((self._monotonic() - began) * 1000)
        return answer

    def _renew(self, question: bytes, entry: Entry, version: int) -> bool:
        """Ask the servers whether an entry is good still."""
        try:
            is_good = entry.is_good(self._ask)
        except Exception:
            # Whatever it is, the question meets it again and tells.
            self.forget(question)
            return False
        if is_good and entry.follows_state:
            entry.version = version
        return is_good

    def keep(self, question: bytes, entry: Entry) -> None:
        """Take up an entry that holds its first answer."""
        if len(question) > QUESTION_MAX_BYTES:
            return
        self.forget(question)
        self._entries[question] = entry
        self._size += entry.size + len(question)
        while len(self._entries) > ENTRIES_MAX or self._size > SIZE_MAX_BYTES:
            self.forget(next(iter(self._entries)))

    def forget(self, question: bytes) -> None:
        """Drop an entry."""
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._size -= entry.size + len(question)
