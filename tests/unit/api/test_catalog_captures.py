"""Recorded HTTP calls on catalog, health, coordinates and the UI, made again here.

The recordings were made on an agent with services of its own. What its catalog held
then is put there first, as the recorded lists of nodes and services show it. Left out
are the calls that another datacenter or the agent itself answers.
"""

import json
from pathlib import Path

import attrs

from consultwist.api.catalog.http import CatalogRoutes
from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.http import CoordinateRoutes
from consultwist.api.coordinate.leader import CoordinateBatches
from consultwist.api.coordinate.rpc import Coordinates
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.health.http import HealthRoutes
from consultwist.api.health.rpc import Health
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.api.ui.http import UIRoutes
from consultwist.api.ui.rpc import Overviews
from consultwist.structs.catalog import RegisterRequest
from consultwist.structs.coordinate import CoordinateBatch
from consultwist.structs.message_type import MessageType
from consultwist.testing.captures import Replay, load_captures
from consultwist.testing.http import HTTPSettings
from consultwist.testing.local_api import LocalAPI
from consultwist.wire import json_decode

VECTORS = Path(__file__).parents[2] / "vectors" / "http"

#: What another datacenter answers, and what config entries of gateways make.
ELSEWHERE = ("dc=dc2", "gateway-services-nodes/tgw")
#: Calls whose answers rest on another datacenter without naming it.
DATACENTERS = frozenset(("catalog-004", "catalog-015", "coordinate-001"))


@attrs.define
class Settings(HTTPSettings):
    """What these endpoints read of the configuration."""

    node_name: str = "srv1"
    disable_coordinates: bool = False
    dns_domain: str = "consul."
    dns_alt_domain: str = ""
    consul_coordinate_update_period: float = 5.0
    consul_coordinate_update_batch_size: int = 128
    consul_coordinate_update_max_batches: int = 5


def _api(**settings):
    tables = [KVTable(), SessionTable(), CatalogTable(), CoordinateTable()]
    endpoints = [Catalog(), Health(), Coordinates(), Overviews()]
    routes = [CatalogRoutes(), HealthRoutes(), CoordinateRoutes(), UIRoutes()]
    api = LocalAPI(tables, endpoints, routes, Settings(**settings))
    api.server.config = api.agent.config
    return api


def _entries(name):
    return load_captures(VECTORS / f"{name}.json")


def _body(name, entry_id):
    return next(e["body"] for e in _entries(name) if e["id"] == entry_id)


def _register(api, **request):
    """Register in the state what an answer of the API showed.

    It shows empty lists where the agent had registered no tags.
    """
    for part, tags in (("Service", "Tags"), ("Check", "ServiceTags")):
        if part in request:
            request[part] = request[part] | {tags: request[part][tags] or None}
    order = json_decode.decode(RegisterRequest, json.dumps(request).encode())
    api.replica.apply(MessageType.REGISTER, order)


def _fill(api, *, without=("ext2",)):
    """Put into the catalog what the recorded agent had there at some time."""
    for node in _body("catalog", "catalog-016"):
        if node["Node"] not in without:
            _register(api, **_as_registered(node))
    server = _body("catalog", "catalog-042")
    for service in server["Services"].values():
        _register(api, **_as_registered(server["Node"]), Service=service)
    if "ext1" not in without:
        found = _body("catalog", "catalog-049")
        for service in found["Services"].values():
            _register(api, **_as_registered(found["Node"]), Service=service)
    for check in _body("health", "health-007"):
        if check["Node"] not in without:
            node = {"Node": check["Node"], "Address": "", "SkipNodeUpdate": True}
            _register(api, **node, Check=check)
    batch = json.dumps({"Coordinates": _body("coordinate", "coordinate-002")})
    known = json_decode.decode(CoordinateBatch, batch.encode())
    api.replica.apply(MessageType.COORDINATE_BATCH_UPDATE, known)


def _as_registered(node):
    names = ("ID", "Node", "Address", "Datacenter", "TaggedAddresses")
    return {name: node[name] for name in names} | {"NodeMeta": node["Meta"]}


def _replay(api, name):
    def wait(_):
        api.pass_time(11.0)

    replay = Replay(api.client, wait)
    count = 0
    differing = {}
    for entry in _entries(name):
        path = entry["request"]["path"]
        if entry["id"] in DATACENTERS or any(part in path for part in ELSEWHERE):
            continue
        if path.startswith("/v1/agent") or "federation" in path:
            continue
        if entry["target"] != "server" or entry["id"] == "health-032":
            continue
        # How a body is framed is the HTTP layer's own affair.
        entry["headers"].pop("Transfer-Encoding", None)
        differences = replay.run(entry)
        if differences:
            differing[entry["id"]] = differences
        count += 1
    assert not differing
    return count


def test_catalog_calls_are_answered_as_recorded():
    """Registrations, lists and refusals are those of a real server."""
    api = _api()
    _fill(api, without=("ext1", "ext2", "ext4"))
    assert _replay(api, "catalog") == 60


def test_filters_are_answered_as_recorded():
    """Filtered lists, and refusals of filters, are those of a real server."""
    api = _api()
    _fill(api)
    assert _replay(api, "catalog-filter") == 33


def test_calls_of_the_user_interface_are_answered_as_recorded():
    """Overviews of nodes and services are those of a real server."""
    api = _api()
    _fill(api)
    # Central configuration had been merged into the proxies by then.
    node = next(n for n in _body("internal", "internal-001") if n["Node"] == "srv1")
    for service in node["Services"]:
        _register(api, Node="srv1", SkipNodeUpdate=True, Service=service)
    assert _replay(api, "internal") == 7


def test_health_calls_are_answered_as_recorded():
    """Lists of checks and of instances are those of a real server."""
    api = _api()
    _fill(api)
    assert _replay(api, "health") == 30


def test_coordinate_calls_are_answered_as_recorded():
    """Coordinates are listed, refused and taken as by a real server."""
    api = _api()
    _fill(api)
    CoordinateBatches().start(api.server)
    assert _replay(api, "coordinate") == 8


def test_coordinates_can_be_switched_off():
    """An agent without coordinates answers 401."""
    answer = _api(disable_coordinates=True).client.get("/v1/coordinate/nodes")
    assert (answer.status, answer.text) == (401, "Coordinate support disabled")
