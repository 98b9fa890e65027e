"""The catalog's RPC methods: indexes, kept answers, blocking, narrowing, refusals."""

import attrs
import msgspec.structs
import pytest
from twisted.internet.defer import Deferred

from consultwist.api.catalog.rows import GATEWAY_SERVICES
from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.errors import ConsultwistError, NoPathToDatacenter, PermissionDenied
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    GatewayService,
    HealthCheck,
    HealthCheckDefinition,
    NodeService,
    NodeSpecificRequest,
    RegisterRequest,
    ServiceConnect,
    ServiceName,
    ServiceSpecificRequest,
)
from consultwist.structs.coordinate import Coord, Coordinate, CoordinateBatch
from consultwist.structs.message_type import MessageType
from consultwist.structs.query import (
    DatacentersRequest,
    DCSpecificRequest,
    QuerySource,
)
from consultwist.testing.deferred import no_result_of, result_of
from consultwist.testing.registrations import deregister, register, service
from consultwist.testing.state import LocalServer, Replica

ID_A = "40e4a748-2192-161a-0510-9bf59fe950b5"
ID_B = "40e4a748-2192-161a-0510-9bf59fe950b6"


@pytest.fixture
def server():
    tables = KVTable(), SessionTable(), CatalogTable(), CoordinateTable()
    return LocalServer(Replica(*tables), Catalog())


def proxy(service_id="p", destination="web", **fields):
    config = ConnectProxyConfig(destination_service_name=destination)
    return service(
        service_id, service_id, kind="connect-proxy", port=1, proxy=config, **fields
    )


def ask(server, method, kind=ServiceSpecificRequest, **fields):
    return server.rpc(f"Catalog.{method}", kind(datacenter="dc1", **fields))


def instances(server, **fields):
    fields.setdefault("service_name", "web")
    return ask(server, "ServiceNodes", **fields)


def ids(reply):
    return [each.service_id for each in reply.service_nodes]


# --- registering ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"node": ""}, "Must provide node"),
        ({"address": ""}, "Must provide address if SkipNodeUpdate is not set"),
        ({"id": "zzz"}, "Bad node ID: uuid string is wrong length"),
        ({"id": "z" * 36}, "Bad node ID: uuid is improperly formatted"),
        ({"service": NodeService(id="x")}, "Must provide service name with ID"),
        ({"service": service(address="0.0.0.0")}, "Invalid service address"),
        (
            {"service": service(kind="mesh-gateway")},
            "1 error occurred:\n\t* Port must be non-zero for a mesh-gateway\n\n",
        ),
    ],
)
def test_a_registration_that_cannot_be_is_not_proposed(server, fields, text):
    """The text is Consul's, and nothing reaches the log."""
    with pytest.raises(ConsultwistError) as error:
        register(server, **fields)
    assert str(error.value) == text
    assert server.commands == []


def test_names_stand_in_for_missing_ids(server):
    """A service's id is its name, a check's too; its node is the request's."""
    register(server, service=NodeService(service="web"), check=HealthCheck(name="c"))
    ((kind, request),) = server.commands
    assert kind == MessageType.REGISTER
    assert request.service.id == "web"
    assert request.check is None
    assert [(c.node, c.check_id) for c in request.checks] == [("n1", "c")]


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ({}, ""),
        ({"http": "http://x", "interval": 1}, "http"),
        ({"http": "http://x"}, ""),
        ({"tcp": "x:1", "interval": 1}, "tcp"),
        ({"grpc": "x:1", "interval": 1}, "grpc"),
        ({"ttl": 1}, "ttl"),
        ({"alias_service": "x"}, "alias"),
        ({"script_args": ["x"]}, "script"),
        (
            {"script_args": ["x"], "docker_container_id": "x", "interval": 1},
            "docker",
        ),
    ],
)
def test_the_type_of_a_check_follows_from_its_definition(server, definition, kind):
    """A check that is registered without a type gets that of what it would run."""
    check = HealthCheck(name="c", definition=HealthCheckDefinition(**definition))
    register(server, check=check)
    assert server.commands[0][1].checks[0].type == kind


