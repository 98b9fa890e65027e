"""How the first server of a datacenter begins: once, and never again."""

from twisted.logger import Logger

from consultwist.errors import CannotBootstrap
from consultwist.raft.configuration import Server
from consultwist.raft.node import RaftNode

log = Logger()


def bootstrap_alone(raft: RaftNode) -> None:
    """Make a cluster of this one server, unless it has a log already.

    Bootstrap mode is over with the first entry: a server that was a member of a
    cluster stays one, whatever its configuration says.
    """
    me = Server(id=raft.identity.server_id, address=raft.identity.address)
    try:
        raft.bootstrap([me])
    except CannotBootstrap:
        log.debug("this server has a log already, bootstrap mode is over")
    else:
        log.info("began a cluster of this one server")
