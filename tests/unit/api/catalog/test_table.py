"""The catalog's commands: what they store, at which indexes, and what they refuse."""

import json
from pathlib import Path

import pytest

from consultwist.api.catalog.rows import (
    CHECKS,
    GATEWAY_SERVICES,
    NODES,
    SERVICES,
    ServiceRow,
)
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.errors import ConsultwistError
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    DeregisterRequest,
    GatewayService,
    HealthCheck,
    NodeService,
    RegisterRequest,
    ServiceConnect,
    ServiceName,
    Weights,
)
from consultwist.structs.coordinate import Coord, Coordinate, CoordinateBatch
from consultwist.structs.message_type import MessageType
from consultwist.structs.session import Session, SessionRequest
from consultwist.testing.state import Replica

VECTORS = Path(__file__).parents[3] / "vectors" / "fsm"
SESSION = "6d2ff9e4-8e5f-4c35-9ff2-0f3c3a9fe7a1"
ID_A = "40e4a748-2192-161a-0510-9bf59fe950b5"
ID_B = "40e4a748-2192-161a-0510-9bf59fe950b6"


@pytest.fixture
def replica():
    return Replica(KVTable(), SessionTable(), CatalogTable(), CoordinateTable())


def register(replica, node="n1", **fields):
    fields.setdefault("address", "10.0.0.1")
    request = RegisterRequest(datacenter="dc1", node=node, **fields)
    return replica.apply(MessageType.REGISTER, request)


def deregister(replica, node="n1", **fields):
    request = DeregisterRequest(datacenter="dc1", node=node, **fields)
    return replica.apply(MessageType.DEREGISTER, request)


def service(service_id="web1", name="web", **fields):
    return NodeService(id=service_id, service=name, **fields)


def check(check_id="c", node="n1", **fields):
    fields.setdefault("status", "passing")
    return HealthCheck(node=node, check_id=check_id, name=check_id, **fields)


def indexes(row):
    return row.create_index, row.modify_index


def only(replica, table):
    (row,) = replica.rows(table)
    return row.service if isinstance(row, ServiceRow) else row


# --- nodes ---------------------------------------------------------------------------


def test_a_new_node_gets_the_index_of_the_entry(replica):
    """Both indexes of a new node, and the row of nodes, are the entry's."""
    register(replica)
    assert indexes(only(replica, NODES)) == (1, 1)
    assert replica.index_rows() == {"nodes": 1}


def test_an_equal_node_stays_as_it_is(replica):
    """Registering the same node again moves nothing."""
    register(replica)
    register(replica)
    assert indexes(only(replica, NODES)) == (1, 1)
    assert replica.index_rows() == {"nodes": 1}


def test_empty_metadata_is_not_the_same_as_none(replica):
    """A node that gets an empty map of metadata has changed."""
    register(replica)
    register(replica, node_meta={})
    assert indexes(only(replica, NODES)) == (1, 2)


def test_a_changed_node_moves_its_services(replica):
    """A change of the node is a change of every service on it."""
    register(replica, service=service())
    register(replica, address="10.0.0.2")
    assert replica.index_rows() == {
        "nodes": 2,
        "services": 1,
        "service.web": 2,
        "service_kind.typical": 2,
    }


def test_skipping_the_node_leaves_it_alone(replica):
    """With SkipNodeUpdate a known node keeps what it has."""
    register(replica)
    register(replica, address="9.9.9.9", skip_node_update=True)
    assert only(replica, NODES).address == "10.0.0.1"


def test_node_names_compare_without_case(replica):
    """A name in another case is the same node; how it is written changes."""
    register(replica, "Web")
    register(replica, "web")
    assert only(replica, NODES).node == "web"
    assert indexes(only(replica, NODES)) == (1, 2)


def test_a_known_id_under_another_name_renames_the_node(replica):
    """The old name goes with all it had; the create index is kept."""
    register(replica, "old", id=ID_A, service=service())
    register(replica, "new", id=ID_A)
    assert only(replica, NODES).node == "new"
    assert indexes(only(replica, NODES)) == (1, 2)
    assert replica.rows(SERVICES) == []


def alive(node, status="passing"):
    return check("serfHealth", node=node, status=status)


def test_the_name_of_a_living_node_is_reserved(replica):
    """A node with another id may not take the name, and nothing changes."""
    register(replica, "a", id=ID_A, check=alive("a"))
    with pytest.raises(ConsultwistError, match="Node name A is reserved by node") as e:
        register(replica, "A", id=ID_B)
    assert str(e.value).startswith("failed inserting node: ")
    assert only(replica, NODES).id == ID_A


