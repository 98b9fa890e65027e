"""Streams: full exchanges that we open, and what other members ask over streams."""

from collections.abc import Callable, Hashable

from consultwist.errors import WireError
from consultwist.gossip.address import Address
from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.actions import (
    AnswerStream,
    CloseStream,
    ExchangeEnded,
    Note,
    OpenStream,
    RemoteState,
    UserMessage,
)
from consultwist.gossip.memberlist.claims import Claims
from consultwist.gossip.memberlist.members import State, is_alive
from consultwist.gossip.memberlist.messages import (
    Ack,
    Dead,
    ErrorAnswer,
    NodeState,
    Ping,
    Suspect,
)
from consultwist.gossip.memberlist.parts import Parts
from consultwist.gossip.memberlist.push_pull import (
    encode_state,
    interval_scale,
    version_problem,
)
from consultwist.gossip.memberlist.stream import (
    PushPull,
    StreamMessage,
    UserData,
    seal,
)
from consultwist.gossip.schedule import Alarm


class Exchanges:
    """Opens full exchanges from time to time, and serves requests on streams.

    Args:
        parts: what the Memberlist shares.
        claims: takes what other members tell about members.
        new_stream: gives the number of a new stream.
    """

    def __init__(
        self, parts: Parts, claims: Claims, new_stream: Callable[[], int]
    ) -> None:
        self._parts = parts
        self._claims = claims
        self._new_stream = new_stream
        self._open: set[int] = set()
        self._alarm: Alarm | None = None

    def start(self, now: float) -> None:
        """Exchange with random members from now on."""
        if self._alarm is None:
            interval_s = self._parts.timings.push_pull_interval_s
            due = now + interval_s * (1 + self._parts.rng.random())
            self._alarm = self._parts.schedule.at(due, self._next)

    def stop(self) -> None:
        """Open no more exchanges on our own."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _next(self, now: float) -> None:
        self._alarm = None
        table = self._parts.table
        chosen = table.pick(1, is_alive)
        if chosen:
            self.open(chosen[0].address, join=False)
        elif table.others == 0:
            return
        interval_s = self._parts.timings.push_pull_interval_s
        due = now + interval_s * interval_scale(len(table))
        self._alarm = self._parts.schedule.at(due, self._next)

    def open(self, address: Address, *, join: bool) -> int:
        """Begin a full exchange; `ExchangeEnded` reports the end of that stream."""
        stream = self._new_stream()
        self._open.add(stream)
        data = seal(self._parts.codec, self._state(join=join), is_dialing=True)
        timeout_s = self._parts.timings.stream_timeout_s
        self._parts.outbox.add(OpenStream(stream, address, data, timeout_s))
        return stream

    def _state(self, *, join: bool) -> bytes:
        user_state = self._parts.upper.user_state(join)
        return encode_state(list(self._parts.table), user_state, join=join)

    # --- requests ---------------------------------------------------------------

    def receive(
        self, stream: Hashable, request: StreamMessage, source: Address, now: float
    ) -> None:
        """Take the message of a stream that a member opened."""
        if not self._parts.upper.allows(source[0]):
            self._parts.counters["gossip: source not allowed"] += 1
            self._parts.outbox.add(CloseStream(stream))
        elif isinstance(request, Ping):
            self._answer_ping(stream, request)
        elif isinstance(request, PushPull):
            self._answer(stream, self._state(join=request.join))
            problem = self._merge(request, None, now)
            if problem is not None:
                self._log_failure(source, problem)
        else:
            if isinstance(request, UserData):
                self._parts.outbox.add(UserMessage(request.data))
            self._parts.outbox.add(CloseStream(stream))

    def _answer_ping(self, stream: Hashable, ping: Ping) -> None:
        if ping.node and ping.node != self._parts.table.name:
            self._parts.outbox.add(CloseStream(stream))
        else:
            self._answer(stream, messages.encode(messages.ACK, Ack(seq_no=ping.seq_no)))

    def _answer(self, stream: Hashable, message: bytes) -> None:
        data = seal(self._parts.codec, message, is_dialing=False)
        self._parts.outbox.add(AnswerStream(stream, data))

    def refuse(self, stream: Hashable, problem: str) -> None:
        """Answer a stream that could not be read."""
        self._parts.counters["gossip: stream refused"] += 1
        answer = messages.encode(messages.ERROR, ErrorAnswer(error=problem))
        self._answer(stream, answer)

    # --- answers ----------------------------------------------------------------

    def answered(self, stream: int, answer: StreamMessage, now: float) -> bool:
        """Take the answer on a stream; return False where it is none of ours."""
        if stream not in self._open:
            return False
        if isinstance(answer, PushPull):
            self._end(stream, self._merge(answer, stream, now))
        elif isinstance(answer, ErrorAnswer):
            self._end(stream, f"Remote error: {answer.error}")
        else:
            self._end(stream, "unexpected answer")
        return True

    def failed(self, stream: int, problem: str) -> bool:
        """Take the failure of a stream; return False where it is none of ours."""
        if stream not in self._open:
            return False
        self._end(stream, problem)
        return True

    def _end(self, stream: int, problem: str | None) -> None:
        self._open.remove(stream)
        self._parts.outbox.add(ExchangeEnded(stream, problem))

    def _merge(self, state: PushPull, stream: int | None, now: float) -> str | None:
        """Take over what another member knows; return why not, or None."""
        problem = version_problem(self._parts.table, state.nodes)
        if problem is None and state.join:
            problem = self._parts.upper.admit(state.nodes)
        if problem is not None:
            self._parts.counters["gossip: merge refused"] += 1
            return problem
        for node in state.nodes:
            try:
                self._merge_node(node, now)
            except WireError as error:
                self._parts.counters[messages.drop_reason(error)] += 1
        if state.user_state:
            self._parts.outbox.add(RemoteState(state.user_state, state.join, stream))
        return None

    def _merge_node(self, node: NodeState, now: float) -> None:
        name, incarnation = node.name, node.incarnation
        if node.state == State.ALIVE:
            self._claims.alive(messages.alive_of(node), now)
        elif node.state == State.LEFT:
            self._claims.dead(Dead(incarnation=incarnation, node=name, from_=name), now)
        else:
            # A remote "dead" is never believed outright: the accused may refute.
            me = self._parts.table.name
            self._claims.suspect(
                Suspect(incarnation=incarnation, node=name, from_=me), now
            )

    def _log_failure(self, source: Address, problem: str) -> None:
        fields: dict[str, object] = {"source": f"{source[0]}:{source[1]}"}
        fields["problem"] = problem
        text = "push/pull with {source} refused: {problem}"
        self._parts.outbox.add(Note("warn", text, fields))