def test_what_the_state_refuses_fails_the_call(server):
    """The refusal of the state machine is the answer."""
    with pytest.raises(ConsultwistError, match="Missing service registration"):
        register(server, check=HealthCheck(name="c", service_id="nope"))


def test_removal_needs_a_node(server):
    """Nothing is removed by an empty name."""
    with pytest.raises(ConsultwistError, match="Must provide node"):
        deregister(server, "")


def test_another_datacenter_is_not_here(server):
    """A request for an unknown datacenter is refused."""
    request = RegisterRequest(datacenter="dc9", node="n", address="1.1.1.1")
    with pytest.raises(NoPathToDatacenter):
        server.rpc("Catalog.Register", request)


def test_datacenters_are_this_one(server):
    """A server that knows no others lists its own."""
    assert server.rpc("Catalog.ListDatacenters", DatacentersRequest()) == ["dc1"]


@attrs.define
class OnlyServices:
    """Allows writing some services and nothing else."""

    names: tuple[str, ...]

    def allows(self, resource, access, name):
        return resource == "service" and name in self.names


def test_a_service_owner_registers_on_a_known_node(server):
    """The node is asked for only where it would change."""
    register(server)
    server.authorizer = OnlyServices(("web",))
    register(server, service=service())
    with pytest.raises(PermissionDenied):
        register(server, address="9.9.9.9", service=service())
    with pytest.raises(PermissionDenied):
        register(server, service=service("db", "db"))
    with pytest.raises(PermissionDenied):
        register(server, check=HealthCheck(name="of the node"))


def test_an_id_is_not_taken_from_another_service(server):
    """Who may write the new name must also be allowed to write the former one."""
    register(server, service=service(name="db"))
    server.authorizer = OnlyServices(("web",))
    with pytest.raises(PermissionDenied):
        register(server, service=service(name="web"))


def test_a_proxy_needs_what_it_stands_for(server):
    """A proxy takes traffic for its destination."""
    register(server)
    server.authorizer = OnlyServices(("p",))
    with pytest.raises(PermissionDenied):
        register(server, service=proxy())


def test_a_check_of_a_service_needs_that_service(server):
    """A check that comes alone is asked for by the service on the node."""
    register(server, service=service())
    check = HealthCheck(name="c", service_id="web1")
    server.authorizer = OnlyServices(())
    with pytest.raises(PermissionDenied):
        register(server, check=check)
    server.authorizer = OnlyServices(("web",))
    register(server, check=check)


def test_removal_asks_for_node_or_service(server):
    """A service's owner removes the service, not the node."""
    register(server, service=service())
    server.authorizer = OnlyServices(("web",))
    with pytest.raises(PermissionDenied):
        deregister(server)
    deregister(server, service_id="web1")
    assert server.replica.rows("services") == []


# --- instances -----------------------------------------------------------------------


def test_instances_show_their_node(server):
    """A flat instance holds node and service; nothing there is null."""
    register(server, id=ID_A, node_meta={"rack": "1"}, service=service(port=80))
    (found,) = instances(server).service_nodes
    assert (found.id, found.node, found.address) == (ID_A, "n1", "10.0.0.1")
    assert (found.service_id, found.service_port) == ("web1", 80)
    assert (found.service_tags, found.service_meta) == ([], {})
    assert found.node_meta == {"rack": "1"}


def test_the_index_of_a_service_is_its_own(server):
    """Other services move on without it."""
    register(server, service=service())
    register(server, service=service("d", "db"))
    assert instances(server).index == 1
    assert instances(server, service_name="WEB").index == 1


def test_the_index_of_an_absent_service(server):
    """The catalog's own at first, that of the last extinction later."""
    assert instances(server, service_name="nope").index == 1
    register(server)
    register(server, "n2")
    assert instances(server, service_name="nope").index == 2
    register(server, service=service())
    deregister(server, service_id="web1")
    register(server, "n3")
    assert instances(server, service_name="nope").index == 4


def test_an_answer_is_the_same_object_until_it_changes(server):
    """Who keeps finished bytes by the payload may keep them."""
    register(server, service=service())
    first = instances(server).service_nodes
    register(server, service=service("d", "db"))
    assert instances(server).service_nodes is first
    register(server, address="10.0.0.2", service=service())
    assert instances(server).service_nodes is not first
    assert instances(server).service_nodes[0].address == "10.0.0.2"


