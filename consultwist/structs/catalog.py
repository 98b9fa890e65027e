"""Nodes, services and checks as the catalog holds them, and requests about them."""

from typing import Annotated, Any, ClassVar

from consultwist.structs.check_extensions import CheckExtensions
from consultwist.structs.query import (
    QueryMeta,
    QueryOptions,
    QuerySource,
    RaftIndex,
    WriteRequest,
)
from consultwist.wire.struct import Field, Nanoseconds, Struct


class ServiceAddress(Struct):
    """An address that a service has in some context, such as ``wan``."""

    address: str = ""
    port: int = 0


class Weights(Struct):
    """The DNS SRV weights of a service instance by its health."""

    passing: int = 0
    warning: int = 0


class MeshGatewayConfig(Struct):
    """Whether traffic to other datacenters goes through a mesh gateway."""

    mode: Annotated[str, Field(omit_empty=True)] = ""


class ExposePath(Struct):
    """One HTTP path that a proxy exposes without mutual TLS."""

    json_alone: ClassVar[bool] = True

    listener_port: Annotated[int, Field(snake=True, omit_empty=True)] = 0
    path: Annotated[str, Field(omit_empty=True)] = ""
    local_path_port: Annotated[int, Field(snake=True, omit_empty=True)] = 0
    protocol: Annotated[str, Field(omit_empty=True)] = ""
    parsed_from_check: bool = False


class ExposeConfig(Struct):
    """The HTTP paths that a proxy exposes without mutual TLS."""

    checks: Annotated[bool, Field(omit_empty=True)] = False
    paths: Annotated[list[ExposePath] | None, Field(omit_empty=True)] = None


class Upstream(Struct):
    """A service that a proxy makes reachable to its application."""

    json_alone: ClassVar[bool] = True

    destination_type: Annotated[str, Field(snake=True)] = ""
    destination_namespace: Annotated[str, Field(snake=True, omit_empty=True)] = ""
    destination_name: Annotated[str, Field(snake=True)] = ""
    datacenter: str = ""
    local_bind_address: Annotated[str, Field(snake=True, omit_empty=True)] = ""
    local_bind_port: Annotated[int, Field(snake=True)] = 0
    config: dict[str, Any] | None = None
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    ingress_hosts: Annotated[list[str] | None, Field(json="-")] = None


class ConnectProxyConfig(Struct):
    """What a proxy instance stands in front of."""

    json_alone: ClassVar[bool] = True

    destination_service_name: Annotated[str, Field(snake=True, omit_empty=True)] = ""
    destination_service_id: Annotated[str, Field(snake=True, omit_empty=True)] = ""
    local_service_address: Annotated[str, Field(snake=True, omit_empty=True)] = ""
    local_service_port: Annotated[int, Field(snake=True, omit_empty=True)] = 0
    config: Annotated[dict[str, Any] | None, Field(omit_empty=True)] = None
    upstreams: Annotated[list[Upstream] | None, Field(omit_empty=True)] = None
    mesh_gateway: MeshGatewayConfig = MeshGatewayConfig()
    expose: ExposeConfig = ExposeConfig()


class CheckType(CheckExtensions):
    """How an agent runs a check, as the check definition says."""

    json_alone: ClassVar[bool] = True
    json_ignored: ClassVar[frozenset[str]] = frozenset(("serviceid", "service_id"))

    alias_node: str = ""
    alias_service: str = ""
    body: str = ""
    check_id: str = ""
    deregister_critical_service_after: Annotated[Nanoseconds, Field(snake=True)] = 0
    docker_container_id: Annotated[str, Field(snake=True)] = ""
    failures_before_critical: int = 0
    grpc: str = ""
    grpc_use_tls: Annotated[bool, Field(snake=True)] = False
    http: str = ""
    header: dict[str, list[str]] | None = None
    interval: Nanoseconds = 0
    method: str = ""
    name: str = ""
    notes: str = ""
    output_max_size: int = 0
    proxy_grpc: str = ""
    proxy_http: str = ""
    script_args: Annotated[list[str] | None, Field(snake=True, aliases=("args",))] = (
        None
    )
    shell: str = ""
    status: str = ""
    success_before_passing: int = 0
    tcp: str = ""
    tls_skip_verify: Annotated[bool, Field(snake=True)] = False
    ttl: Nanoseconds = 0
    timeout: Nanoseconds = 0


class ServiceConnect(Struct):
    """How a service takes part in the mesh."""

    json_alone: ClassVar[bool] = True

    native: Annotated[bool, Field(omit_empty=True)] = False
    sidecar_service: Annotated[
        "ServiceDefinition | None",
        Field(omit_empty=True, snake=True, filterable=False),
    ] = None


