"""Responder: a question's bytes to its answer's bytes."""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.dns.answers import Sections, SOAPlace
from consultwist.dns.cache import AnswerCache, Entry
from consultwist.dns.message import (
    EDNS,
    FLAG_AUTHORITATIVE,
    FLAG_CHECKING_DISABLED,
    FLAG_RECURSION_AVAILABLE,
    FLAG_RECURSION_DESIRED,
    FLAG_RESPONSE,
    FLAG_TRUNCATED,
    HEADER_SIZE,
    OPCODE_MASK,
    OPCODE_NOTIFY,
    OPCODE_QUERY,
    OPTION_CLIENT_SUBNET,
    RCODE_MASK,
    FormatError,
    Message,
    decode,
    encode,
)
from consultwist.dns.names import ARPA, Client, under
from consultwist.dns.reads import reply_of
from consultwist.dns.records import (
    FORMERR,
    NOTIMP,
    REFUSED,
    SERVFAIL,
    TYPE_DS,
)
from consultwist.dns.recursor import Recursors
from consultwist.dns.settings import Settings, settings_from
from consultwist.dns.zone import Prepared, Zone
from consultwist.errors import WireError
from consultwist.interfaces import IAgent, IDNSForm

log = Logger()

#: Questions that may wait for servers or recursors at once.
PENDING_MAX: Final = 4096

#: A question comes alone, with at most one record in the next sections, which
#: notifications have, and so many in the additional one (the stock agent's bounds).
_ADDITIONAL_MAX: Final = 2
_COUNTS: Final = struct.Struct(">HHHH")
#: What the header of an error without answer repeats.
_ERROR_FLAGS: Final = 0x03B0

Answer = bytes | None