def test_who_asks_does_not_part_equal_answers(server):
    """Without sorting by distance the same object answers all."""
    register(server, service=service())
    mine = instances(server, source=QuerySource(datacenter="dc1", ip="1.1.1.1"))
    yours = instances(server, source=QuerySource(datacenter="dc1", ip="2.2.2.2"))
    assert mine.service_nodes is yours.service_nodes


def test_an_instance_that_changes_its_name_leaves_the_old_service(server):
    """Kept answers about the old name go, though its index stays."""
    register(server, service=service(name="old"))
    assert ids(instances(server, service_name="old")) == ["web1"]
    register(server, service=service(name="new"))
    assert ids(instances(server, service_name="old")) == []


def test_tags_must_all_be_there_in_any_case(server):
    """Old clients name one tag, newer ones several."""
    register(server, service=service("a", tags=["v1", "Primary"]))
    register(server, service=service("b", tags=["v1"]))
    register(server, service=service("c"))
    wanted = {"tag_filter": True}
    assert ids(instances(server, service_tags=["V1"], **wanted)) == ["a", "b"]
    assert ids(instances(server, service_tags=["v1", "primary"], **wanted)) == ["a"]
    assert ids(instances(server, service_tag="v1", **wanted)) == ["a", "b"]
    assert ids(instances(server, service_tags=["x"], **wanted)) == []


def test_instances_are_narrowed_by_metadata_and_filter(server):
    """Node metadata is compared whole; a filter sees the flat instance."""
    register(server, "n1", node_meta={"rack": "1"}, service=service("a", port=1))
    register(server, "n2", node_meta={"rack": "2"}, service=service("b", port=2))
    assert ids(instances(server, node_meta_filters={"rack": "2"})) == ["b"]
    assert ids(instances(server, node_meta_filters={"rack": "2", "x": ""})) == []
    assert ids(instances(server, filter="ServicePort == 1")) == ["a"]


def test_a_bad_filter_is_refused(server):
    """The text is that of the filter language."""
    with pytest.raises(ConsultwistError, match="Failed to create boolean expression"):
        instances(server, filter="Nope == 1")


def test_a_service_name_is_needed(server):
    """Without a name and an address there is nothing to look for."""
    with pytest.raises(ConsultwistError, match="Must provide service name"):
        instances(server, service_name="")


def test_instances_are_found_by_address(server):
    """The service's own address counts, else its node's."""
    register(server, service=service("a", address="10.9.9.9"))
    register(server, service=service("b"))
    by = {"service_name": ""}
    assert ids(instances(server, service_address="10.9.9.9", **by)) == ["a"]
    assert ids(instances(server, service_address="10.0.0.1", **by)) == ["b"]


def place(server, **seconds):
    """Put nodes on a line, some seconds from its beginning."""
    batch = [
        Coordinate(node=node, coord=Coord(vec=[at] + [0.0] * 7))
        for node, at in seconds.items()
    ]
    server.replica.apply(
        MessageType.COORDINATE_BATCH_UPDATE, CoordinateBatch(coordinates=batch)
    )


def test_instances_are_sorted_by_distance_on_request(server):
    """The nearest comes first, nodes without a coordinate last."""
    for name in ("a", "b", "c", "d"):
        register(server, name, service=service(name))
    place(server, a=3.0, b=1.0, d=0.5)
    near = QuerySource(datacenter="dc1", node="D")
    assert ids(instances(server, source=near)) == ["d", "b", "a", "c"]
    place(server, b=9.0)
    assert ids(instances(server, source=near)) == ["d", "a", "b", "c"]
    nowhere = QuerySource(datacenter="dc1", node="c")
    assert ids(instances(server, source=nowhere)) == ["a", "b", "c", "d"]


# --- the mesh ------------------------------------------------------------------------


def test_a_service_is_reached_by_proxies_and_native_instances(server):
    """Its plain instances are not in the mesh."""
    register(server, service=service("plain"))
    register(server, service=service("native", connect=ServiceConnect(native=True)))
    register(server, service=proxy("p1", "Web"))
    register(server, service=proxy("p2", "db"))
    assert ids(instances(server, connect=True)) == ["native", "p1"]