class ServiceDefinition(Struct):
    """A service instance as a user writes it."""

    json_alone: ClassVar[bool] = True

    kind: str = ""
    id: str = ""
    name: str = ""
    tags: list[str] | None = None
    address: str = ""
    tagged_addresses: Annotated[dict[str, ServiceAddress] | None, Field(snake=True)] = (
        None
    )
    meta: dict[str, str] | None = None
    port: int = 0
    check: CheckType = CheckType()
    checks: list[CheckType] | None = None
    connect: ServiceConnect | None = None
    enable_tag_override: Annotated[bool, Field(snake=True)] = False
    proxy: ConnectProxyConfig | None = None
    token: str = ""
    weights: Weights | None = None


class Node(RaftIndex):
    """A machine."""

    id: str = ""
    node: str = ""
    address: str = ""
    datacenter: str = ""
    tagged_addresses: dict[str, str] | None = None
    meta: dict[str, str] | None = None


class NodeService(RaftIndex):
    """One registration of a service on a node, without the node."""

    kind: Annotated[str, Field(omit_empty=True)] = ""
    id: str = ""
    service: str = ""
    tags: list[str] | None = None
    address: str = ""
    tagged_addresses: Annotated[
        dict[str, ServiceAddress] | None, Field(omit_empty=True)
    ] = None
    meta: dict[str, str] | None = None
    port: int = 0
    weights: Weights | None = None
    enable_tag_override: bool = False
    proxy: ConnectProxyConfig = ConnectProxyConfig()
    connect: ServiceConnect = ServiceConnect()
    locally_registered_as_sidecar: Annotated[bool, Field(json="-")] = False


class ServiceNode(RaftIndex):
    """A service instance together with its node, flat."""

    id: str = ""
    node: str = ""
    address: str = ""
    datacenter: str = ""
    tagged_addresses: dict[str, str] | None = None
    node_meta: dict[str, str] | None = None
    service_kind: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: list[str] | None = None
    service_address: str = ""
    service_tagged_addresses: Annotated[
        dict[str, ServiceAddress] | None, Field(omit_empty=True)
    ] = None
    service_weights: Weights = Weights()
    service_meta: dict[str, str] | None = None
    service_port: int = 0
    service_enable_tag_override: bool = False
    service_proxy: ConnectProxyConfig = ConnectProxyConfig()
    service_connect: ServiceConnect = ServiceConnect()


class HealthCheckDefinition(Struct):
    """What a check row tells about how the check runs."""

    json_alone: ClassVar[bool] = True
    json_lenient: ClassVar[bool] = True

    http: Annotated[str, Field(omit_empty=True)] = ""
    tls_skip_verify: Annotated[bool, Field(omit_empty=True)] = False
    header: Annotated[dict[str, list[str]] | None, Field(omit_empty=True)] = None
    method: Annotated[str, Field(omit_empty=True)] = ""
    body: Annotated[str, Field(omit_empty=True)] = ""
    tcp: Annotated[str, Field(omit_empty=True)] = ""
    interval: Annotated[Nanoseconds, Field(omit_empty=True, text=True)] = 0
    output_max_size: Annotated[int, Field(omit_empty=True)] = 0
    timeout: Annotated[Nanoseconds, Field(omit_empty=True, text=True)] = 0
    deregister_critical_service_after: Annotated[
        Nanoseconds, Field(omit_empty=True, text=True)
    ] = 0
    script_args: Annotated[list[str] | None, Field(omit_empty=True)] = None
    alias_node: Annotated[str, Field(omit_empty=True)] = ""
    alias_service: Annotated[str, Field(omit_empty=True)] = ""
    docker_container_id: Annotated[str, Field(omit_empty=True)] = ""
    grpc: Annotated[str, Field(omit_empty=True)] = ""
    grpc_use_tls: Annotated[bool, Field(omit_empty=True)] = False
    shell: Annotated[str, Field(omit_empty=True)] = ""
    ttl: Annotated[Nanoseconds, Field(omit_empty=True, text=True)] = 0


class HealthCheck(RaftIndex):
    """The last result of a check."""

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
    definition: Annotated[HealthCheckDefinition, Field(filterable=False)] = (
        HealthCheckDefinition()
    )


class CheckServiceNode(Struct):
    """A service instance with its node and all checks that concern it."""

    node: Node | None = None
    service: NodeService | None = None
    checks: list[HealthCheck] | None = None


class NodeServices(Struct):
    """A node and its services by id."""

    node: Node | None = None
    services: dict[str, NodeService] | None = None


