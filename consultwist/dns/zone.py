"""Zone: from a question about a name of the zone to what its answer is made from."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger
from twisted.python.failure import Failure

from consultwist.dns.answers import (
    Draft,
    InstanceLookup,
    Lookup,
    Resolved,
    SOAPlace,
    Source,
    absent,
)
from consultwist.dns.forms.service import find_servers
from consultwist.dns.later import when_all_known, when_known
from consultwist.dns.names import ARPA, Client, Question, read_question, under
from consultwist.dns.records import (
    NOTIMP,
    NXDOMAIN,
    SERVFAIL,
    TYPE_ANY,
    TYPE_AXFR,
    TYPE_NS,
    TYPE_SOA,
    TYPE_SRV,
    Record,
)
from consultwist.dns.recursor import Recursors
from consultwist.dns.settings import Settings
from consultwist.errors import ConsultwistError, NoPathToDatacenter
from consultwist.interfaces import IAgent, IDNSForm

log = Logger()

#: How many host names one after the other are followed inside the zone.
DEPTH_MAX: Final = 3
#: How many host names one question may make us resolve. The stock agent has no bound.
HOSTS_MAX: Final = 32
#: How long a lookup may take; RPC gives up earlier by itself.
LOOKUP_TIMEOUT_S: Final = 10.0

#: The server's text for an unknown prepared query.
_QUERY_NOT_FOUND: Final = "Query not found"
_ARPA_LABEL: Final = ARPA.rstrip(".")


@attrs.define(kw_only=True)
class Prepared:
    """Everything that the answers to a question are made from.

    Attributes:
        sources: what it rests on; None where answers must not be kept.
    """

    draft: Draft
    sources: tuple[Source, ...] | None = None
    recurse: bool = False
    per_client: bool = False


class Zone:
    """The agent's domain, and the names of addresses under ``arpa``."""

    def __init__(
        self,
        agent: IAgent,
        settings: Settings,
        forms: Iterable[IDNSForm],
        recursors: Recursors | None,
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._recursors = recursors
        labels = {label: form for form in forms for label in form.labels}
        self._reverse: Mapping[str, IDNSForm] = {
            label: labels.pop(label) for label in (_ARPA_LABEL,) if label in labels
        }
        self._forms: Mapping[str, IDNSForm] = labels

    def is_inside(self, name: str) -> bool:
        """Tell whether a lower-case name belongs to the zone."""
        return any(under(name, domain) for domain in self._settings.domains)

    def prepare(
        self, name: str, kind: int, client: Client, depth: int = 0
    ) -> Prepared | Deferred[Prepared]:
        """Look up what a name of the zone stands for."""
        question = self._read(name, kind, client, self._forms, depth)
        if kind == TYPE_AXFR:
            return self._finish(question, Lookup(rcode=NOTIMP, sources=()))
        return self._prepare(question)

    def prepare_reverse(
        self, name: str, kind: int, client: Client
    ) -> Prepared | Deferred[Prepared]:
        """Look up whose address a name under ``arpa`` stands for."""
        return self._prepare(self._read(name, kind, client, self._reverse, 0))

    def _read(
        self,
        name: str,
        kind: int,
        client: Client,
        forms: Mapping[str, IDNSForm],
        depth: int,
    ) -> Question:
        return read_question(
            name,
            kind,
            settings=self._settings,
            client=client,
            forms=forms,
            depth=depth,
        )

    def _prepare(self, question: Question) -> Prepared | Deferred[Prepared]:
        try:
            found = self._lookup(question)
        except Exception:
            return self._finish(question, _failed(Failure()))
        if isinstance(found, Deferred):
            found.addTimeout(LOOKUP_TIMEOUT_S, self._agent.reactor)
            found.addErrback(_failed)
        return when_known(found, lambda lookup: self._finish(question, lookup))

    def _lookup(self, question: Question) -> Lookup | Deferred[Lookup]:
        if question.kind == _ARPA_LABEL:
            return self._reverse[_ARPA_LABEL].lookup(self._agent, question)
        if question.type in (TYPE_SOA, TYPE_NS):
            return find_servers(self._agent, question)
        form = self._forms.get(question.kind)
        return absent() if form is None else form.lookup(self._agent, question)

    # --- host names as addresses ---------------------------------------------------

    def _finish(
        self, question: Question, lookup: Lookup
    ) -> Prepared | Deferred[Prepared]:
        prepared = _prepared(question, lookup, {})
        hosts = prepared.draft.hosts[:HOSTS_MAX]
        if not hosts:
            return prepared
        depth = question.depth
        if isinstance(lookup, InstanceLookup) and question.type != TYPE_SRV:
            # As on the stock agent, addresses of services are followed one name less.
            depth = depth or 1
        records = when_all_known([self._resolve(host, depth) for host in hosts])
        # What other names stand for is not watched, so the answer is not kept.
        unwatched = attrs.evolve(lookup, sources=None)
        return when_known(
            records,
            lambda found: _prepared(
                question, unwatched, dict(zip(hosts, found, strict=True))
            ),
        )

    def _resolve(
        self, host: str, depth: int
    ) -> Sequence[Record] | Deferred[Sequence[Record]]:
        if self.is_inside(host.lower()):
            if depth >= DEPTH_MAX:
                return ()
            inner = self.prepare(host, TYPE_ANY, Client(), depth + 1)
            return when_known(inner, self._answer_of)
        if self._recursors is None:
            return ()
        return self._recursors.resolve(host)

    def _answer_of(self, prepared: Prepared) -> Sequence[Record]:
        rng: random.Random = self._agent.rng
        return prepared.draft.sections(rng).answer


def _prepared(question: Question, lookup: Lookup, resolved: Resolved) -> Prepared:
    return Prepared(
        draft=lookup.draft(question, resolved),
        sources=lookup.sources,
        recurse=lookup.recurse,
        per_client=lookup.per_client,
    )


def _failed(failure: Failure) -> Lookup:
    """Return the lookup that says why the servers did not answer."""
    error: Any = failure.value
    text = str(error)
    if isinstance(error, NoPathToDatacenter) or _QUERY_NOT_FOUND in text:
        return Lookup(rcode=NXDOMAIN, soa=SOAPlace.AUTHORITY)
    if isinstance(error, (ConsultwistError, DeferredTimeout)):
        log.error("DNS lookup failed: {error}", error=text)
    else:
        log.failure("DNS lookup failed", failure)
    return Lookup(rcode=SERVFAIL)
