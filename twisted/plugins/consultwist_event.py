"""User events."""

from consultwist.api.event.http import EventRoutes
from consultwist.api.event.leader import LeaderAnnouncement
from consultwist.api.event.rpc import Events

announcement, endpoint, routes = LeaderAnnouncement(), Events(), EventRoutes()
