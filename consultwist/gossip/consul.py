"""What Consul makes of a pool: which members are servers, and who may come in.

Tags carry a member's part in Consul. A member is a server only if everything that a
server must say can be read; otherwise it is treated as none at all.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

from consultwist.gossip.address import format_address
from consultwist.gossip.config import Admission
from consultwist.gossip.serf.members import MemberStatus, PoolMember

#: The first build whose members must not share an ID; older ones made it from the
#: hardware, where virtual machines were not unique.
_UNIQUE_ID_BUILD: Final = (0, 8, 5)

_BUILD = re.compile(r"\d+\.\d+\.\d+")

#: Tags that must be integers where they are present.
_OPTIONAL_NUMBERS: Final = ("expect", "raft_vsn", "wan_join_port")


@attrs.frozen
class ServerTags:
    """What a server tells about itself.

    Attributes:
        name: the member's name.
        datacenter: its datacenter.
        segment: the network segment of the pool.
        id: the node's ID.
        host: its address.
        port: the port of its RPC.
        build: its release, as three numbers.
        is_bootstrap: whether it may elect itself.
        expect: how many servers it waits for.
        is_voter: whether it takes part in elections.
        uses_tls: whether its RPC speaks TLS.
        acls: its ACL mode.
        raft_version: the Raft protocol that it speaks.
        wan_join_port: the port of its WAN gossip, or 0.
        status: its member status.
    """

    name: str
    datacenter: str
    segment: str
    id: str
    host: str
    port: int
    build: tuple[int, int, int]
    is_bootstrap: bool
    expect: int
    is_voter: bool
    uses_tls: bool
    acls: str
    raft_version: int
    wan_join_port: int
    status: int

    @property
    def address(self) -> str:
        """Where its RPC listens, as ``host:port``: its address in Raft."""
        return format_address((self.host, self.port))

    @property
    def is_alive(self) -> bool:
        """Tell whether the member is alive."""
        return self.status == MemberStatus.ALIVE


def parse_build(text: str) -> tuple[int, int, int] | None:
    """Return the release in a build tag, or None."""
    found = _BUILD.search(text)
    if found is None:
        return None
    major, minor, patch = found.group().split(".")
    return int(major), int(minor), int(patch)


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(text)


def parse_server(member: PoolMember) -> ServerTags | None:
    """Return what a server tells, or None where the member is no server."""
    tags = member.tags
    if tags.get("role") != "consul":
        return None
    port, build = _number(tags.get("port", "")), parse_build(tags.get("build", ""))
    if port is None or build is None or _number(tags.get("vsn", "")) is None:
        return None
    numbers: dict[str, int] = {}
    features = [name for name in tags if name.startswith("ft_")]
    for name in (*_OPTIONAL_NUMBERS, *features):
        number = _number(tags.get(name, "0"))
        if number is None:
            return None
        numbers[name] = number
    if not _grpc_is_sane(tags):
        return None
    return ServerTags(
        name=member.name,
        datacenter=tags.get("dc", ""),
        segment=tags.get("segment", ""),
        id=tags.get("id", ""),
        host=member.host,
        port=port,
        build=build,
        is_bootstrap="bootstrap" in tags,
        expect=numbers["expect"],
        is_voter="nonvoter" not in tags,
        uses_tls="use_tls" in tags,
        acls=tags.get("acls", "3"),
        raft_version=numbers["raft_vsn"],
        wan_join_port=numbers["wan_join_port"],
        status=member.status,
    )


def _grpc_is_sane(tags: dict[str, str]) -> bool:
    """Newer releases: of the gRPC ports that are told, one must be open."""
    told = [tags[name] for name in ("grpc_port", "grpc_tls_port") if name in tags]
    numbers = [_number(text) for text in told]
    return not told or (None not in numbers and any(n and n >= 1 for n in numbers))


def lan_admission(datacenter: str, segment: str, node_id: str, name: str) -> Admission:
    """Return the rules of a LAN pool: one datacenter, one segment, unique IDs."""

    def admit(members: Sequence[PoolMember]) -> str | None:
        seen: dict[str, str] = {}
        for member in members:
            problem = _id_problem(member, node_id, name, seen)
            if problem is not None:
                return problem
            if member.status == MemberStatus.LEFT and member.tags.get("id"):
                continue
            problem = _place_problem(member, datacenter, segment)
            if problem is not None:
                return problem
        return None

    return admit


def _id_problem(
    member: PoolMember, node_id: str, name: str, seen: dict[str, str]
) -> str | None:
    number = member.tags.get("id", "")
    if not number or member.status == MemberStatus.LEFT:
        return None
    if number == node_id and member.name != name:
        return (
            f"Member '{member.name}' has conflicting node ID '{number}'"
            " with this agent's ID"
        )
    build = parse_build(member.tags.get("build", ""))
    if build is None or build < _UNIQUE_ID_BUILD:
        return None
    if number in seen:
        return (
            f"Member '{member.name}' has conflicting node ID '{number}'"
            f" with member '{seen[number]}'"
        )
    seen[number] = member.name
    return None


def _place_problem(member: PoolMember, datacenter: str, segment: str) -> str | None:
    is_client = member.tags.get("role") == "node"
    if not is_client and parse_server(member) is None:
        return None
    theirs = member.tags.get("dc", "")
    if theirs != datacenter:
        return f"Member '{member.name}' part of wrong datacenter '{theirs}'"
    their_segment = member.tags.get("segment", "")
    if their_segment != segment:
        return (
            f"Member '{member.name}' part of wrong segment '{their_segment}'"
            f" (expected '{segment}')"
        )
    return None


def wan_admission() -> Admission:
    """Return the rule of the WAN pool: servers only."""

    def admit(members: Sequence[PoolMember]) -> str | None:
        for member in members:
            if parse_server(member) is None:
                return f"Member '{member.name}' is not a server"
        return None

    return admit


def flood_targets(
    lan: Iterable[PoolMember],
    knows: Callable[[str], bool],
    target: Callable[[ServerTags], tuple[str, int] | None],
) -> list[str]:
    """Return what to join so that every LAN server is in another pool, too.

    Servers do so for the WAN pool and for every network segment, once a minute and
    when a server joins.

    Args:
        lan: the members of the LAN pool.
        knows: whether the other pool has an alive member of a name.
        target: a server's name and port in the other pool, or None.
    """
    found = []
    for member in lan:
        server = parse_server(member) if member.is_alive else None
        aim = target(server) if server is not None else None
        if server is None or aim is None or knows(aim[0]):
            continue
        host = f"[{server.host}]" if ":" in server.host else server.host
        found.append(f"{aim[0]}/{host}:{aim[1]}")
    return found


def wan_target(server: ServerTags) -> tuple[str, int] | None:
    """Return a LAN server's name and port in the WAN pool."""
    if server.wan_join_port <= 0:
        return None
    return f"{server.name}.{server.datacenter}", server.wan_join_port
