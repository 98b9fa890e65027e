"""User events."""

from consultwist.api.event.http import EventRoutes

routes = EventRoutes()
