"""The catalog follows membership: what the leader registers for the gossip pool.

Every member of the LAN pool has a node with the check ``serfHealth``, servers also the
service ``consul``. The check is critical while the member has failed; a member that
left, or that the pool has forgotten, goes from the catalog with all it had. The leader
compares the two when it begins to lead, whenever members change, and every minute.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec.structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.catalog.rows import (
    CHECKS,
    CONSUL,
    CRITICAL,
    SERF_HEALTH,
    find_check,
    find_node,
    find_service,
)
from consultwist.errors import ConsultwistError
from consultwist.gossip.serf.members import MemberStatus, PoolMember
from consultwist.interfaces import ILeaderRoutine, IServer
from consultwist.state.store import Store
from consultwist.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    NodeService,
    RegisterRequest,
    Weights,
)
from consultwist.structs.message_type import MessageType
from consultwist.wire.struct import Struct

#: Consul's reconcile interval.
RECONCILE_INTERVAL_S: Final = 60.0
#: Changes that come while the catalog is being written are taken together.
_PAUSE_S: Final = 0.2

_PASSING: Final = "passing"
_CHECK_NAME: Final = "Serf Health Status"
_ALIVE_OUTPUT: Final = "Agent alive and reachable"
_FAILED_OUTPUT: Final = "Agent not live or unreachable"

_SERVER_ROLE: Final = "consul"
_CLIENT_ROLE: Final = "node"
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")

#: A command that brings the catalog closer to the pool.
Command = tuple[MessageType, Struct]


@implementer(IPlugin, ILeaderRoutine)
class CatalogFollowsMembers:
    """Keeps nodes, server instances and node health as the gossip pool tells them."""

    name = "catalog-follows-members"
    rank = -10

    def start(self, server: IServer) -> Callable[[], None]:
        """Bring the catalog up to date and keep it so."""
        reconciler = _Reconciler(server)
        reconciler.start()
        return reconciler.stop


class _Reconciler:
    """Writes the differences into the log, one after another, while it leads."""

    log = Logger()

    def __init__(self, server: IServer) -> None:
        self._server = server
        self._timer: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._changed = False
        self._forget: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._forget = self._server.membership.on_change(self._members_changed)
        self._run()

    def stop(self) -> None:
        self._forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _members_changed(self) -> None:
        if self._running is not None:
            self._changed = True
        else:
            self._run()

    def _run(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._changed = False
        running = Deferred.fromCoroutine(self._reconcile())
        self._running = running
        running.addBoth(self._ended, running)

    def _ended(self, outcome: Any, running: Deferred[None]) -> None:
        if self._running is not running:
            return  # stopped meanwhile
        self._running = None
        if outcome is not None:
            self.log.failure("reconciling the catalog failed", outcome)
        pause_s = _PAUSE_S if self._changed else RECONCILE_INTERVAL_S
        self._timer = self._server.reactor.callLater(pause_s, self._run)

    async def _reconcile(self) -> None:
        server = self._server
        members = list(server.membership.members())
        datacenter = server.config.datacenter
        for member in members:
            if member.tags.get("dc") == datacenter and _is_agent(member):
                await self._apply(command_for(server, member), member.name)
        for name in list(forgotten_nodes(server.store, members)):
            await self._apply(_removal(server, name), name)

    async def _apply(self, command: Command | None, name: str) -> None:
        if command is None:
            return
        message_type, request = command
        try:
            await self._server.raft_apply(message_type, request)
        except CancelledError:
            raise
        except ConsultwistError as error:
            self.log.warn(
                "failed to reconcile member {name}: {error}", name=name, error=error
            )


def _is_agent(member: PoolMember) -> bool:
    return member.tags.get("role") in (_SERVER_ROLE, _CLIENT_ROLE)


def command_for(server: IServer, member: PoolMember) -> Command | None:
    """Return what makes the catalog say what the pool says of a member, if anything."""
    if member.status == MemberStatus.ALIVE:
        return _alive(server, member)
    if member.status == MemberStatus.FAILED:
        return _failed(server, member)
    if member.status == MemberStatus.LEFT:
        return _removal(server, member.name)
    return None


def forgotten_nodes(store: Store, members: list[PoolMember]) -> Iterator[str]:
    """Yield the nodes that were members of the pool but are known there no more."""
    known = {member.name.lower() for member in members}
    for check in store.table(CHECKS).rows():
        if check.check_id == SERF_HEALTH and check.node.lower() not in known:
            yield check.node


def _alive(server: IServer, member: PoolMember) -> Command | None:
    service = consul_service(member) if _is_server(member) else None
    node = find_node(server.store, member.name)
    if (
        node is not None
        and node.address == member.host
        and _has_service(server.store, member.name, service)
        and _health(server.store, member.name) == _PASSING
    ):
        return None
    request = _registration(server, member, _PASSING, _ALIVE_OUTPUT)
    request = msgspec.structs.replace(request, service=service)
    if node is not None:
        request = msgspec.structs.replace(
            request, tagged_addresses=node.tagged_addresses, node_meta=node.meta
        )
    return MessageType.REGISTER, request


def _failed(server: IServer, member: PoolMember) -> Command | None:
    node = find_node(server.store, member.name)
    if node is None:
        return None
    critical = _health(server.store, member.name) == CRITICAL
    if node.address == member.host and critical:
        return None
    request = _registration(server, member, CRITICAL, _FAILED_OUTPUT)
    # What the agent itself told of its node is better than what the pool knows.
    request = msgspec.structs.replace(request, skip_node_update=True)
    return MessageType.REGISTER, request


def _removal(server: IServer, name: str) -> Command | None:
    # A leader that leaves is removed by the next one.
    is_self = name.lower() == server.config.node_name.lower()
    if is_self or find_node(server.store, name) is None:
        return None
    request = DeregisterRequest(datacenter=server.config.datacenter, node=name)
    return MessageType.DEREGISTER, request


def _registration(
    server: IServer, member: PoolMember, status: str, output: str
) -> RegisterRequest:
    check = HealthCheck(
        node=member.name,
        check_id=SERF_HEALTH,
        name=_CHECK_NAME,
        status=status,
        output=output,
    )
    return RegisterRequest(
        datacenter=server.config.datacenter,
        node=member.name,
        id=member.tags.get("id", ""),
        address=member.host,
        check=check,
    )


def _is_server(member: PoolMember) -> bool:
    return (
        member.tags.get("role") == _SERVER_ROLE
        and member.tags.get("port", "").isdecimal()
    )


def consul_service(member: PoolMember) -> NodeService:
    """Return the instance of the service ``consul`` that a server is."""
    tags = member.tags
    least, most, current = member.versions[:3]
    version = _VERSION.search(tags.get("build", ""))
    return NodeService(
        id=CONSUL,
        service=CONSUL,
        port=int(tags["port"]),
        weights=Weights(passing=1, warning=1),
        meta={
            "non_voter": "true" if tags.get("nonvoter") == "1" else "false",
            "raft_version": tags.get("raft_vsn", "0"),
            "serf_protocol_current": str(current),
            "serf_protocol_min": str(least),
            "serf_protocol_max": str(most),
            "version": version.group() if version else "",
        },
    )


def _has_service(store: Store, node: str, service: NodeService | None) -> bool:
    if service is None:
        return True
    existing = find_service(store, node, service.id)
    return existing is not None and existing.meta == service.meta


def _health(store: Store, node: str) -> str:
    check = find_check(store, node, SERF_HEALTH)
    return "" if check is None else check.status