@pytest.mark.parametrize("status", ["critical", None])
def test_the_name_of_a_dead_or_external_node_is_free(replica, status):
    """Only a serfHealth check that is not critical protects a name."""
    found = alive("a", status) if status else None
    register(replica, "a", id=ID_A, check=found)
    register(replica, "a", id=ID_B)
    assert only(replica, NODES).id == ID_B


def test_a_living_node_without_id_may_get_one(replica):
    """An agent that was upgraded brings its id along."""
    register(replica, "a", check=alive("a"))
    register(replica, "a", id=ID_A)
    assert only(replica, NODES).id == ID_A


def test_renaming_to_the_name_of_a_living_node_is_refused(replica):
    """Also a node without id keeps its name against one that is renamed."""
    register(replica, "a", check=alive("a"))
    register(replica, "b", id=ID_B)
    with pytest.raises(ConsultwistError, match="is reserved by node"):
        register(replica, "a", id=ID_B)
    assert [node.node for node in replica.rows(NODES)] == ["a", "b"]


def test_deleting_a_node_takes_everything_on_it(replica):
    """Services, checks, coordinates and sessions go with their node."""
    register(replica, service=service(), check=check())
    place = Coordinate(node="n1", coord=Coord(vec=[0.0] * 8))
    replica.apply(
        MessageType.COORDINATE_BATCH_UPDATE, CoordinateBatch(coordinates=[place])
    )
    session = Session(id=SESSION, node="n1")
    replica.apply(MessageType.SESSION, SessionRequest(op="create", session=session))
    deregister(replica)
    assert all(not replica.rows(name) for name in replica.store.tables)
    assert replica.index_rows() == {
        "nodes": 4,
        "services": 4,
        "checks": 4,
        "coordinates": 4,
        "sessions": 4,
        "service_kind.typical": 4,
        "service_last_extinction": 4,
    }


def test_deleting_what_is_missing_changes_nothing(replica):
    """Absent nodes, services and checks are no error and move no index."""
    register(replica)
    deregister(replica, "nope")
    deregister(replica, service_id="nope")
    deregister(replica, check_id="nope")
    assert replica.index_rows() == {"nodes": 1}


# --- services ------------------------------------------------------------------------


def test_a_new_service_moves_its_rows(replica):
    """The rows of services, of the name and of the kind are the entry's index."""
    proxy = ConnectProxyConfig(destination_service_name="web")
    register(
        replica, service=service("p", "Web-Proxy", kind="connect-proxy", proxy=proxy)
    )
    assert replica.index_rows() == {
        "nodes": 1,
        "services": 1,
        "service.Web-Proxy": 1,
        "service_kind.connect-proxy": 1,
    }


def test_an_equal_service_stays_as_it_is(replica):
    """Registering the same instance again moves nothing."""
    register(replica, service=service(tags=["a"]))
    register(replica, service=service(tags=["a"]))
    assert indexes(only(replica, SERVICES)) == (1, 1)
    assert replica.index_rows()["services"] == 1


def test_a_changed_service_keeps_its_create_index(replica):
    """Only the modify index of a changed instance moves."""
    register(replica, service=service())
    register(replica, service=service(port=80))
    assert indexes(only(replica, SERVICES)) == (1, 2)


@pytest.mark.parametrize(
    "weights",
    [
        None,
        Weights(passing=0, warning=1),
        Weights(passing=1, warning=-1),
        Weights(passing=65536, warning=1),
    ],
)
def test_missing_and_bad_weights_become_one(replica, weights):
    """Weights that DNS could not show are stored as 1 and 1."""
    register(replica, service=service(weights=weights))
    assert only(replica, SERVICES).weights == Weights(passing=1, warning=1)


@pytest.mark.parametrize(
    ("meta", "problem"),
    [
        ({"bad key!": "v"}, "Key contains invalid characters"),
        ({"consul-x": "v"}, "reserved for internal use"),
        ({"k" * 129: "v"}, "Key is too long"),
        ({"k": "v" * 513}, "Value is too long"),
        ({f"k{n}": "" for n in range(65)}, "more than 64 key/value pairs"),
        ({"": "v"}, "Key cannot be blank"),
    ],
)
def test_bad_metadata_of_a_service_is_refused_whole(replica, meta, problem):
    """The node of a refused registration is not registered either."""
    with pytest.raises(ConsultwistError, match=problem):
        register(replica, service=service(meta=meta))
    assert replica.rows(NODES) == []
    assert replica.index == 1


def test_a_mesh_gateway_may_set_its_reserved_key(replica):
    """One reserved key is a mesh gateway's own."""
    meta = {"consul-wan-federation": "1"}
    register(replica, service=service(kind="mesh-gateway", meta=meta))
    assert only(replica, SERVICES).meta == meta


