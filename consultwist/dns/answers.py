"""From what a form found to the sections of an answer.

A form returns a `Lookup`. Host names that stand where addresses should are resolved,
then the lookup becomes a `Draft`, from which any number of answers are made: they
differ in the order of instances, which is random in each.
"""

import enum
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from consultwist.dns.addresses import (
    node_address,
    service_address,
    service_port,
    weight,
)
from consultwist.dns.names import Question
from consultwist.dns.records import (
    NOERROR,
    NXDOMAIN,
    STRING_MAX,
    TYPE_A,
    TYPE_AAAA,
    TYPE_ANY,
    TYPE_CNAME,
    TYPE_NS,
    TYPE_SOA,
    TYPE_SRV,
    TYPE_TXT,
    Record,
    Service,
    Target,
    Text,
    address_record,
    packed_address,
    qualified,
)
from consultwist.dns.trim import trim
from consultwist.structs.catalog import CheckServiceNode, Node
from consultwist.wire.struct import Struct

#: Without EDNS at most this many records of a resolved host name are added.
HOST_RECORDS_MAX: Final = 5
#: An NS answer names at most this many servers.
NAME_SERVERS_MAX: Final = 3

#: The only priority that is ever answered with.
_PRIORITY: Final = 1
_PORT_MASK: Final = 0xFFFF
_HOST_TYPES: Final = frozenset((TYPE_CNAME, TYPE_A, TYPE_AAAA))
_NODE_TYPES: Final = frozenset((TYPE_ANY, TYPE_A, TYPE_AAAA, TYPE_TXT))
_V4_TYPES: Final = frozenset((TYPE_A, TYPE_ANY, TYPE_SRV, TYPE_TXT))
_V6_TYPES: Final = frozenset((TYPE_AAAA, TYPE_ANY, TYPE_SRV, TYPE_TXT))
#: Keys with this prefix give their bare value (Consul's node metadata in DNS).
_BARE_PREFIX: Final = "rfc1035-"
_INVALID_HOST: Final = re.compile(r"[^A-Za-z0-9-]")

#: Resolved host names with the records that answer them.
Resolved = Mapping[str, Sequence[Record]]


@attrs.define
class Source:
    """One reply of the servers that an answer rests on.

    The answer holds as long as asking again gives the same payload object.
    """

    method: str
    request: Struct
    payload: Callable[[Any], object]
    value: object


class SOAPlace(enum.Enum):
    """Where the zone's SOA record goes in an answer."""

    NOWHERE = enum.auto()
    ANSWER = enum.auto()
    AUTHORITY = enum.auto()


@attrs.define(kw_only=True)
class Sections:
    """An answer: its records and code, before SOA, header and OPT record."""

    rcode: int = NOERROR
    answer: list[Record] = attrs.Factory(list)
    authority: list[Record] = attrs.Factory(list)
    additional: list[Record] = attrs.Factory(list)
    soa: SOAPlace = SOAPlace.NOWHERE
    truncated: bool = False


class Draft:
    """An answer that comes out the same each time."""

    #: Whether `sections` differs from call to call.
    varies = False

    def __init__(self, sections: Sections, hosts: tuple[str, ...] = ()) -> None:
        self._sections = sections
        #: The host names that stand where addresses should.
        self.hosts = hosts

    def sections(self, rng: random.Random) -> Sections:
        """Return the answer's sections."""
        del rng
        return self._sections


@attrs.define(kw_only=True)
class Lookup:
    """What a form found: these records, unless a subclass says more.

    Attributes:
        rcode: the response code.
        records: the answer section.
        soa: where the zone's SOA goes; with negative answers, in the authority section.
        recurse: ask the recursors instead.
        per_client: whether the answer depends on who asks.
        sources: what it rests on; None where the answer must not be kept.
    """

    rcode: int = NOERROR
    records: tuple[Record, ...] = ()
    soa: SOAPlace = SOAPlace.NOWHERE
    recurse: bool = False
    per_client: bool = False
    sources: tuple[Source, ...] | None = None

    def draft(self, question: Question, resolved: Resolved) -> Draft:
        """Return what answers are made from.

        It is first asked for with nothing resolved; where it names hosts, again with
        their records.
        """
        del question, resolved
        return Draft(
            Sections(rcode=self.rcode, answer=list(self.records), soa=self.soa)
        )


