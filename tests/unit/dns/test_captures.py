"""Every captured question of a stock agent, answered from the same catalog.

The catalog, the configurations and the questions stand in ``tests/vectors/dns``; `dig`
arguments are turned into the messages that it sends. Answers are read by another
implementation, and compared with their sizes: compression and truncation are the same.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import pytest

from consultwist import durations
from consultwist.config.runtime import SOAConfig
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    HealthCheck,
    Node,
    NodeService,
    ServiceAddress,
    Weights,
)
from consultwist.testing.catalog import CatalogFake, QueryFake
from consultwist.testing.resolver import ResolverReactor

CAPTURE = json.loads(
    (Path(__file__).parents[2] / "vectors" / "dns" / "dns.json").read_text()
)
#: The capture describes 40 nodes with the service "many" in a note.
MANY = 40
#: dig refused to send this name, and shows nothing of refused transfers.
NEVER_SENT = {"dns-268"}
TRANSFERS = {"dns-155", "dns-270"}
#: What dig offers and asks by itself.
DIG_UDP_SIZE = 1232

_KEYS = {
    "node_name": "node_name",
    "datacenter": "datacenter",
    "domain": "dns_domain",
    "alt_domain": "dns_alt_domain",
    "translate_wan_addrs": "translate_wan_addrs",
    "enable_truncate": "dns_enable_truncate",
    "only_passing": "dns_only_passing",
    "a_record_limit": "dns_a_record_limit",
    "disable_compression": "dns_disable_compression",
    "enable_additional_node_meta_txt": "dns_node_meta_txt",
    "allow_stale": "dns_allow_stale",
    "use_cache": "dns_use_cache",
    "udp_answer_limit": "dns_udp_answer_limit",
}
_DURATIONS = {
    "node_ttl": "dns_node_ttl",
    "cache_max_age": "dns_cache_max_age",
    "max_stale": "dns_max_stale",
    "recursor_timeout": "dns_recursor_timeout",
}


def settings_of(target: str) -> dict[str, Any]:
    """Return a target's configuration as arguments of the world."""
    config = CAPTURE["targets"][target]["config"]
    options = {**config, **config.get("dns_config", {})}
    found = {ours: options[key] for key, ours in _KEYS.items() if key in options}
    for key, ours in _DURATIONS.items():
        if key in options:
            found[ours] = durations.parse_seconds(options[key])
    found["dns_recursors"] = tuple(options.get("recursors", ()))
    found["dns_service_ttl"] = {
        name: durations.parse_seconds(ttl)
        for name, ttl in options.get("service_ttl", {}).items()
    }
    if "soa" in options:
        soa = options["soa"]
        found["dns_soa"] = SOAConfig(
            expire=soa["expire"],
            minttl=soa["min_ttl"],
            refresh=soa["refresh"],
            retry=soa["retry"],
        )
    return found


def catalog_of(target: str) -> CatalogFake:
    """Return the catalogs that a target saw."""
    linked = ["default", "dc2"] if target in {"default", "dc2"} else [target]
    configs = {name: CAPTURE["targets"][name]["config"] for name in linked}
    catalog = CatalogFake(*(config["datacenter"] for config in configs.values()))
    for config in configs.values():
        register_server(catalog, config)
    for name, config in configs.items():
        for step in CAPTURE["setup"]:
            if step.get("target") == name:
                take_step(catalog, step, config)
        if name != "dc2":
            register_many(catalog, config["datacenter"])
    return catalog


def register_server(catalog: CatalogFake, config: dict[str, Any]) -> None:
    """Register the agent itself, as a server does."""
    node = Node(
        node=config["node_name"],
        address=config["bind_addr"],
        tagged_addresses={"lan": config["bind_addr"], "wan": config["bind_addr"]},
        meta={**config.get("node_meta", {}), "consul-network-segment": ""},
    )
    service = NodeService(id="consul", service="consul", port=8300)
    catalog.register(node, service, datacenter=config["datacenter"])


def register_many(catalog: CatalogFake, datacenter: str) -> None:
    """Register the 40 nodes of the note."""
    for number in range(MANY):
        catalog.register(
            Node(node=f"many{number:02d}", address=f"127.0.40.{100 + number}"),
            NodeService(id="many", service="many", tags=["t"], port=9000 + number),
            datacenter=datacenter,
        )


