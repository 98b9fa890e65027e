"""The RPC method by which agents have a server tell all members of an event."""

from typing import Final

from consultwist.acl.authorizer import Authorizer
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.structs.event import EventFireRequest, EventFireResponse

#: What the names of users' events begin with in the gossip pool.
_EVENT_PREFIX: Final = "consul:event:"


def fire_rule(authorizer: Authorizer, request: EventFireRequest) -> bool:
    """Ask for write access to events of this name."""
    return authorizer.allows("event", "write", request.name)


class Events(Endpoint):
    """RPC methods of user events."""

    name = "event"
    service = "Internal"

    @method(EventFireRequest, acl=fire_rule, local=True)
    def event_fire(self, call: Call, request: EventFireRequest) -> EventFireResponse:
        """Tell all members of this datacenter of an event."""
        name = _EVENT_PREFIX + request.name
        call.server.membership.fire_event(name, request.payload or b"")
        known, last_contact = call.server.read_meta()
        return EventFireResponse(known_leader=known, last_contact=last_contact)