def absent(*sources: Source) -> Lookup:
    """Return the lookup of a name that does not exist."""
    return Lookup(rcode=NXDOMAIN, soa=SOAPlace.AUTHORITY, sources=sources)


# --- nodes ----------------------------------------------------------------------------


def serves_nodes(kind: int) -> bool:
    """Tell whether node names are answered for a record type."""
    return kind in _NODE_TYPES


@attrs.define(kw_only=True)
class NodeLookup(Lookup):
    """A node: its address and its metadata."""

    node: Node
    datacenter: str

    def draft(self, question: Question, resolved: Resolved) -> Draft:
        """Return the address, and the metadata beside it or under it."""
        kind, settings = question.type, question.settings
        sections = Sections()
        hosts: tuple[str, ...] = ()
        if kind != TYPE_TXT:
            sections.answer, hosts = self._address_records(question, resolved)
        in_answer = kind in (TYPE_ANY, TYPE_TXT)
        if in_answer or settings.node_meta_txt:
            records = metadata_records(question.name, self.node, settings.node_ttl_s)
            (sections.answer if in_answer else sections.additional).extend(records)
        return Draft(sections, hosts)

    def _address_records(
        self, question: Question, resolved: Resolved
    ) -> tuple[list[Record], tuple[str, ...]]:
        ttl_s = question.settings.node_ttl_s
        address = node_address(self.node, question, self.datacenter)
        packed = packed_address(address)
        if packed is None:
            host = qualified(address)
            alias = Record(question.name, TYPE_CNAME, ttl_s, Target(host))
            kinds = _HOST_TYPES | {TYPE_TXT}
            return [alias, *_host_records(host, question, resolved, kinds)], (host,)
        wanted = TYPE_A if len(packed) == 4 else TYPE_AAAA
        if question.type not in (wanted, TYPE_ANY):
            return [], ()
        return [address_record(question.name, ttl_s, packed)], ()


def _host_records(
    host: str, question: Question, resolved: Resolved, kinds: frozenset[int]
) -> list[Record]:
    found = [record for record in resolved.get(host, ()) if record.type in kinds]
    return found if question.client.edns else found[:HOST_RECORDS_MAX]


def metadata_records(name: str, node: Node, ttl_s: int) -> list[Record]:
    """Return a TXT record for each pair of a node's metadata."""
    records = []
    for key, value in (node.meta or {}).items():
        bare = key.lower().startswith(_BARE_PREFIX)
        text = value if bare else metadata_text(key, value)
        data = text.encode("utf-8", "surrogateescape")
        strings = [data[i : i + STRING_MAX] for i in range(0, len(data), STRING_MAX)]
        records.append(Record(name, TYPE_TXT, ttl_s, Text(tuple(strings) or (b"",))))
    return records


def metadata_text(key: str, value: str) -> str:
    """Return a pair in the form of RFC 1464."""
    key = key.replace("`", "``").replace("=", "`=")
    middle = key.strip(" ")
    before = len(key) - len(key.lstrip(" "))
    after = len(key) - before - len(middle)
    return "` " * before + middle + "` " * after + "=" + value.replace("`", "``")


# --- service instances ----------------------------------------------------------------


@attrs.define
class _Fragment:
    """What one instance contributes to an answer."""

    answer: tuple[Record, ...]
    additional: tuple[Record, ...]
    key: object
    is_alias: bool = False


