"""Finished JSON of rows, put together to answers.

A change of one check makes a new answer of a hundred instances, of which ninety-nine
are as before. Rows are never changed, so the JSON of each is kept as long as the row is
the same object, and only what is new is written again.
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from consultwist.api.catalog.shapes import listed
from consultwist.structs.catalog import (
    CheckServiceNode,
    HealthCheck,
    Node,
    NodeService,
)
from consultwist.wire import json

Row = TypeVar("Row")

#: Rows of one kind whose JSON is kept: at some 400 bytes each, a few megabytes.
ROWS_MAX: Final = 8192


class Fragments(Generic[Row]):
    """The JSON of the rows of one kind that were shown lately.

    Args:
        show: makes the JSON of a row.
        rows_max: how many rows are kept; the least recently used half goes at once.
    """

    def __init__(self, show: Callable[[Row], bytes], rows_max: int = ROWS_MAX) -> None:
        self._show = show
        self._half_max = max(1, rows_max // 2)
        # By the row's identity; it is kept along, so that the number stays its own.
        self._recent: dict[int, tuple[Row, bytes]] = {}
        self._former: dict[int, tuple[Row, bytes]] = {}

    def __len__(self) -> int:
        """Return how many rows are kept."""
        return len(self._recent) + len(self._former)

    def of(self, row: Row) -> bytes:
        """Return the JSON of a row."""
        key = id(row)
        kept = self._recent.get(key)
        if kept is not None:
            return kept[1]
        kept = self._former.pop(key, None)
        if kept is None:
            kept = (row, self._show(row))
        if len(self._recent) >= self._half_max:
            self._former, self._recent = self._recent, {}
        self._recent[key] = kept
        return kept[1]


def node_json(node: Node) -> bytes:
    """Return the JSON of a node."""
    return json.encode_plain(node.to_plain())


def service_json(service: NodeService) -> bytes:
    """Return the JSON of an instance."""
    return json.encode_plain(listed(service.to_plain(), "Tags"))


def check_json(check: HealthCheck) -> bytes:
    """Return the JSON of a check."""
    return json.encode_plain(listed(check.to_plain(), "ServiceTags"))


class HealthJSON:
    """The JSON of answers about health, from kept parts."""

    def __init__(self) -> None:
        self._nodes = Fragments(node_json)
        self._services = Fragments(service_json)
        self._checks = Fragments(check_json)

    def checks(self, found: Iterable[HealthCheck]) -> bytes:
        """Return the JSON of a list of checks."""
        return b"[%b]" % b",".join(map(self._checks.of, found))

    def instances(self, found: Iterable[CheckServiceNode]) -> bytes:
        """Return the JSON of a list of instances with their nodes and checks."""
        return b"[%b]" % b",".join(map(self._instance, found))

    def _instance(self, instance: CheckServiceNode) -> bytes:
        node, service = instance.node, instance.service
        return b'{"Node":%b,"Service":%b,"Checks":%b}' % (
            b"null" if node is None else self._nodes.of(node),
            b"null" if service is None else self._services.of(service),
            self.checks(instance.checks or ()),
        )
