"""What ``/v1/agent/self`` and ``consul info`` show of Raft."""

from consultwist import durations
from consultwist.raft.configuration import Configuration, Suffrage
from consultwist.raft.core import Raft
from consultwist.raft.settings import PROTOCOL_VERSION, SNAPSHOT_VERSION

_SUFFRAGES = {
    Suffrage.VOTER: "Voter",
    Suffrage.NONVOTER: "Nonvoter",
    Suffrage.STAGING: "Staging",
}


def last_contact(core: Raft, now: float) -> str:
    """Return how long ago the leader was heard: ``0`` on itself, or ``never``."""
    if core.is_leader:
        return "0"
    if core.last_contact is None:
        return "never"
    return durations.render(int((now - core.last_contact) * 1e9))


def stats(core: Raft, now: float, fsm_pending: int) -> dict[str, str]:
    """Return the statistics by name, as text."""
    state = core.state
    log, configurations = state.log, state.configurations
    voters = configurations.latest.voters
    peers = [server for server in voters if server.id != state.server_id]
    is_member = configurations.latest.find(state.server_id) is not None
    return {
        "applied_index": str(log.applied_index),
        "commit_index": str(log.commit_index),
        "fsm_pending": str(fsm_pending),
        "last_contact": last_contact(core, now),
        "last_log_index": str(log.last_index),
        "last_log_term": str(log.last_term),
        "last_snapshot_index": str(log.snapshot.index),
        "last_snapshot_term": str(log.snapshot.term),
        "latest_configuration": _describe(configurations.latest),
        # Stock always shows 0 here, and so no program can want anything else.
        "latest_configuration_index": "0",
        "num_peers": str(len(peers) if is_member else 0),
        "protocol_version": str(PROTOCOL_VERSION),
        "protocol_version_max": str(PROTOCOL_VERSION),
        "protocol_version_min": "0",
        "snapshot_version_max": str(SNAPSHOT_VERSION),
        "snapshot_version_min": "0",
        "state": core.role.value,
        "term": str(state.term),
    }


def _describe(configuration: Configuration) -> str:
    servers = " ".join(
        f"{{Suffrage:{_SUFFRAGES[Suffrage(server.suffrage)]} "
        f"ID:{server.id} Address:{server.address}}}"
        for server in configuration.servers
    )
    return f"[{servers}]"