@attrs.define(kw_only=True)
class InstanceLookup(Lookup):
    """Instances of a service, all of them usable.

    Attributes:
        instances: in the order found.
        datacenter: where they are.
        ttl_s: for all records.
        ordered: keep the order; else it is random in each answer.
    """

    instances: Sequence[CheckServiceNode]
    datacenter: str
    ttl_s: int
    ordered: bool = False

    def draft(self, question: Question, resolved: Resolved) -> Draft:
        """Return the answers' parts, one for each instance."""
        fragments = []
        hosts: dict[str, None] = {}
        for instance in self.instances:
            place = _place(instance, question, self.datacenter)
            if place.host:
                hosts[place.host] = None
            fragment = self._fragment(instance, question, place, resolved)
            if fragment is not None:
                fragments.append(fragment)
        return _InstanceDraft(question, fragments, tuple(hosts), ordered=self.ordered)

    def _fragment(
        self,
        instance: CheckServiceNode,
        question: Question,
        place: "_Place",
        resolved: Resolved,
    ) -> _Fragment | None:
        if question.type == TYPE_SRV:
            return self._srv(instance, question, place, resolved)
        name = question.name
        if place.host:
            alias = Record(name, TYPE_CNAME, self.ttl_s, Target(place.host))
            more = self._resolved(place.host, question, resolved)
            return _Fragment((alias, *more), (), place.host, is_alias=True)
        packed = place.packed
        if packed is None or question.type not in (
            _V4_TYPES if len(packed) == 4 else _V6_TYPES
        ):
            return None
        return _Fragment((address_record(name, self.ttl_s, packed),), (), packed)

    def _srv(
        self,
        instance: CheckServiceNode,
        question: Question,
        place: "_Place",
        resolved: Resolved,
    ) -> _Fragment | None:
        node, service = instance.node, instance.service
        assert node is not None
        assert service is not None
        suffix = f"{self.datacenter}.{question.settings.domain}"
        node_name = f"{node.node}.node.{suffix}"
        if place.host:
            target = place.host
            extra = self._resolved(target, question, resolved)
        elif place.packed is not None:
            own = f"{place.packed.hex()}.addr.{suffix}"
            target = node_name if place.is_node else own
            extra = [address_record(target, self.ttl_s, place.packed)]
        else:
            return None
        port = service_port(service, question, self.datacenter)
        data = Service(_PRIORITY, weight(instance) & 0xFFFF, port & _PORT_MASK, target)
        if question.settings.node_meta_txt:
            extra += metadata_records(node_name, node, self.ttl_s)
        key = (node.node, service_address(service, question, self.datacenter), port)
        record = Record(question.name, TYPE_SRV, self.ttl_s, data)
        return _Fragment((record,), tuple(extra), key)

    def _resolved(
        self, host: str, question: Question, resolved: Resolved
    ) -> list[Record]:
        found = _host_records(host, question, resolved, _HOST_TYPES)
        return [attrs.evolve(record, ttl=self.ttl_s) for record in found]


@attrs.define
class _Place:
    """Where an instance is: an address, or a host name to be resolved."""

    packed: bytes | None
    host: str = ""
    is_node: bool = False


def _place(instance: CheckServiceNode, question: Question, datacenter: str) -> _Place:
    node, service = instance.node, instance.service
    assert node is not None
    assert service is not None
    own = service_address(service, question, datacenter)
    if own:
        packed = packed_address(own)
        if packed is not None:
            return _Place(packed)
        # A service that is registered under its own name is where its node is.
        if qualified(own) != question.name:
            return _Place(None, qualified(own))
    address = node_address(node, question, node.datacenter or datacenter)
    packed = packed_address(address)
    if packed is not None:
        # A translated address is not the one that the node's name stands for.
        return _Place(packed, is_node=bool(own) or address == node.address)
    host = own or address
    return _Place(None, qualified(host) if host else "")


