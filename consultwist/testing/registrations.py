"""Registering and deregistering through a server's RPC methods, in few words."""

from typing import Any

from consultwist.structs.catalog import (
    DeregisterRequest,
    NodeService,
    RegisterRequest,
)
from consultwist.testing.state import DATACENTER, LocalServer


def register(server: LocalServer, node: str = "n1", **fields: Any) -> Any:
    """Register a node, and what else the fields of the request say."""
    fields.setdefault("address", "10.0.0.1")
    request = RegisterRequest(datacenter=DATACENTER, node=node, **fields)
    return server.rpc("Catalog.Register", request)


def deregister(server: LocalServer, node: str = "n1", **fields: Any) -> Any:
    """Deregister a node, or what the fields of the request say."""
    request = DeregisterRequest(datacenter=DATACENTER, node=node, **fields)
    return server.rpc("Catalog.Deregister", request)


def service(service_id: str = "web1", name: str = "web", **fields: Any) -> NodeService:
    """Return an instance of a service."""
    return NodeService(id=service_id, service=name, **fields)
