"""Full state exchange: both sides send everything they know.

The answer goes out before the request is looked at, so a refusal is not seen by the
member that asked; it has to apply the same rules to the answer.
"""

from collections.abc import Iterable, Sequence

from consultwist.gossip.memberlist import messages
from consultwist.gossip.memberlist.members import Member, State
from consultwist.gossip.memberlist.messages import NodeState, PushPullHeader

#: memberlist's pushPullScaleThreshold: from here on exchanges become rarer.
_SCALE_THRESHOLD = 32

#: memberlist's maxPushPullRequests: exchanges that are served at one time.
EXCHANGES_MAX = 128

_VSN_SIZE = 6


def encode_state(members: Sequence[Member], user_state: bytes, *, join: bool) -> bytes:
    """Return a push/pull message with all members, in every state."""
    head = PushPullHeader(nodes=len(members), user_state_len=len(user_state), join=join)
    parts = [messages.encode(messages.PUSH_PULL, head)]
    parts += [to_node_state(member).pack() for member in members]
    parts.append(user_state)
    return b"".join(parts)


def to_node_state(member: Member) -> NodeState:
    """Return a member as full exchanges show it."""
    return NodeState(
        name=member.name,
        addr=member.ip,
        port=member.port,
        meta=member.meta,
        incarnation=member.incarnation,
        state=member.state,
        vsn=member.vsn,
    )


def interval_scale(members: int) -> int:
    """Return how many times rarer exchanges are in a pool of that many members."""
    if members <= _SCALE_THRESHOLD:
        return 1
    # ceil(log2 n - log2 32) + 1 without rounding errors.
    return (members - 1).bit_length() - _SCALE_THRESHOLD.bit_length() + 2


def vsn_is_sane(vsn: bytes | None) -> bool:
    """Return whether an alive message's versions can be meant seriously."""
    if vsn is None or len(vsn) < _VSN_SIZE:
        return False
    return 0 < vsn[0] <= vsn[1]


def version_problem(ours: Iterable[Member], theirs: Iterable[NodeState]) -> str | None:
    """Return why two sides cannot understand each other, or None.

    The current versions of every member must lie within what all alive members
    understand, for memberlist and for the layer above.
    """
    known = [(member.vsn, member.state) for member in ours]
    known += [(node.vsn or b"", node.state) for node in theirs]
    distinct = sorted({entry for entry in known if len(entry[0]) >= _VSN_SIZE})
    alive = [vsn for vsn, state in distinct if state == State.ALIVE]
    if not alive:
        return None
    for offset, what in ((0, "protocol"), (3, "delegate protocol")):
        low = max(vsn[offset] for vsn in alive)
        high = min(vsn[offset + 1] for vsn in alive)
        for vsn, _ in distinct:
            if not low <= vsn[offset + 2] <= high:
                return (
                    f"{what} version {vsn[offset + 2]} is not understood by all"
                    f" members, which share {low} to {high}"
                )
    return None