def test_a_service_without_name_is_refused_as_in_go(replica):
    """The text is that of Consul's tables."""
    with pytest.raises(ConsultwistError) as error:
        register(replica, service=NodeService(port=1))
    assert str(error.value) == (
        "failed inserting service: failed inserting service: "
        "object missing primary index"
    )


def test_the_last_instance_takes_the_row_of_its_service_along(replica):
    """While instances remain the row moves; then the extinction row does."""
    register(replica, service=service("a"))
    register(replica, service=service("b"))
    deregister(replica, service_id="a")
    assert replica.index_rows()["service.web"] == 3
    assert "service_last_extinction" not in replica.index_rows()
    deregister(replica, service_id="b")
    assert "service.web" not in replica.index_rows()
    assert replica.index_rows()["service_last_extinction"] == 4


def test_deleting_a_service_moves_checks_even_without_any(replica):
    """The row of checks is set whether or not the instance had one."""
    register(replica, service=service())
    deregister(replica, service_id="web1")
    assert replica.index_rows()["checks"] == 2


def test_a_service_id_that_changes_its_name_leaves_the_old_row(replica):
    """The old name's row stays as it was."""
    register(replica, service=service(name="old"))
    register(replica, service=service(name="new"))
    rows = replica.index_rows()
    assert (rows["service.old"], rows["service.new"]) == (1, 2)


def test_service_ids_compare_without_case(replica):
    """An id in another case is the same instance."""
    register(replica, service=service("WEB"))
    register(replica, service=service("web"))
    assert len(replica.rows(SERVICES)) == 1
    deregister(replica, service_id="Web")
    assert replica.rows(SERVICES) == []


# --- checks --------------------------------------------------------------------------


def test_a_check_without_status_is_critical(replica):
    """Nobody has said that it is well."""
    register(replica, check=check(status=""))
    assert only(replica, CHECKS).status == "critical"


def test_an_unchanged_check_moves_the_row_of_checks_alone(replica):
    """Agents register checks again and again; only the table's row tells."""
    register(replica, service=service(), check=check())
    register(replica, check=check())
    assert indexes(only(replica, CHECKS)) == (1, 1)
    rows = replica.index_rows()
    assert (rows["checks"], rows["service.web"]) == (2, 1)


def test_a_changed_node_check_moves_every_service_of_the_node(replica):
    """What tells the health of a node tells that of its services."""
    register(replica, service=service("a", "one"))
    register(replica, service=service("b", "two"), check=check())
    register(replica, check=check(output="x"))
    rows = replica.index_rows()
    assert (rows["service.one"], rows["service.two"], rows["services"]) == (3, 3, 2)


def test_a_changed_service_check_moves_its_service_alone(replica):
    """Readers of other services sleep on."""
    register(replica, service=service("a", "one"))
    register(replica, service=service("b", "two"))
    register(replica, check=check(service_id="b"))
    rows = replica.index_rows()
    assert (rows["service.one"], rows["service.two"]) == (1, 3)


def test_a_check_takes_name_and_tags_from_its_service(replica):
    """What the check says itself about its service does not count."""
    register(
        replica,
        service=service(tags=["t"]),
        check=check(service_id="web1", service_name="x", service_tags=["y"]),
    )
    found = only(replica, CHECKS)
    assert (found.service_name, found.service_tags) == ("web", ["t"])


def test_a_check_of_an_unknown_service_is_refused(replica):
    """The text names what is missing and where."""
    with pytest.raises(ConsultwistError) as error:
        register(replica, check=check(service_id="nope"))
    assert str(error.value) == (
        'failed inserting check: Missing service registration on node "n1"'
    )
    assert replica.rows(NODES) == []


def test_a_check_of_another_node_is_refused(replica):
    """The node of a check is the request's, in the same case."""
    with pytest.raises(ConsultwistError, match="does not match node"):
        register(replica, check=check(node="N1"))


def test_a_check_without_name_is_refused_as_in_go(replica):
    """The text is that of Consul's tables."""
    with pytest.raises(ConsultwistError) as error:
        register(replica, "x", check=HealthCheck(node="x"))
    assert str(error.value) == (
        "failed inserting check: failed inserting check: "
        'object missing primary index on node "x"'
    )


@pytest.mark.parametrize("how", ["critical", "deleted", "service"])
def test_the_end_of_a_check_ends_its_sessions(replica, how):
    """A session goes with its check: critical, deleted, or gone with the service."""
    register(replica, service=service(), check=check(service_id="web1"))
    session = Session(id=SESSION, node="n1", checks=["c"])
    replica.apply(MessageType.SESSION, SessionRequest(op="create", session=session))
    if how == "critical":
        register(replica, check=check(service_id="web1", status="critical"))
    elif how == "deleted":
        deregister(replica, check_id="c")
    else:
        deregister(replica, service_id="web1")
    assert replica.rows("sessions") == []


