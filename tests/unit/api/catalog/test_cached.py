"""Cached reads of the catalog, from HTTP down to the state."""

import pytest

from consultwist.api.catalog.http import CatalogRoutes
from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.health.http import HealthRoutes
from consultwist.api.health.rpc import Health
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.structs.catalog import NodeService, RegisterRequest
from consultwist.structs.message_type import MessageType
from consultwist.testing.local_api import LocalAPI


@pytest.fixture
def api():
    """A server with one node."""
    tables = [KVTable(), SessionTable(), CatalogTable()]
    made = LocalAPI(tables, [Catalog(), Health()], [CatalogRoutes(), HealthRoutes()])
    made.register_node("n1")
    return made


def register(api, port):
    """Register a service at a port."""
    service = NodeService(id="web", service="web", port=port)
    request = RegisterRequest(
        datacenter="dc1", node="n1", address="127.0.0.1", service=service
    )
    api.replica.apply(MessageType.REGISTER, request)


def asked(api, method):
    """Count the questions of one kind that reached the server."""
    return sum(name == method for name, _ in api.agent.calls)


@pytest.mark.parametrize(
    ("path", "method", "field"),
    [
        ("/v1/catalog/service/web", "Catalog.ServiceNodes", "ServicePort"),
        ("/v1/health/service/web", "Health.ServiceNodes", "Port"),
    ],
)
def test_changes_reach_cached_reads_by_themselves(api, path, method, field):
    """The server is asked once for each change, however often clients read."""
    register(api, 80)
    api.client.get(f"{path}?cached")
    api.pass_time(0)
    for port in (81, 82):
        register(api, port)
        api.pass_time(1)
        for _ in range(3):
            answer = api.client.get(f"{path}?cached")
            assert (answer.headers["X-Cache"], answer.headers["Age"]) == ("HIT", "0")
            (found,) = answer.json
            assert found.get("Service", found).get(field) == port
    # The first, and one for each change that waits for the next.
    assert asked(api, method) == 4


def test_the_list_of_datacenters_grows_old(api):
    """It has no index to wait on, so clients say how old it may be."""
    path = "/v1/catalog/datacenters?cached"
    assert api.client.get(path).headers["X-Cache"] == "MISS"
    api.pass_time(5)
    young = api.client.get(path, Cache_Control="max-age=10")
    assert (young.headers["X-Cache"], young.headers["Age"]) == ("HIT", "5")
    old = api.client.get(path, Cache_Control="max-age=3")
    assert old.headers["X-Cache"] == "MISS"
    again = api.client.get(path, Cache_Control="must-revalidate")
    assert again.headers["X-Cache"] == "MISS"
    assert again.json == ["dc1"]
    assert asked(api, "Catalog.ListDatacenters") == 3