def test_the_index_of_the_mesh_is_that_of_the_proxies(server):
    """Every service that is in the answer counts with its own row."""
    register(server, service=proxy("p1"))
    register(server, service=proxy("p2"))
    register(server, service=service("d", "db"))
    assert instances(server, connect=True).index == 2


@pytest.mark.parametrize("how", ["first", "second", "moved", "gone"])
def test_a_reader_of_the_mesh_wakes(server, how):
    """A proxy that comes, changes its destination or goes wakes the reader."""
    register(server, service=None if how == "first" else proxy("p1"))
    waiting = instances(server, connect=True, min_query_index=1)
    assert isinstance(waiting, Deferred)
    no_result_of(waiting)
    if how == "moved":
        register(server, service=proxy("p1", "db"))
    elif how == "gone":
        deregister(server, service_id="p1")
    else:
        register(server, service=proxy("p2"))
    expected = {"first": ["p2"], "second": ["p1", "p2"], "moved": [], "gone": []}
    assert ids(result_of(waiting)) == expected[how]


def map_gateway(server, kind, gateway="gw", name="web", **fields):
    mapping = GatewayService(
        gateway=ServiceName(name=gateway),
        service=ServiceName(name=name),
        gateway_kind=kind,
        **fields,
    )
    index = server.replica.index + 1
    mapping = msgspec.structs.replace(mapping, create_index=index, modify_index=index)

    def put(txn):
        txn.put(GATEWAY_SERVICES, mapping)
        txn.max_index(GATEWAY_SERVICES)

    server.replica.change(put)


def test_terminating_gateways_stand_for_services_in_the_mesh(server):
    """A gateway's instances come behind the proxies, with the mapping's index."""
    register(server, service=proxy("p1"))
    register(server, service=service("g1", "gw", kind="terminating-gateway", port=1))
    waiting = instances(server, connect=True, min_query_index=2)
    map_gateway(server, "terminating-gateway")
    assert ids(result_of(waiting)) == ["p1", "g1"]
    assert instances(server, connect=True).index == 3


def test_the_services_of_a_gateway(server):
    """The wildcard itself is not listed; nothing is null in 1.8."""
    assert ask(server, "GatewayServices", service_name="gw").services is None
    map_gateway(server, "ingress-gateway", name="*")
    map_gateway(server, "ingress-gateway", name="web", port=8080)
    reply = ask(server, "GatewayServices", service_name="GW")
    assert [each.service.name for each in reply.services] == ["web"]
    assert reply.index == 2
    reply = ask(server, "GatewayServices", service_name="gw", filter="Port == 1")
    assert reply.services is None


# --- nodes and names -----------------------------------------------------------------


def nodes(server, **fields):
    reply = ask(server, "ListNodes", DCSpecificRequest, **fields)
    return [node.node for node in reply.nodes]


def test_nodes_are_listed_narrowed_and_sorted(server):
    """By name, or by distance; metadata and filters leave out."""
    register(server, "b", node_meta={"rack": "1"})
    register(server, "a")
    place(server, a=9.0, b=1.0)
    assert nodes(server) == ["a", "b"]
    assert nodes(server, node_meta_filters={"rack": "1"}) == ["b"]
    assert nodes(server, filter="Node == a") == ["a"]
    near = QuerySource(datacenter="dc1", node="b")
    assert nodes(server, source=near) == ["b", "a"]
    elsewhere = QuerySource(datacenter="dc2", node="b")
    assert nodes(server, source=elsewhere) == ["a", "b"]


def test_the_list_of_nodes_is_kept_while_services_change(server):
    """Only the row of nodes counts."""
    register(server)
    first = ask(server, "ListNodes", DCSpecificRequest)
    register(server, service=service())
    again = ask(server, "ListNodes", DCSpecificRequest)
    assert again.nodes is first.nodes
    assert again.index == 1


def services(server, **fields):
    return ask(server, "ListServices", DCSpecificRequest, **fields).services