class Responder:
    """Answers questions; forgets what it knows when the configuration changes."""

    def __init__(self, agent: IAgent, forms: Sequence[IDNSForm]) -> None:
        self._agent = agent
        self._forms = forms
        self._pending = 0
        self._configure()

    def _configure(self) -> None:
        agent = self._agent
        self._config = agent.config
        self._token = agent.tokens.default
        self._settings = settings = settings_from(self._config, self._token)
        self._labels = {"node": settings.node_name}
        self._recursors = _recursors(agent, settings)
        sampled = agent.metrics.sample_series
        self._observe_domain = sampled("dns.domain_query", self._labels).add
        self._observe_pointer = sampled("dns.ptr_query", self._labels).add
        self._zone = Zone(agent, settings, self._forms, self._recursors)
        self._caches = {
            stream: AnswerCache(
                partial(reply_of, agent), agent.clock, agent.delegate.read_version
            )
            for stream in (False, True)
        }

    def respond(
        self, data: bytes, address: str, *, stream: bool
    ) -> Answer | Deferred[Answer]:
        """Return the answer to a message; None where it deserves none.

        Args:
            data: the message.
            address: who sent it.
            stream: whether it came over TCP.
        """
        agent = self._agent
        if agent.config is not self._config or agent.tokens.default != self._token:
            self._configure()
        answer = self._caches[stream].recall(data[2:])
        if answer is not None:
            return data[:2] + answer
        if len(data) < HEADER_SIZE or data[2] & 0x80:
            # Too short to be answered, or an answer itself.
            self._count("dns.dropped_message")
            return None
        rejected = _rejection(data)
        if rejected is not None:
            self._count("dns.rejected_message")
            return rejected
        try:
            message = _checked(decode(data))
            client = Client(address, stream, message.edns)
        except FormatError as error:
            self._count("dns.rejected_message")
            return _format_error(data, error)
        return self._answer(data, message, client)

    def _count(self, name: str) -> None:
        self._agent.metrics.counter(name, 1, self._labels)

    # --- routing -------------------------------------------------------------------

    def _answer(
        self, data: bytes, message: Message, client: Client
    ) -> Answer | Deferred[Answer]:
        asked = message.questions[0]
        name = asked.name.lower()
        began = self._agent.clock.monotonic()
        reply = _Reply(self._settings, message, client, began)
        if self._pending >= PENDING_MAX:
            return reply.error(SERVFAIL)
        # Above a zone cut stands another server (RFC 4035 section 3.1.4.1).
        is_foreign = asked.type == TYPE_DS and self._recursors is not None
        if not is_foreign and self._zone.is_inside(name):
            reply.observe = self._observe_domain
            found = self._zone.prepare(asked.name, asked.type, client)
        elif not is_foreign and under(name, ARPA):
            reply.observe = self._observe_pointer
            found = self._zone.prepare_reverse(asked.name, asked.type, client)
        elif self._recursors is not None:
            return self._track(self._recurse(data, reply), reply)
        else:
            return reply.refused()
        if isinstance(found, Deferred):
            late: Deferred[Answer] = found.addCallback(
                cast(Any, partial(self._finish, data, reply))
            )
            return self._track(late, reply)
        return self._finish(data, reply, found)

    def _track(self, late: Deferred[Answer], reply: "_Reply") -> Deferred[Answer]:
        self._pending += 1

        def settle(result: Answer | Failure) -> Answer:
            self._pending -= 1
            if isinstance(result, Failure):
                log.failure("DNS question not answered", result)
                return reply.error(SERVFAIL)
            return result

        return late.addBoth(settle)

    def _recurse(self, data: bytes, reply: "_Reply") -> Deferred[Answer]:
        assert self._recursors is not None
        forwarded = self._recursors.forward(data, stream=reply.client.stream)
        return forwarded.addCallback(lambda answer: answer or reply.no_recursor())

    def _finish(
        self, data: bytes, reply: "_Reply", prepared: Prepared
    ) -> Answer | Deferred[Answer]:
        if prepared.recurse:
            if self._recursors is None:
                return reply.no_recursor()
            return self._recurse(data, reply)
        clock = self._agent.clock
        second = int(clock.wall())
        sections = prepared.draft.sections(self._agent.rng)
        answer = reply.render(sections, second, per_client=prepared.per_client)
        if prepared.sources is not None and reply.is_repeatable:
            self._keep(data, reply, prepared, sections, answer, second)
        reply.observe((clock.monotonic() - reply.began) * 1000)
        return answer

    def _keep(
        self,
        data: bytes,
        reply: "_Reply",
        prepared: Prepared,
        sections: Sections,
        answer: bytes,
        second: int,
    ) -> None:
        assert prepared.sources is not None
        draft, rng = prepared.draft, self._agent.rng

        def make(second: int) -> bytes:
            return reply.render(draft.sections(rng), second)[2:]

        entry = Entry(
            prepared.sources,
            make,
            reply.observe,
            varies=draft.varies,
            dated=sections.soa is not SOAPlace.NOWHERE,
        )
        entry.add(answer[2:], second)
        self._caches[reply.client.stream].keep(data[2:], entry)


def _recursors(agent: IAgent, settings: Settings) -> Recursors | None:
    if not settings.recursors:
        return None
    return Recursors(
        agent.reactor,
        agent.rng,
        settings.recursors,
        timeout_s=settings.recursor_timeout_s,
        shuffled=settings.recursor_strategy == "random",
        compress=settings.compress,
    )


def _rejection(data: bytes) -> bytes | None:
    """Return the answer to a message that is not even decoded, None where it is."""
    flags = int.from_bytes(data[2:4], "big")
    opcode = (flags & OPCODE_MASK) >> 11
    if opcode not in (OPCODE_QUERY, OPCODE_NOTIFY):
        kept = flags & (OPCODE_MASK | _ERROR_FLAGS)
        return _header(data, FLAG_RESPONSE | kept | NOTIMP)
    asked, answers, authorities, more = _COUNTS.unpack_from(data, 4)
    if asked != 1 or answers > 1 or authorities > 1 or more > _ADDITIONAL_MAX:
        return _header(data, FLAG_RESPONSE | flags & _ERROR_FLAGS | FORMERR)
    return None


