"""What the operations of a transaction do to nodes, services and checks."""

from typing import Protocol, TypeVar

from consultwist.api.catalog.rows import NODES, find_check, find_node, find_service
from consultwist.api.catalog.table import (
    delete_check,
    delete_node,
    delete_service,
    ensure_check,
    ensure_node,
    ensure_service,
)
from consultwist.errors import ConsultwistError
from consultwist.state.transaction import Transaction
from consultwist.structs.catalog import HealthCheck, Node, NodeService
from consultwist.structs.query import RaftIndex
from consultwist.structs.txn import TxnCheckOp, TxnNodeOp, TxnResult, TxnServiceOp
from consultwist.wire.quoting import quoted

Row = TypeVar("Row", bound=RaftIndex)
Row_co = TypeVar("Row_co", bound=RaftIndex, covariant=True)


def run_node(txn: Transaction, operation: TxnNodeOp) -> list[TxnResult]:
    """Run an operation on a node.

    Raises:
        ConsultwistError: where it fails; nothing it did counts then.
    """
    node = _NodeSubject(txn, operation)
    return [TxnResult(node=each) for each in _run(node, "Node", operation.verb)]


def run_service(txn: Transaction, operation: TxnServiceOp) -> list[TxnResult]:
    """Run an operation on a service instance; see `run_node`."""
    service = _ServiceSubject(txn, operation)
    found = _run(service, "Service", operation.verb)
    return [TxnResult(service=each) for each in found]


def run_check(txn: Transaction, operation: TxnCheckOp) -> list[TxnResult]:
    """Run an operation on a check; see `run_node`."""
    check = _CheckSubject(txn, operation)
    return [TxnResult(check=each) for each in _run(check, "Check", operation.verb)]


class _Subject(Protocol[Row_co]):
    """What an operation is about."""

    #: The modify index that the operation compares with.
    expected: int

    def __str__(self) -> str:
        """Name it, as error texts do."""

    def same_name(self) -> Row_co | None:
        """Return what there is under the name, for comparing indexes."""

    def find(self) -> Row_co | None:
        """Return what there is."""

    def ensure(self) -> None:
        """Store what the operation holds."""

    def delete(self) -> None:
        """Remove it, if it is there."""


def _run(subject: _Subject[Row], kind: str, verb: str) -> list[Row]:
    """Run a verb, the same way for every kind; return what it gives back."""
    if verb == "get":
        found = subject.find()
        if found is None:
            raise ConsultwistError(f"{subject} doesn't exist")
        return [found]
    if verb in ("set", "cas"):
        if verb == "cas":
            _compare(subject, "set", absent_is_zero=True)
        subject.ensure()
        stored = subject.find()
        return [] if stored is None else [stored]
    if verb in ("delete", "delete-cas"):
        if verb == "delete-cas":
            _compare(subject, "delete", absent_is_zero=False)
        subject.delete()
        return []
    raise ConsultwistError(f"unknown {kind} verb {quoted(verb)}")


def _compare(subject: _Subject[RaftIndex], what: str, *, absent_is_zero: bool) -> None:
    existing = subject.same_name()
    if existing is None:
        fits = absent_is_zero and subject.expected == 0
    else:
        fits = existing.modify_index == subject.expected
    if not fits:
        raise ConsultwistError(f"failed to {what} {subject}, index is stale")


class _NodeSubject:
    def __init__(self, txn: Transaction, operation: TxnNodeOp) -> None:
        self._txn = txn
        self._node = operation.node
        self.expected = operation.node.modify_index

    def __str__(self) -> str:
        return f"node {quoted(self._node.node)}"

    def same_name(self) -> Node | None:
        return find_node(self._txn, self._node.node)

    def find(self) -> Node | None:
        if not self._node.id:
            return self.same_name()
        found: list[Node] = self._txn.table(NODES).by("id", self._node.id.lower())
        return found[0] if found else None

    def ensure(self) -> None:
        ensure_node(self._txn, self._node)

    def delete(self) -> None:
        delete_node(self._txn, self._node.node)


class _ServiceSubject:
    def __init__(self, txn: Transaction, operation: TxnServiceOp) -> None:
        self._txn = txn
        self._node = operation.node
        self._service = operation.service
        self.expected = operation.service.modify_index

    def __str__(self) -> str:
        return f"service {quoted(self._service.id)} on node {quoted(self._node)}"

    def find(self) -> NodeService | None:
        return find_service(self._txn, self._node, self._service.id)

    same_name = find

    def ensure(self) -> None:
        ensure_service(self._txn, self._node, self._service)

    def delete(self) -> None:
        delete_service(self._txn, self._node, self._service.id)


class _CheckSubject:
    def __init__(self, txn: Transaction, operation: TxnCheckOp) -> None:
        self._txn = txn
        self._check = operation.check
        self.expected = operation.check.modify_index

    def __str__(self) -> str:
        check = self._check
        return f"check {quoted(check.check_id)} on node {quoted(check.node)}"

    def find(self) -> HealthCheck | None:
        return find_check(self._txn, self._check.node, self._check.check_id)

    same_name = find

    def ensure(self) -> None:
        ensure_check(self._txn, self._check)

    def delete(self) -> None:
        delete_check(self._txn, self._check.node, self._check.check_id)