def test_deleting_a_node_check_moves_all_services(replica):
    """The rows of every service of the node and of the table move."""
    register(replica, service=service(), check=check())
    deregister(replica, check_id="c")
    rows = replica.index_rows()
    assert (rows["services"], rows["service.web"], rows["checks"]) == (2, 2, 2)


# --- gateways ------------------------------------------------------------------------


def wildcard(txn):
    txn.put(
        GATEWAY_SERVICES,
        GatewayService(
            gateway=ServiceName(name="tgw"),
            service=ServiceName(name="*"),
            gateway_kind="terminating-gateway",
        ),
    )


def test_a_gateway_of_all_services_gets_those_that_come(replica):
    """A mapping is made from the wildcard, and goes with the last instance."""
    replica.change(wildcard)
    register(replica, service=service())
    mapped = [m for m in replica.rows(GATEWAY_SERVICES) if m.service.name == "web"]
    assert [(m.from_wildcard, m.create_index) for m in mapped] == [(True, 2)]
    deregister(replica, service_id="web1")
    assert [m.service.name for m in replica.rows(GATEWAY_SERVICES)] == ["*"]
    assert replica.index_rows()["gateway-services"] == 3


@pytest.mark.parametrize(
    "found",
    [
        service("consul", "consul"),
        service("g", "g", kind="mesh-gateway", connect=ServiceConnect()),
    ],
)
def test_a_gateway_of_all_services_leaves_out_servers_and_gateways(replica, found):
    """Only typical services are behind a gateway."""
    replica.change(wildcard)
    register(replica, service=found)
    assert [m.service.name for m in replica.rows(GATEWAY_SERVICES)] == ["*"]


# --- vectors and snapshots -----------------------------------------------------------


def _vectors():
    entries = json.loads((VECTORS / "commands.json").read_text())
    kinds = {"0": RegisterRequest, "1": DeregisterRequest, "6": CoordinateBatch}
    return [
        pytest.param(kinds[str(entry["type"])], entry, id=entry["id"])
        for entry in entries
        if str(entry["type"]) in kinds
    ]


@pytest.mark.parametrize(("kind", "entry"), _vectors())
def test_captured_commands_apply_and_encode_as_they_came(replica, kind, entry):
    """A captured command is read, applied, and written with the same bytes."""
    data = bytes.fromhex(entry["hex"])
    request = kind.unpack(data[1:])
    again = kind.unpack(request.pack())
    assert again == request
    assert len(request.pack()) == len(data) - 1
    node = getattr(request, "node", "")
    if isinstance(request, RegisterRequest) and request.skip_node_update:
        register(replica, node)
        if request.service is None:
            for each in [request.check, *(request.checks or ())]:
                if each is not None and each.service_id:
                    found = service(each.service_id, each.service_name)
                    register(replica, node, service=found)
    assert replica.apply_bytes(data, 1000) is None
    if kind is RegisterRequest:
        assert node in [row.node for row in replica.rows(NODES)]


def test_restored_rows_keep_their_own_indexes(replica):
    """A snapshot brings create and modify indexes back, and derives missing rows."""
    register(replica, service=service(), check=check())
    register(replica, service=service(port=1), check=check(output="x"))
    snapshot = replica.snapshot()
    restored = Replica(KVTable(), SessionTable(), CatalogTable(), CoordinateTable())
    restored.restore(snapshot)
    assert indexes(only(restored, NODES)) == (1, 1)
    assert indexes(only(restored, SERVICES)) == (1, 2)
    assert indexes(only(restored, CHECKS)) == (1, 2)
    assert restored.index_rows() == replica.index_rows()
    assert restored.snapshot() == snapshot


def test_a_snapshot_lists_what_is_on_a_node_behind_it(replica):
    """Nodes come by name, each with its own things, though names be alike."""
    for name in ("a-b", "a", "A0"):
        register(
            replica, name, service=service("s", f"svc-{name}"), check=check(node=name)
        )
    restored = Replica(KVTable(), SessionTable(), CatalogTable(), CoordinateTable())
    restored.restore(replica.snapshot())
    for table in (NODES, SERVICES, CHECKS):
        assert restored.rows(table) == replica.rows(table)
        assert len(restored.rows(table)) == 3


def test_equal_parts_of_rows_are_one_object(replica):
    """Ten thousand instances do not hold their names ten thousand times."""
    for name in ("a", "b"):
        register(
            replica,
            name,
            service=service("s" * 2, "we" + "b"),
            check=check(node=name, service_id="ss"),
        )
    one, other = replica.rows(SERVICES)
    assert one.service.service is other.service.service
    assert one.service.proxy is other.service.proxy
    assert one.service.weights is other.service.weights
    first, second = replica.rows(CHECKS)
    assert first.definition is second.definition
    assert first.service_name is one.service.service