def _checked(message: Message) -> Message:
    """Return the message; a client subnet that is wrong makes all of it wrong."""
    if message.edns is not None and message.edns.options:
        try:
            _ = message.edns.subnet
        except FormatError as error:
            error.asked = message.questions[0]
            raise
    return message


def _header(data: bytes, flags: int) -> bytes:
    return data[:2] + flags.to_bytes(2, "big") + bytes(HEADER_SIZE - 4)


def _format_error(data: bytes, error: FormatError) -> bytes:
    flags = int.from_bytes(data[2:4], "big") & _ERROR_FLAGS | FLAG_RESPONSE | FORMERR
    if error.asked is None:
        return _header(data, flags)
    ident = int.from_bytes(data[:2], "big")
    return encode(Message(id=ident, flags=flags, questions=[error.asked]))


def _ignore(_: float) -> None:
    """Foreign names are not timed: the recursors take the time."""


class _Reply:
    """Makes the messages that answer one question."""

    __slots__ = ("_message", "_settings", "began", "client", "observe")

    def __init__(
        self, settings: Settings, message: Message, client: Client, began: float
    ) -> None:
        self._settings = settings
        self._message = message
        self.client = client
        self.began = began
        self.observe: Callable[[float], None] = _ignore

    @property
    def is_repeatable(self) -> bool:
        """Whether the same bytes may be asked again: not with cookies and the like."""
        edns = self._message.edns
        return edns is None or all(
            code == OPTION_CLIENT_SUBNET for code, _ in edns.options
        )

    def render(
        self, sections: Sections, second: int, *, per_client: bool = False
    ) -> bytes:
        """Return the bytes of an answer from the zone."""
        flags = FLAG_AUTHORITATIVE | sections.rcode
        if self._settings.recursors:
            flags |= FLAG_RECURSION_AVAILABLE
        if sections.truncated:
            flags |= FLAG_TRUNCATED
        answer, authority = sections.answer, sections.authority
        if sections.soa is SOAPlace.ANSWER:
            answer = [self._settings.soa(second), *answer]
        elif sections.soa is SOAPlace.AUTHORITY:
            authority = [*authority, self._settings.soa(second)]
        message = self._message_with(flags, edns=True, per_client=per_client)
        message.answer, message.authority = answer, authority
        message.additional = sections.additional
        try:
            return encode(message, compress=self._settings.compress)
        except WireError as error:
            # A node's name that is too long for DNS, or metadata beyond 64 KiB.
            log.warn("DNS answer cannot be written: {error}", error=str(error))
            return self.error(SERVFAIL)

    def error(self, rcode: int) -> bytes:
        """Return an answer without records."""
        available = FLAG_RECURSION_AVAILABLE if self._settings.recursors else 0
        return encode(self._message_with(rcode | available, edns=True))

    def no_recursor(self) -> bytes:
        """Return the answer where nobody knows one."""
        flags = FLAG_RECURSION_AVAILABLE | SERVFAIL
        return encode(self._message_with(flags, edns=True))

    def refused(self) -> bytes:
        """Return the answer to a foreign name where there are no recursors."""
        return encode(self._message_with(REFUSED, edns=False))

    def _message_with(
        self, flags: int, *, edns: bool, per_client: bool = False
    ) -> Message:
        asked = self._message
        flags |= FLAG_RESPONSE | asked.flags & OPCODE_MASK
        if asked.opcode == OPCODE_QUERY:
            flags |= asked.flags & (FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED)
        offered = asked.edns if edns else None
        return Message(
            id=asked.id,
            flags=flags,
            questions=asked.questions,
            edns=offered and _own_edns(offered, per_client and not flags & RCODE_MASK),
        )


def _own_edns(offered: EDNS, per_client: bool) -> EDNS:
    """Return our OPT record: the client's size, and its subnet with our scope."""
    subnet = offered.subnet
    if subnet is None:
        return EDNS(offered.udp_size)
    scope = subnet.prefix if per_client else 0
    data = attrs.evolve(subnet, scope=scope).pack()
    return EDNS(offered.udp_size, ((OPTION_CLIENT_SUBNET, data),))
