"""Operations as clients write them, and what they mean to the servers.

The classes are named as in Consul's API package, because error texts name them.
"""

from typing import Annotated

from consultwist.errors import BadRequest, PayloadTooLarge
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    HealthCheck,
    HealthCheckDefinition,
    Node,
    NodeService,
    ServiceAddress,
    ServiceConnect,
    Weights,
)
from consultwist.structs.kv import DirEntry
from consultwist.structs.txn import TxnCheckOp, TxnKVOp, TxnNodeOp, TxnOp, TxnServiceOp
from consultwist.wire.quoting import quoted
from consultwist.wire.struct import Field, Nanoseconds, Struct


class KVTxnOp(Struct):
    """An operation on a key."""

    verb: str = ""
    key: str = ""
    value: bytes | None = None
    flags: int = 0
    index: int = 0
    session: str = ""
    namespace: str = ""


class NodeTxnOp(Struct):
    """An operation on a node."""

    verb: str = ""
    node: Node = Node()


class AgentService(Struct):
    """A service instance."""

    kind: str = ""
    id: str = ""
    service: str = ""
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    port: int = 0
    address: str = ""
    tagged_addresses: dict[str, ServiceAddress] | None = None
    weights: Weights = Weights()
    enable_tag_override: bool = False
    create_index: int = 0
    modify_index: int = 0
    content_hash: str = ""
    proxy: ConnectProxyConfig | None = None
    connect: ServiceConnect | None = None
    namespace: str = ""


class ServiceTxnOp(Struct):
    """An operation on a service instance."""

    verb: str = ""
    node: str = ""
    service: AgentService = AgentService()


class CheckDefinition(Struct):
    """How a check runs; the last three fields are an old spelling."""

    http: str = ""
    header: dict[str, list[str]] | None = None
    method: str = ""
    body: str = ""
    tls_skip_verify: bool = False
    tcp: str = ""
    interval: Annotated[Nanoseconds, Field(text=True)] = 0
    timeout: Annotated[Nanoseconds, Field(text=True)] = 0
    deregister_critical_service_after: Annotated[Nanoseconds, Field(text=True)] = 0
    interval_duration: Nanoseconds = 0
    timeout_duration: Nanoseconds = 0
    deregister_critical_service_after_duration: Nanoseconds = 0


class Check(Struct):
    """A check."""

    node: str = ""
    check_id: str = ""
    name: str = ""
    status: str = ""
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: list[str] | None = None
    type: str = ""
    namespace: str = ""
    definition: CheckDefinition = CheckDefinition()
    create_index: int = 0
    modify_index: int = 0


class CheckTxnOp(Struct):
    """An operation on a check."""

    verb: str = ""
    check: Check = Check()


class TxnOperation(Struct):
    """One operation; the first part that is set counts."""

    kv: Annotated[KVTxnOp | None, Field(name="KV")] = None
    node: NodeTxnOp | None = None
    service: ServiceTxnOp | None = None
    check: CheckTxnOp | None = None

    def wanted(self, datacenter: str, value_max: int) -> TxnOp | None:
        """Return the operation for the servers; None for an empty one.

        Args:
            datacenter: of nodes that name none.
            value_max: the longest value of a key.

        Raises:
            BadRequest: where a number is negative.
            PayloadTooLarge: where a value is longer.
        """
        if self.kv is not None:
            return TxnOp(kv=_kv(self.kv, value_max))
        if self.node is not None:
            return TxnOp(node=_node(self.node, datacenter))
        if self.service is not None:
            return TxnOp(service=_service(self.service))
        if self.check is not None:
            return TxnOp(check=_check(self.check))
        return None


def _kv(operation: KVTxnOp, value_max: int) -> TxnKVOp:
    size = len(operation.value or b"")
    if size > value_max:
        raise PayloadTooLarge(
            f"Value for key {quoted(operation.key)} is too large "
            f"({size} > {value_max} bytes)"
        )
    entry = DirEntry(
        key=operation.key,
        value=operation.value or None,
        flags=_unsigned(operation.flags, "KVTxnOp.KV.Flags"),
        session=operation.session,
        modify_index=_unsigned(operation.index, "KVTxnOp.KV.Index"),
    )
    return TxnKVOp(verb=operation.verb, dir_ent=entry)


def _node(operation: NodeTxnOp, datacenter: str) -> TxnNodeOp:
    given = operation.node
    node = Node(
        id=given.id,
        node=given.node,
        address=given.address,
        datacenter=given.datacenter or datacenter,
        tagged_addresses=given.tagged_addresses,
        meta=given.meta,
        modify_index=_unsigned(given.modify_index, "Node.Node.Node.ModifyIndex"),
    )
    return TxnNodeOp(verb=operation.verb, node=node)


def _service(operation: ServiceTxnOp) -> TxnServiceOp:
    """Return an operation for the servers; what concerns the mesh is left out."""
    given = operation.service
    service = NodeService(
        id=given.id,
        service=given.service,
        tags=given.tags,
        address=given.address,
        meta=given.meta,
        port=given.port,
        weights=given.weights,
        enable_tag_override=given.enable_tag_override,
        modify_index=_unsigned(
            given.modify_index, "AgentService.Service.Service.ModifyIndex"
        ),
    )
    return TxnServiceOp(verb=operation.verb, node=operation.node, service=service)


def _check(operation: CheckTxnOp) -> TxnCheckOp:
    given = operation.check
    definition = given.definition
    check = HealthCheck(
        node=given.node,
        check_id=given.check_id,
        name=given.name,
        status=given.status,
        notes=given.notes,
        output=given.output,
        service_id=given.service_id,
        service_name=given.service_name,
        service_tags=given.service_tags,
        definition=HealthCheckDefinition(
            http=definition.http,
            tls_skip_verify=definition.tls_skip_verify,
            header=definition.header,
            method=definition.method,
            body=definition.body,
            tcp=definition.tcp,
            interval=definition.interval or definition.interval_duration,
            timeout=definition.timeout or definition.timeout_duration,
            deregister_critical_service_after=(
                definition.deregister_critical_service_after
                or definition.deregister_critical_service_after_duration
            ),
        ),
        modify_index=_unsigned(
            given.modify_index, "HealthCheck.Check.Check.ModifyIndex"
        ),
    )
    return TxnCheckOp(verb=operation.verb, check=check)


def _unsigned(number: int, field: str) -> int:
    if number < 0:
        raise BadRequest(
            f"Failed to parse body: json: cannot unmarshal number {number} into Go "
            f"struct field {field} of type uint64"
        )
    return number
