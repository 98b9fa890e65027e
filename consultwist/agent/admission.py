"""Who may come into a pool: the rules that agents apply to members that join.

They keep datacenters and segments apart and find two agents with the same node id. The
reasons name the member, because an operator reads them in the log of either side.
"""

import re
from collections.abc import Sequence
from typing import Final

from consultwist.gossip.config import Admission
from consultwist.gossip.serf.members import MemberStatus, PoolMember

_ROLES: Final = ("consul", "node")
_BUILD: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")

#: Agents older than this may share node ids (Consul).
_UNIQUE_IDS_SINCE: Final = (0, 8, 5)


def build_of(member: PoolMember) -> tuple[int, ...] | None:
    """Return the release in a member's ``build`` tag, or None."""
    found = _BUILD.search(member.tags.get("build", ""))
    return tuple(map(int, found.groups())) if found else None


def is_server(member: PoolMember) -> bool:
    """Tell whether a member is a Consul server whose tags make sense."""
    tags = member.tags
    if tags.get("role") != "consul" or build_of(member) is None:
        return False
    needed = (tags.get("port", ""), tags.get("vsn", ""))
    optional = (tags.get("expect"), tags.get("raft_vsn"), tags.get("wan_join_port"))
    return all(text.isdigit() for text in needed) and all(
        text.isdigit() for text in optional if text is not None
    )


def lan_admission(
    name: str, node_id: str, datacenter: str, segment: str = ""
) -> Admission:
    """Return the rules of a LAN pool."""

    def admit(members: Sequence[PoolMember]) -> str | None:
        seen: dict[str, str] = {}
        for member in members:
            problem = _lan_problem(member, name, node_id, datacenter, segment)
            problem = problem or _shared_id(member, seen)
            if problem:
                return problem
        return None

    return admit


def wan_admission(members: Sequence[PoolMember]) -> str | None:
    """Apply the rule of the WAN pool: servers only."""
    for member in members:
        if not is_server(member):
            return f"Member '{member.name}' is not a server"
    return None


def _lan_problem(
    member: PoolMember, name: str, node_id: str, datacenter: str, segment: str
) -> str:
    tags = member.tags
    if tags.get("id") and member.status == MemberStatus.LEFT:
        return ""
    if tags.get("id") == node_id and node_id and member.name != name:
        return (
            f"Member '{member.name}' has conflicting node ID '{node_id}' "
            "with this agent's ID"
        )
    knows_datacenter = tags.get("role") == "node" or is_server(member)
    if knows_datacenter and tags.get("dc") != datacenter:
        return f"Member '{member.name}' part of wrong datacenter '{tags.get('dc', '')}'"
    if tags.get("role") in _ROLES and tags.get("segment", "") != segment:
        return (
            f"Member '{member.name}' part of wrong segment "
            f"'{tags.get('segment', '')}' (expected '{segment}')"
        )
    return ""


def _shared_id(member: PoolMember, seen: dict[str, str]) -> str:
    node_id = member.tags.get("id", "")
    build = build_of(member)
    if not node_id or member.status == MemberStatus.LEFT:
        return ""
    if build is None or build < _UNIQUE_IDS_SINCE:
        return ""
    other = seen.setdefault(node_id, member.name)
    if other == member.name:
        return ""
    return (
        f"Member '{member.name}' has conflicting node ID '{node_id}' "
        f"with member '{other}'"
    )
