"""What the leader does for sessions: it ends those that are not renewed."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.session.table import SESSIONS
from consultwist.interfaces import ILeaderRoutine, IServer
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import Session, SessionRequest, session_key


@implementer(IPlugin, ILeaderRoutine)
class SessionExpiry:
    """Ends sessions whose TTL has passed twice without renewal."""

    name = "session-expiry"
    rank = 0

    def start(self, server: IServer) -> Callable[[], None]:
        """Give every session its full time, and begin to count."""

        def expire(session_id: str) -> Deferred[Any]:
            if server.store.table(SESSIONS).get(session_key(session_id)) is None:
                return succeed(None)
            request = SessionRequest(
                datacenter=server.config.datacenter,
                op="destroy",
                session=Session(id=session_id),
            )
            done: Deferred[Any] = server.raft_apply(MessageType.SESSION, request)
            return done

        server.session_timers.start(server.store.table(SESSIONS).rows(), expire)
        stop: Callable[[], None] = server.session_timers.stop
        return stop