class _InstanceDraft(Draft):
    """An answer whose instances come in random order."""

    def __init__(
        self,
        question: Question,
        fragments: list[_Fragment],
        hosts: tuple[str, ...],
        *,
        ordered: bool,
    ) -> None:
        super().__init__(Sections(), hosts)
        self._question = question
        self._fragments = fragments
        self._ordered = ordered
        self.varies = len(fragments) > 1 and not ordered

    def sections(self, rng: random.Random) -> Sections:
        """Return the sections, in a new order, cut to what the client takes."""
        question = self._question
        fragments = self._fragments
        if self.varies:
            fragments = fragments.copy()
            rng.shuffle(fragments)
        if question.type == TYPE_SRV:
            answer, additional = _all_services(fragments)
        else:
            answer = _all_addresses(fragments, question.settings.a_record_limit)
            additional = []
        kept, extra = trim(question, answer, additional)
        truncated = len(kept) < len(answer) and question.settings.enable_truncate
        return Sections(
            answer=kept,
            additional=extra,
            soa=SOAPlace.NOWHERE if kept or truncated else SOAPlace.AUTHORITY,
            truncated=truncated,
        )


def _all_services(
    fragments: Iterable[_Fragment],
) -> tuple[list[Record], list[Record]]:
    answer: list[Record] = []
    additional: list[Record] = []
    seen = set()
    for fragment in fragments:
        if fragment.key not in seen:
            seen.add(fragment.key)
            answer += fragment.answer
            additional += fragment.additional
    return answer, additional


def _all_addresses(fragments: Iterable[_Fragment], limit: int) -> list[Record]:
    answer: list[Record] = []
    alias: tuple[Record, ...] = ()
    seen = set()
    for fragment in fragments:
        if fragment.key in seen:
            continue
        seen.add(fragment.key)
        if fragment.is_alias:
            # Only where there is no address at all, and then the first.
            alias = alias or fragment.answer
            continue
        answer += fragment.answer
        if len(answer) == limit:
            break
    return answer or list(alias)


# --- the zone's own records -----------------------------------------------------------


@attrs.define(kw_only=True)
class ServerLookup(Lookup):
    """The servers of the datacenter, as name servers of the zone."""

    instances: Sequence[CheckServiceNode]

    def draft(self, question: Question, resolved: Resolved) -> Draft:
        """Return NS records with their addresses, for questions for SOA or NS."""
        del resolved
        named = []
        for instance in self.instances:
            node = instance.node
            if node is not None and not _INVALID_HOST.search(node.node):
                named.append(_name_server(node, question))
        return _ServerDraft(question, named)


def _name_server(node: Node, question: Question) -> tuple[Record, Record]:
    settings = question.settings
    datacenter = node.datacenter or settings.datacenter
    host = f"{node.node}.node.{datacenter}.{settings.domain}".lower()
    record = Record(settings.domain, TYPE_NS, settings.node_ttl_s, Target(host))
    packed = packed_address(node.address)
    if packed is not None:
        return record, address_record(host, settings.node_ttl_s, packed)
    target = Target(qualified(node.address))
    return record, Record(host, TYPE_CNAME, settings.node_ttl_s, target)


class _ServerDraft(Draft):
    """The name servers, some of them at random."""

    def __init__(
        self, question: Question, servers: list[tuple[Record, Record]]
    ) -> None:
        super().__init__(Sections())
        self._question = question
        self._servers = servers
        self.varies = len(servers) > 1

    def sections(self, rng: random.Random) -> Sections:
        """Return the answer to a question for the SOA or the NS records."""
        count = min(len(self._servers), NAME_SERVERS_MAX)
        chosen = rng.sample(self._servers, count)
        servers = [server for server, _ in chosen]
        glue = [address for _, address in chosen]
        if self._question.type == TYPE_SOA:
            return Sections(authority=servers, additional=glue, soa=SOAPlace.ANSWER)
        return Sections(answer=servers, additional=glue)
