"""A gossip pool with one member: what is broadcast comes back at once."""

from typing import Any, Final

from consultwist.agent.user_events import EVENT_PREFIX, UserEvents
from consultwist.errors import ConsultwistError
from consultwist.host import Host
from consultwist.structs.catalog import NodeService
from consultwist.structs.service_rules import error_list

#: What Serf carries of name and payload together (Consul: 512).
SIZE_MAX: Final = 512


class _Services:
    """A local state that has nothing but services."""

    def __init__(self, services: dict[str, NodeService]) -> None:
        self._services = services

    def services(self) -> dict[str, NodeService]:
        return self._services


class OwnPool:
    """The user events of one agent that is alone in its pool.

    Attributes:
        events: the events.
        sent: what was broadcast: names and payloads.
        datacenters: where each was to go.
    """

    def __init__(
        self, host: Host, config: Any, services: dict[str, NodeService] | None = None
    ) -> None:
        local_state: Any = _Services(services or {})
        self.events = UserEvents(host, config, local_state, self._broadcast)
        self.sent: list[tuple[str, bytes]] = []
        self.datacenters: list[str] = []
        self._time = 1

    def _broadcast(self, name: str, payload: bytes, datacenter: str) -> None:
        self.datacenters.append(datacenter)
        size = len(EVENT_PREFIX) + len(name.encode("utf-8", "surrogateescape"))
        if size + len(payload) > SIZE_MAX:
            problem = (
                'error broadcasting event to segment "": user event exceeds '
                f"configured limit of {SIZE_MAX} bytes before encoding"
            )
            raise ConsultwistError(error_list([problem]))
        self.sent.append((name, payload))
        self._time += 1
        self.events.receive(payload, self._time)
