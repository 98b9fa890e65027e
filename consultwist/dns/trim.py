"""How answers are cut to what the client can take.

Over UDP the size that the client's EDNS record offers counts, 512 bytes without one;
then the number of answers is limited too, and the size is measured without compression.
Over TCP only very large answers are cut. One answer is always kept.
"""

from collections.abc import Callable, Iterable
from typing import Final

import attrs

from consultwist.dns.message import HEADER_SIZE, MESSAGE_MAX, Asked, Message, encode
from consultwist.dns.names import Question
from consultwist.dns.records import (
    TYPE_CNAME,
    TYPE_SRV,
    Address,
    Record,
    Service,
    Target,
    Text,
)

#: RFC 1035 section 4.2.1.
UDP_SIZE_MIN: Final = 512
#: The stock agent keeps this many bytes free.
_UDP_SPARE: Final = 7
#: 64 KiB less the header.
_STREAM_SIZE_MAX: Final = MESSAGE_MAX - 12
#: More records of 16 bytes, or SRV records with their addresses, do not fit 64 KiB.
_STREAM_ANSWERS_MAX: Final = 4096
_STREAM_SERVICES_MAX: Final = 1024
#: What does not fit any message is measured too.
_UNLIMITED: Final = 1 << 31
#: What stands beside names, whose text has at least as many characters as they have
#: bytes, one apart.
_QUESTION_REST: Final = 1 + 4
_RECORD_REST: Final = 1 + 10
_SERVICE_REST: Final = 1 + 6


@attrs.define
class Limits:
    """What an answer may measure."""

    answers: int
    size: int
    compress: bool


def limits_for(question: Question, answers: int) -> Limits:
    """Return the limits of an answer that has so many records to begin with."""
    settings, client = question.settings, question.client
    if client.stream:
        is_srv = question.type == TYPE_SRV
        most = _STREAM_SERVICES_MAX if is_srv else _STREAM_ANSWERS_MAX
        return Limits(most, _STREAM_SIZE_MAX, settings.compress)
    size = max(UDP_SIZE_MIN, client.edns.udp_size if client.edns else 0)
    if size == UDP_SIZE_MIN:
        most = settings.udp_answer_limit
        compress = settings.compress and answers <= most
        return Limits(most, size - _UDP_SPARE, compress)
    return Limits(answers, size - _UDP_SPARE, settings.compress)


def trim(
    question: Question, answer: list[Record], additional: list[Record]
) -> tuple[list[Record], list[Record]]:
    """Return the two sections, cut to what the client can take.

    Where something is cut, the additional section holds only the addresses of the
    targets that are left.
    """
    limits = limits_for(question, len(answer))
    if len(answer) > limits.answers:
        most = limits.answers
    elif len(answer) <= 1 or (
        _bound(question, answer, additional) <= limits.size
        or _fits(question, limits, answer, additional)
    ):
        return answer, additional
    else:
        most = len(answer) - 1
    targets = _by_name(additional)
    left = _largest(
        most, lambda n: _fits(question, limits, answer[:n], _kept(answer[:n], targets))
    )
    return answer[:left], _kept(answer[:left], targets)


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest count that fits, but at least one where there may be one."""
    low, high = min(most, 1), most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _bound(question: Question, answer: list[Record], additional: list[Record]) -> int:
    """Return a size that the message has at most, found in little time."""
    size = HEADER_SIZE + len(question.name) + _QUESTION_REST
    for record in (*answer, *additional):
        size += len(record.name) + _RECORD_REST
        if not record.name.isascii():
            return _UNLIMITED
        data = record.data
        if isinstance(data, Address):
            size += len(data.packed)
        elif isinstance(data, Service):
            size += len(data.target) + _SERVICE_REST
            if not data.target.isascii():
                return _UNLIMITED
        elif isinstance(data, Text):
            size += sum(len(string) + 1 for string in data.strings)
        else:
            return _UNLIMITED
    return size


def _fits(
    question: Question, limits: Limits, answer: list[Record], additional: list[Record]
) -> bool:
    if len(answer) > limits.answers:
        return False
    return measure(question, answer, additional, compress=limits.compress) <= (
        limits.size
    )


def measure(
    question: Question,
    answer: list[Record],
    additional: list[Record],
    *,
    compress: bool,
) -> int:
    """Return the size of a message in bytes, without its OPT record."""
    message = Message(
        questions=[Asked(question.name, question.type)],
        answer=answer,
        additional=additional,
    )
    return len(encode(message, compress=compress, size_max=_UNLIMITED))


def _by_name(records: Iterable[Record]) -> dict[str, Record]:
    """Return the first record of each name, in lower case."""
    found: dict[str, Record] = {}
    for record in records:
        found.setdefault(record.name.lower(), record)
    return found


def _kept(answer: list[Record], targets: dict[str, Record]) -> list[Record]:
    """Return the records that the targets of SRV answers lead to, over aliases too."""
    kept: list[Record] = []
    seen: set[str] = set()
    for record in answer:
        if not isinstance(record.data, Service):
            continue
        name = record.data.target.lower()
        while name not in seen:
            seen.add(name)
            extra = targets.get(name)
            if extra is None:
                break
            kept.append(extra)
            if extra.type == TYPE_CNAME and isinstance(extra.data, Target):
                name = extra.data.name.lower()
    return kept
