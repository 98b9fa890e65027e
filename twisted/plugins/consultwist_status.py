"""Who leads, and who takes part in Raft."""

from consultwist.api.status.http import StatusRoutes
from consultwist.api.status.rpc import Status

endpoint, routes = Status(), StatusRoutes()