def take_step(
    catalog: CatalogFake, step: dict[str, Any], config: dict[str, Any]
) -> None:
    """Do what one recorded request did."""
    body, datacenter = step["body"], config["datacenter"]
    if step["path"] == "/v1/catalog/register":
        skip = body.get("SkipNodeUpdate")
        node = catalog.node(body["Node"], datacenter) if skip else read_node(body)
        checks = [body["Check"]] if "Check" in body else []
        service = read_service(body["Service"]) if "Service" in body else None
        catalog.register(node, service, *map(read_check, checks), datacenter=datacenter)
    elif step["path"] == "/v1/agent/service/register":
        own = catalog.node(config["node_name"], datacenter)
        service = read_service({"ID": body["Name"], "Service": body["Name"], **body})
        catalog.register(own, service, datacenter=datacenter)
    elif step["path"] == "/v1/config" and body["Kind"] == "ingress-gateway":
        exposed = [s["Name"] for item in body["Listeners"] for s in item["Services"]]
        catalog.exposed[body["Name"]] = tuple(exposed)
    elif step["path"] == "/v1/query":
        service = body["Service"]
        # What the template of the capture matches, and where the other fails over to.
        name, wanted = body["Name"], service["Service"]
        catalog.queries["tpl-web" if "Template" in body else name] = QueryFake(
            service="web" if "Template" in body else wanted,
            datacenter=(service.get("Failover") or {"Datacenters": [""]})[
                "Datacenters"
            ][0],
            ttl=body.get("DNS", {}).get("TTL", ""),
            only_passing=service.get("OnlyPassing", False),
        )


def read_node(body: dict[str, Any]) -> Node:
    return Node(
        node=body["Node"],
        address=body["Address"],
        tagged_addresses=body.get("TaggedAddresses"),
        meta=body.get("NodeMeta"),
    )


def read_service(body: dict[str, Any]) -> NodeService:
    weights = body.get("Weights", {"Passing": 1, "Warning": 1})
    proxied = body.get("Proxy", {}).get("DestinationServiceName", "")
    tagged = body.get("TaggedAddresses", {})
    return NodeService(
        kind=body.get("Kind", ""),
        id=body["ID"],
        service=body["Service"],
        tags=body.get("Tags"),
        address=body.get("Address", ""),
        port=body.get("Port", 0),
        weights=Weights(passing=weights["Passing"], warning=weights["Warning"]),
        proxy=ConnectProxyConfig(destination_service_name=proxied),
        tagged_addresses={
            name: ServiceAddress(address=value["Address"], port=value["Port"])
            for name, value in tagged.items()
        },
    )


def read_check(body: dict[str, Any]) -> HealthCheck:
    return HealthCheck(
        check_id=body["CheckID"], status=body["Status"], service_id=body["ServiceID"]
    )


# --- dig ------------------------------------------------------------------------------


@attrs.define
class Dig:
    """The message that one command line of dig sends."""

    name: str = ""
    kind: str = "A"
    class_: str = "IN"
    udp_size: int = DIG_UDP_SIZE
    edns: bool = True
    stream: bool | None = None
    flags: int = dns.flags.RD | dns.flags.AD
    ednsflags: int = 0
    opcode: str = "QUERY"
    options: list[dns.edns.Option] = attrs.Factory(list)

    @classmethod
    def read(cls, line: str) -> "Dig":
        """Read a command line."""
        dig = cls()
        words = iter(shlex.split(line))
        for word in words:
            if word == "-x":
                dig.name = dns.reversename.from_address(next(words)).to_text()
                dig.kind = "PTR"
            elif word == "-c":
                dig.class_ = next(words)
            elif word.startswith("+"):
                dig.option(*word[1:].partition("=")[::2])
            elif dig.name:
                dig.kind = word
            else:
                dig.name = word
        return dig

    def option(self, name: str, value: str) -> None:
        """Take an option that starts with a plus."""
        if name == "bufsize":
            self.udp_size = int(value)
        elif name == "subnet":
            address, _, prefix = value.partition("/")
            self.options.append(dns.edns.ECSOption(address, int(prefix)))
        elif name == "opcode":
            self.opcode = value
        elif name == "noedns":
            self.edns = False
        elif name in {"tcp", "notcp"}:
            self.stream = name == "tcp"
        elif name == "norecurse":
            self.flags &= ~dns.flags.RD
        elif name == "cdflag":
            self.flags |= dns.flags.CD
        elif name == "dnssec":
            self.ednsflags = dns.flags.DO
        elif name == "nsid":
            self.options.append(dns.edns.GenericOption(dns.edns.OptionType.NSID, b""))
        else:
            assert name in {"ignore", "adflag"}, name

    @property
    def over_tcp(self) -> bool:
        """Whether TCP is used: dig does so for ANY and AXFR by itself."""
        return self.kind in {"ANY", "AXFR"} if self.stream is None else self.stream

    def wire(self) -> bytes:
        """Return the message."""
        message = dns.message.make_query(self.name, self.kind, self.class_)
        if self.edns:
            message.use_edns(0, self.ednsflags, self.udp_size, options=self.options)
        message.flags = dns.flags.Flag(self.flags)
        message.set_opcode(dns.opcode.from_text(self.opcode))
        return message.to_wire()