class NodeServiceList(Struct):
    """A node and its services as a list."""

    node: Node | None = None
    services: list[NodeService] | None = None


class NodeInfo(Struct):
    """A node with everything registered on it."""

    id: str = ""
    node: str = ""
    address: str = ""
    tagged_addresses: dict[str, str] | None = None
    meta: dict[str, str] | None = None
    services: list[NodeService] | None = None
    checks: list[HealthCheck] | None = None


class ServiceName(Struct):
    """The name of a service."""

    name: str = ""


class GatewayService(RaftIndex):
    """A service that a gateway serves."""

    gateway: ServiceName = ServiceName()
    service: ServiceName = ServiceName()
    gateway_kind: str = ""
    port: Annotated[int, Field(omit_empty=True)] = 0
    protocol: Annotated[str, Field(omit_empty=True)] = ""
    hosts: Annotated[list[str] | None, Field(omit_empty=True)] = None
    ca_file: Annotated[str, Field(omit_empty=True)] = ""
    cert_file: Annotated[str, Field(omit_empty=True)] = ""
    key_file: Annotated[str, Field(omit_empty=True)] = ""
    sni: Annotated[str, Field(omit_empty=True)] = ""
    from_wildcard: Annotated[bool, Field(omit_empty=True)] = False


class ServiceInfo(Struct):
    """An instance as the user interface lists it."""

    node: Node | None = None
    service: NodeService | None = None
    checks: list[HealthCheck] | None = None
    gateway_service: GatewayService | None = None


class RegisterRequest(WriteRequest):
    """Puts a node, a service instance and checks into the catalog."""

    datacenter: str = ""
    id: str = ""
    node: str = ""
    address: str = ""
    tagged_addresses: dict[str, str] | None = None
    node_meta: dict[str, str] | None = None
    service: NodeService | None = None
    check: HealthCheck | None = None
    checks: list[HealthCheck] | None = None
    skip_node_update: bool = False
    create_index: int = 0
    modify_index: int = 0


class DeregisterRequest(WriteRequest):
    """Takes a check, a service instance or a node out of the catalog."""

    datacenter: str = ""
    node: str = ""
    service_id: str = ""
    check_id: str = ""


class NodeSpecificRequest(QueryOptions):
    """A read about one node."""

    datacenter: str = ""
    node: str = ""


class ServiceSpecificRequest(QueryOptions):
    """A read about one service."""

    datacenter: str = ""
    node_meta_filters: dict[str, str] | None = None
    service_name: str = ""
    service_tag: str = ""
    service_tags: list[str] | None = None
    service_address: str = ""
    tag_filter: bool = False
    source: QuerySource = QuerySource()
    connect: bool = False
    ingress: bool = False


class ServiceDumpRequest(QueryOptions):
    """A read of all service instances of one kind or of all."""

    datacenter: str = ""
    service_kind: str = ""
    use_service_kind: bool = False
    source: QuerySource = QuerySource()


class ChecksInStateRequest(QueryOptions):
    """A read of all checks in one state."""

    datacenter: str = ""
    node_meta_filters: dict[str, str] | None = None
    state: str = ""
    source: QuerySource = QuerySource()


class IndexedNodes(QueryMeta):
    """Nodes."""

    nodes: list[Node] | None = None


class IndexedServices(QueryMeta):
    """Service names with their tags."""

    services: dict[str, list[str]] | None = None


class IndexedServiceList(QueryMeta):
    """Service names."""

    services: list[ServiceName] | None = None


class IndexedServiceNodes(QueryMeta):
    """Instances of a service."""

    service_nodes: list[ServiceNode] | None = None


class IndexedNodeServices(QueryMeta):
    """A node with its services by id."""

    node_services: NodeServices | None = None


class IndexedNodeServiceList(QueryMeta):
    """A node with its services as a list."""

    node_services: NodeServiceList = NodeServiceList()


class IndexedHealthChecks(QueryMeta):
    """Checks."""

    health_checks: list[HealthCheck] | None = None


class IndexedCheckServiceNodes(QueryMeta):
    """Instances with their checks."""

    nodes: list[CheckServiceNode] | None = None


class IndexedNodeDump(QueryMeta):
    """Nodes with everything on them."""

    dump: list[NodeInfo] | None = None


class IndexedServiceDump(QueryMeta):
    """Instances as the user interface lists them."""

    dump: list[ServiceInfo] | None = None


class IndexedGatewayServices(QueryMeta):
    """Services that a gateway serves."""

    services: list[GatewayService] | None = None
