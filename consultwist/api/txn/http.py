"""The path of transactions: ``/v1/txn``."""

from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from consultwist.api.txn.body import TxnOperation
from consultwist.errors import PayloadTooLarge
from consultwist.http.body import decode_body_list
from consultwist.http.messages import JSON, MaybeLater, Request
from consultwist.http.params import query_options, write_options
from consultwist.http.responses import index_headers, then
from consultwist.http.router import Route, collect_routes, route
from consultwist.interfaces import IAgent, IHTTPEndpoint
from consultwist.structs.txn import (
    TxnOp,
    TxnReadRequest,
    TxnReadResponse,
    TxnRequest,
    TxnResponse,
)

#: Operations of one transaction (Consul before 1.14: 64).
OPERATIONS_MAX: Final = 64

_CONFLICT: Final = 409


class TxnEndpoints:
    """The path of transactions, for one agent."""

    def __init__(self, agent: IAgent) -> None:
        self.agent = agent

    @route("PUT", "/v1/txn", body_limit="txn_max_req_len kv_max_value_size")
    def run(self, request: Request) -> MaybeLater:
        """Run operations, all or none; without writes, at any server's state."""
        operations = self._operations(request)
        if any(operation.writes for operation in operations):
            order = TxnRequest(ops=operations, **write_options(request, self.agent))
            return then(self.agent.rpc("Txn.Apply", order), _show)
        wanted = TxnReadRequest(ops=operations, **query_options(request, self.agent))
        return then(self.agent.rpc("Txn.Read", wanted), _show_read)

    def _operations(self, request: Request) -> list[TxnOp]:
        config = self.agent.config
        given = decode_body_list(
            request, TxnOperation, "Failed to parse body", go_type="api.TxnOps"
        )
        if len(given) > OPERATIONS_MAX:
            raise PayloadTooLarge(
                "Transaction contains too many operations "
                f"({len(given)} > {OPERATIONS_MAX})"
            )
        operations = (
            operation.wanted(config.datacenter, config.kv_max_value_size)
            for operation in given
        )
        return [operation for operation in operations if operation is not None]


@implementer(IPlugin, IHTTPEndpoint)
class TxnRoutes:
    """The path of transactions."""

    name = "txn"

    def routes(self, agent: IAgent) -> list[Route]:
        """Return the routes, bound to an agent."""
        return collect_routes(TxnEndpoints(agent))


def _show(reply: TxnResponse) -> JSON:
    return JSON(reply, status=_CONFLICT if reply.errors else 200)


def _show_read(reply: TxnReadResponse) -> JSON:
    # The answer tells who knows a leader, but no index: it does not block.
    headers = index_headers(reply)[1:]
    return JSON(reply, status=_CONFLICT if reply.errors else 200, headers=headers)
