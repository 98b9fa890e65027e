"""The health of nodes and services."""

from consultwist.api.health.http import HealthRoutes
from consultwist.api.health.rpc import Health

endpoint, routes = Health(), HealthRoutes()
