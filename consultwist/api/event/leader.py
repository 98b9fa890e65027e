"""What a new leader tells all members: that it leads."""

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.errors import ConsultwistError
from consultwist.interfaces import ILeaderRoutine, IServer

log = Logger()

#: Agents of Consul's hear by this event that there was an election.
_NEW_LEADER: Final = "consul:new-leader"


@implementer(IPlugin, ILeaderRoutine)
class LeaderAnnouncement:
    """Announces each new leader in the LAN pool, by the name of its node."""

    name = "leader-announcement"
    rank = 90

    def start(self, server: IServer) -> Callable[[], None]:
        """Announce this server; there is nothing to stop."""
        node_name: str = server.config.node_name
        try:
            server.membership.fire_event(_NEW_LEADER, node_name.encode())
        except ConsultwistError as error:
            log.warn("failed to announce the new leader: {error}", error=error)
        return lambda: None