# --- the upstream resolver of the captures --------------------------------------------


def resolve(host: str, query: bytes, stream: bool) -> bytes:
    """Answer as the resolver did to which the captured agents forwarded."""
    message = dns.message.from_wire(query)
    message.use_edns(False)
    answer = dns.message.make_response(message, recursion_available=True)
    answer.flags |= dns.flags.RD
    answer.flags &= ~(dns.flags.AD | dns.flags.CD)
    name = message.question[0].name
    first = name.labels[0] if len(name.labels) > 2 else b""
    if first in {b"nx", b"fail"}:
        answer.set_rcode(dns.rcode.NXDOMAIN if first == b"nx" else dns.rcode.SERVFAIL)
    elif first == b"alias":
        records = ["60 IN CNAME real.example.test."], ["60 IN A 198.51.100.9"]
        for owner, lines in zip((name, "real.example.test."), records, strict=True):
            answer.answer.append(rrset(owner, lines))
    elif message.question[0].rdtype == dns.rdatatype.A:
        answer.answer.append(rrset(name, ["60 IN A 198.51.100.8"]))
    return answer.to_wire()


def rrset(owner: Any, lines: list[str]) -> dns.rrset.RRset:
    """Return records from ``ttl class type data`` lines."""
    ttl, class_, kind, data = lines[0].split(maxsplit=3)
    return dns.rrset.from_text(owner, int(ttl), class_, kind, data)


# --- comparing ------------------------------------------------------------------------


def plain(section: Sequence[Any], partial: bool) -> Counter[tuple[str, ...]]:
    """Return a section without its order, serials and random choices."""
    found: Counter[tuple[str, ...]] = Counter()
    for owner, ttl, class_, kind, data in section:
        name, text = owner, data
        if kind == "SOA":
            text = re.sub(r"(hostmaster\S+ )\d+", r"\1serial", text)
        if partial:
            name = re.sub(r"^many\d\d\.", "manyNN.", owner)
            text = re.sub(r"\b90\d\d many\d\d\.", "90NN manyNN.", text)
            text = re.sub(r"^127\.0\.40\.1[0-3]\d$", "one of many", text)
        found[name, ttl, class_, kind, text] += 1
    return found


def records(section: list[Any]) -> list[tuple[str, ...]]:
    """Return the records of a section as dig shows them."""
    return [
        (
            rrset.name.to_text(),
            str(rrset.ttl),
            dns.rdataclass.to_text(rrset.rdclass),
            dns.rdatatype.to_text(rrset.rdtype),
            item.to_text(),
        )
        for rrset in section
        for item in rrset
    ]


def opt_text(message: dns.message.Message) -> str | None:
    """Return the OPT record as the captures show it."""
    if message.edns < 0:
        return None
    text = f"EDNS: version: {message.edns}, flags:; udp: {message.payload}"
    for option in message.options:
        assert isinstance(option, dns.edns.ECSOption), option
        where = f"{option.address}/{option.srclen}/{option.scopelen}"
        text += f" | CLIENT-SUBNET: {where}"
    return text


WORLDS: dict[str, Any] = {}


def world_of(target: str, dns_world: Any) -> Any:
    """Return the world of a target; made once, since questions change nothing."""
    if target not in WORLDS:
        WORLDS[target] = dns_world(
            catalog_of(target),
            reactor=ResolverReactor(resolve),
            **settings_of(target),
        )
    return WORLDS[target]


SENT = [entry for entry in CAPTURE["queries"] if entry["id"] not in NEVER_SENT]


@pytest.mark.parametrize("entry", SENT, ids=lambda entry: entry["id"])
def test_captured_question(entry, dns_world):
    """A question is answered as the stock agent answered it, byte for byte in size."""
    dig = Dig.read(entry["dig"])
    world = world_of(entry["target"], dns_world)
    wire = world.send(dig.wire(), stream=dig.over_tcp)
    message = dns.message.from_wire(wire)
    expected = entry["result"]
    if entry["id"] in TRANSFERS:
        assert message.rcode() == dns.rcode.NOTIMP
        return
    assert dns.rcode.to_text(message.rcode()) == expected["status"]
    flags = dns.flags.to_text(message.flags).lower().split()
    assert sorted(flags) == sorted(expected["flags"])
    assert opt_text(message) == expected["opt"]
    partial = len(expected["answer"] or ()) < MANY
    for name in ("answer", "authority", "additional"):
        ours = plain(records(getattr(message, name)), partial)
        assert ours == plain(expected[name] or (), partial), name
    assert len(wire) == expected["msg_size"]


def test_every_capture_is_replayed():
    """Nothing but the question that dig refused is left out."""
    assert len(SENT) == len(CAPTURE["queries"]) - 1 == 269
