"""User events."""

from consultwist.api.event.http import EventRoutes
from consultwist.api.event.rpc import Events

endpoint, routes = Events(), EventRoutes()
