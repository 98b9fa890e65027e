"""Names of the zone: which form a question has, and what its labels mean.

Labels are read from the right. The first one that selects a form (``service``,
``node``, ...) parts the name: what stands left of it is the subject, what stands right
of it the location. A location is nothing or the name of a datacenter.
"""

from collections.abc import Container
from typing import Final

import attrs

from consultwist.dns.message import EDNS
from consultwist.dns.records import TYPE_SRV, split_name
from consultwist.dns.settings import Settings

#: Names of addresses stand under this one.
ARPA: Final = "arpa."

#: A question for SRV may leave out the label ``service`` (RFC 2782).
_SRV_KIND: Final = "service"


@attrs.define
class Client:
    """Who asks, and how.

    Attributes:
        address: the IP address; empty for questions that the agent asks itself.
        stream: whether it came over TCP.
        edns: the OPT record of the question.
    """

    address: str = ""
    stream: bool = False
    edns: EDNS | None = None


@attrs.define(kw_only=True)
class Question:
    """One question about a name of the zone, as a form gets it.

    Attributes:
        name: the name as the client spelled it, with the dot at its end.
        type: the record type asked for.
        kind: the label that selected the form, in lower case like the following.
        subject: the labels left of `kind`.
        location: the labels right of `kind`, without the domain.
        settings: the settings in force.
        client: who asks.
        depth: how many names led here, following host names used as addresses.
    """

    name: str
    type: int
    kind: str = ""
    subject: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    settings: Settings = attrs.Factory(Settings)
    client: Client = attrs.Factory(Client)
    depth: int = 0

    @property
    def is_placed(self) -> bool:
        """Whether something is asked for, at a place that can exist."""
        return bool(self.subject) and len(self.location) <= 1

    @property
    def datacenter(self) -> str:
        """The datacenter asked about: as the name says, else this agent's."""
        return self.location[0] if self.location else self.settings.datacenter


def under(name: str, domain: str) -> bool:
    """Tell whether a lower-case name is a domain's or stands under it."""
    if not name.endswith(domain):
        return False
    return len(name) == len(domain) or name[-len(domain) - 1] == "."


def strip_domain(name: str, settings: Settings) -> str:
    """Return a lower-case name without the zone's domain; the longer goes first."""
    for domain in settings.domains:
        if under(name, domain):
            return name[: -len(domain)]
    return name


def read_question(
    name: str,
    kind: int,
    *,
    settings: Settings,
    client: Client,
    forms: Container[str],
    depth: int = 0,
) -> Question:
    """Part a name of the zone; `forms` holds the labels that select one."""
    labels = tuple(split_name(strip_domain(name.lower(), settings)))
    found, subject_end, location_start = _find_kind(labels, kind, forms)
    return Question(
        name=name,
        type=kind,
        kind=found,
        subject=labels[:subject_end],
        location=labels[location_start:],
        settings=settings,
        client=client,
        depth=depth,
    )


def _find_kind(
    labels: tuple[str, ...], kind: int, forms: Container[str]
) -> tuple[str, int, int]:
    """Return the selecting label, the end of the subject, the location's start."""
    for index in range(len(labels) - 1, -1, -1):
        label = labels[index]
        if label in forms:
            return label, index, index + 1
        if kind == TYPE_SRV and label.startswith("_"):
            return _SRV_KIND, index + 1, index + 1
    return "", len(labels), len(labels)
