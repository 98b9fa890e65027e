"""The agent's own part of the HTTP API."""

from consultwist.api.agent.http import AgentRoutes

routes = AgentRoutes()