def test_services_are_listed_with_the_tags_of_all_instances(server):
    """Each tag once; a service without tags has an empty list."""
    register(server, service=service("a", tags=["v1", "x"]))
    register(server, "n2", service=service("b", tags=["v2", "x"]))
    register(server, service=service("d", "db"), node_meta={"rack": "1"})
    assert services(server) == {"db": [], "web": ["v1", "x", "v2"]}
    assert services(server, node_meta_filters={"rack": "1"}) == {
        "db": [],
        "web": ["v1", "x"],
    }
    names = ask(server, "ServiceList", DCSpecificRequest).services
    assert [each.name for each in names] == ["db", "web"]


def test_a_list_by_node_metadata_follows_the_nodes(server):
    """The index is the higher of nodes and services, and so it is kept."""
    register(server, node_meta={"rack": "1"}, service=service())
    wanted = {"node_meta_filters": {"rack": "1"}}
    assert list(services(server, **wanted)) == ["web"]
    register(server, node_meta={"rack": "2"})
    assert list(services(server, **wanted)) == []
    reply = ask(server, "ListServices", DCSpecificRequest, **wanted)
    assert reply.index == 2


def on_node(server, node="n1", **fields):
    return ask(server, "NodeServices", NodeSpecificRequest, node=node, **fields)


@pytest.mark.parametrize("name", ["n1", "N1", ID_A, ID_A.upper(), ID_A[:8], ID_A[:7]])
def test_a_node_is_found_by_name_or_id(server, name):
    """In any case, and by the beginning of the id."""
    register(server, id=ID_A, service=service())
    found = on_node(server, name)
    assert found.node_services.node.node == "n1"
    assert list(found.node_services.services) == ["web1"]


@pytest.mark.parametrize("name", ["nope", "4", "40e4", "beef"])
def test_an_unknown_or_ambiguous_node_is_none(server, name):
    """The index is then the least there is."""
    register(server, "n1", id=ID_A)
    register(server, "n2", id=ID_B)
    found = on_node(server, name)
    assert (found.node_services, found.index) == (None, 1)
    listed = ask(server, "NodeServiceList", NodeSpecificRequest, node=name)
    assert listed.node_services.node is None
    assert listed.node_services.services is None


def test_a_node_needs_a_name(server):
    """An empty name is no node."""
    for method in ("NodeServices", "NodeServiceList"):
        with pytest.raises(ConsultwistError, match="Must provide node"):
            ask(server, method, NodeSpecificRequest)


def test_the_services_of_a_node_as_map_and_list(server):
    """The two methods do not mix up their kept answers."""
    register(server, service=service("a"))
    register(server, service=service("b", port=1))
    assert list(on_node(server).node_services.services) == ["a", "b"]
    listed = ask(server, "NodeServiceList", NodeSpecificRequest, node="n1")
    assert [each.id for each in listed.node_services.services] == ["a", "b"]
    assert list(on_node(server, filter="Port == 1").node_services.services) == ["b"]


def test_a_node_stays_one_object_while_others_change(server):
    """The index moves with all services, the record with its own alone."""
    register(server, service=service())
    first = on_node(server)
    register(server, "n2", service=service("b"))
    second = on_node(server)
    assert second.node_services is first.node_services
    assert (first.index, second.index) == (1, 2)
    register(server, service=service(port=1))
    assert on_node(server).node_services.services["web1"].port == 1
    deregister(server, service_id="web1")
    assert on_node(server).node_services.services == {}


def test_a_reader_of_an_unknown_node_wakes_when_it_comes(server):
    """By its name, and by the beginning of its id."""
    by_name = on_node(server, min_query_index=1)
    by_id = on_node(server, "40e4", min_query_index=1)
    no_result_of(by_name)
    register(server, "other")
    register(server, id=ID_A)
    assert result_of(by_name).node_services.node.id == ID_A
    assert result_of(by_id).node_services.node.id == ID_A


def test_a_blocked_reader_of_a_service_sleeps_while_others_change(server):
    """It wakes with its own service, and at its time with what there is."""
    register(server, service=service())
    waiting = instances(server, min_query_index=1, max_query_time=10**10)
    register(server, service=service("d", "db"))
    no_result_of(waiting)
    register(server, service=service(port=1))
    assert result_of(waiting).index == 3
    waiting = instances(server, min_query_index=3, max_query_time=10**10)
    server.reactor.advance(11)
    assert result_of(waiting).index == 3
