"""Random registrations and removals against a catalog that is nothing but dicts.

The model keeps what there is, and for every name the last index at which anything
about it changed; it is written from what readers may rely on, not from the tables.
"""

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from consultwist.api.catalog.rows import CHECKS, NODES, SERVICES
from consultwist.api.catalog.table import CatalogTable
from consultwist.api.coordinate.table import CoordinateTable
from consultwist.api.kv.table import KVTable
from consultwist.api.session.table import SessionTable
from consultwist.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    NodeService,
    RegisterRequest,
)
from consultwist.structs.message_type import MessageType
from consultwist.testing.state import Replica

NAMES = st.sampled_from(("a", "b", "c"))
SERVICE_NAMES = st.sampled_from(("web", "db"))
STATUSES = st.sampled_from(("passing", "critical"))

REGISTRATIONS = st.tuples(
    st.just("register"),
    NAMES,
    st.sampled_from(("1.1.1.1", "2.2.2.2")),
    st.none() | st.tuples(NAMES, SERVICE_NAMES, st.integers(0, 1)),
    st.none() | st.tuples(NAMES, st.none() | NAMES, STATUSES),
)
REMOVALS = st.tuples(
    st.sampled_from(("node", "service", "check")), NAMES, NAMES, st.none(), st.none()
)


@attrs.define
class Model:
    """What there is, and when each service name last changed."""

    nodes: dict[str, str] = attrs.Factory(dict)
    services: dict[tuple[str, str], tuple[str, int]] = attrs.Factory(dict)
    checks: dict[tuple[str, str], tuple[str, str, str]] = attrs.Factory(dict)
    changed: dict[str, int] = attrs.Factory(dict)
    extinct: int = 0

    def touch_node(self, node: str, index: int) -> None:
        for (on, _), (name, _) in self.services.items():
            if on == node:
                self.changed[name] = index

    def register(
        self, index: int, node: str, address: str, service: Any, check: Any
    ) -> bool:
        """Do what a registration does; False where it is refused."""
        if check and check[1] and (node, check[1]) not in self.services:
            new = service is not None and service[0] == check[1]
            if not new:
                return False
        if self.nodes.get(node) != address:
            self.nodes[node] = address
            self.touch_node(node, index)
        if service is not None:
            key, value = (node, service[0]), service[1:]
            if self.services.get(key) != value:
                self.services[key] = value
                self.changed[value[0]] = index
        if check is not None:
            self.put_check(index, node, check)
        return True

    def put_check(self, index: int, node: str, check: Any) -> None:
        of, status = check[1] or "", check[2]
        name = self.services[node, of][0] if of else ""
        if self.checks.get((node, check[0])) == (of, status, name):
            return
        self.checks[node, check[0]] = (of, status, name)
        if of:
            self.changed[name] = index
        else:
            self.touch_node(node, index)

    def remove_check(self, index: int, node: str, check_id: str) -> None:
        found = self.checks.pop((node, check_id), None)
        if found is None:
            return
        if found[0]:
            self.changed[found[2]] = index
        else:
            self.touch_node(node, index)

    def remove_service(self, index: int, node: str, service_id: str) -> None:
        if (node, service_id) not in self.services:
            return
        for on, check_id in sorted(self.checks):
            if on == node and self.checks[on, check_id][0] == service_id:
                self.remove_check(index, node, check_id)
        name, _ = self.services.pop((node, service_id))
        if any(other == name for other, _ in self.services.values()):
            self.changed[name] = index
        else:
            self.changed.pop(name, None)
            self.extinct = index

    def remove_node(self, index: int, node: str) -> None:
        if node not in self.nodes:
            return
        self.touch_node(node, index)
        for on, service_id in sorted(self.services):
            if on == node:
                self.remove_service(index, node, service_id)
        for on, check_id in sorted(self.checks):
            if on == node:
                del self.checks[on, check_id]
        del self.nodes[node]


def _apply(replica: Replica, operation: Any) -> bool:
    kind, node, second, service, check = operation
    if kind != "register":
        fields = {"service": {"service_id": second}, "check": {"check_id": second}}
        removal = DeregisterRequest(node=node, **fields.get(kind, {}))
        data = bytes([MessageType.DEREGISTER]) + removal.pack()
    else:
        request = RegisterRequest(
            node=node,
            address=second,
            service=service
            and NodeService(id=service[0], service=service[1], port=service[2]),
            check=check
            and HealthCheck(
                node=node,
                check_id=check[0],
                service_id=check[1] or "",
                status=check[2],
            ),
        )
        data = bytes([MessageType.REGISTER]) + request.pack()
    return not isinstance(replica.apply_bytes(data, replica.index + 1), Exception)


def _expect(model: Model, index: int, operation: Any) -> Any:
    kind, node, second, service, check = operation
    if kind == "register":
        return model.register(index, node, second, service, check)
    {
        "node": lambda: model.remove_node(index, node),
        "service": lambda: model.remove_service(index, node, second),
        "check": lambda: model.remove_check(index, node, second),
    }[kind]()
    return True


def _compare(replica: Replica, model: Model) -> None:
    assert {n.node: n.address for n in replica.rows(NODES)} == model.nodes
    assert {
        (row.node, row.service.id): (row.service.service, row.service.port)
        for row in replica.rows(SERVICES)
    } == model.services
    assert {
        (c.node, c.check_id): (c.service_id, c.status, c.service_name)
        for c in replica.rows(CHECKS)
    } == model.checks
    rows = replica.index_rows()
    changed = {
        name.removeprefix("service."): value
        for name, value in rows.items()
        if name.startswith("service.")
    }
    assert changed == model.changed
    assert rows.get("service_last_extinction", 0) == model.extinct


@settings(max_examples=150, deadline=None)
@given(st.lists(REGISTRATIONS | REMOVALS, max_size=25))
def test_the_catalog_holds_what_a_plain_model_holds(operations):
    """Rows and the index of every service are the model's, after every operation."""
    replica = Replica(KVTable(), SessionTable(), CatalogTable(), CoordinateTable())
    model = Model()
    for operation in operations:
        accepted = _apply(replica, operation)
        assert accepted == _expect(model, replica.index, operation)
        _compare(replica, model)


@settings(max_examples=50, deadline=None)
@given(st.lists(REGISTRATIONS | REMOVALS, max_size=20))
def test_a_snapshot_holds_the_whole_catalog(operations):
    """What was random restores to the same rows and the same bytes."""
    tables = [KVTable(), SessionTable(), CatalogTable(), CoordinateTable()]
    replica, restored = Replica(*tables), Replica(*tables)
    for operation in operations:
        _apply(replica, operation)
    restored.restore(replica.snapshot())
    assert restored.snapshot() == replica.snapshot()
    assert restored.index_rows() == replica.index_rows()
