"""What a registration must be before it is proposed, and who may ask for it."""

from typing import Final

import msgspec.structs

from consultwist.acl.authorizer import Authorizer
from consultwist.api.catalog.rows import CONSUL, find_node, find_service
from consultwist.api.catalog.table import changes_node
from consultwist.errors import ConsultwistError, PermissionDenied
from consultwist.state.store import Store
from consultwist.structs.catalog import (
    DeregisterRequest,
    HealthCheck,
    HealthCheckDefinition,
    NodeService,
    RegisterRequest,
)
from consultwist.structs.service_rules import (
    CONNECT_PROXY,
    error_list,
    service_problems,
)
from consultwist.structs.uuids import uuid_problem

_ANY_ADDRESS: Final = frozenset(("0.0.0.0", "::", "[::]"))  # noqa: S104 - refused


def completed(request: RegisterRequest) -> RegisterRequest:
    """Return a registration as it is proposed: checks in one list, ids filled in.

    Raises:
        ConsultwistError: where it cannot be, with Consul's text.
    """
    if not request.node:
        raise ConsultwistError("Must provide node")
    if not request.address and not request.skip_node_update:
        raise ConsultwistError("Must provide address if SkipNodeUpdate is not set")
    if request.id:
        refuse_bad_id(request.id)
    checks = request.checks or []
    if request.check is not None:
        checks = [*checks, request.check]
    return msgspec.structs.replace(
        request,
        service=None if request.service is None else completed_service(request.service),
        check=None,
        checks=[_completed_check(check, request.node) for check in checks] or None,
    )


def refuse_bad_id(node_id: str) -> None:
    """Refuse an id of a node that is no UUID.

    Raises:
        ConsultwistError: with what is wrong.
    """
    problem = uuid_problem(node_id)
    if problem:
        raise ConsultwistError(f"Bad node ID: {problem}")


def completed_service(service: NodeService) -> NodeService:
    """Return an instance as it is proposed: its id is its name where it has none.

    Raises:
        ConsultwistError: where it cannot be, with Consul's text.
    """
    problems = service_problems(service)
    if problems:
        raise ConsultwistError(error_list(problems))
    if service.id and not service.service:
        raise ConsultwistError("Must provide service name with ID")
    if service.address in _ANY_ADDRESS:
        raise ConsultwistError("Invalid service address")
    if service.id:
        return service
    return msgspec.structs.replace(service, id=service.service)


def _completed_check(check: HealthCheck, node: str) -> HealthCheck:
    return msgspec.structs.replace(
        check,
        node=check.node or node,
        check_id=check.check_id or check.name,
        type=check.type or check_kind(check.definition),
    )


def check_kind(definition: HealthCheckDefinition) -> str:
    """Return the type of a check that is registered without one: how it would run."""
    regular = definition.interval > 0
    script = bool(definition.script_args)
    kinds = (
        ("grpc", definition.grpc and regular),
        ("http", definition.http and regular),
        ("ttl", definition.ttl > 0),
        ("tcp", definition.tcp and regular),
        ("alias", definition.alias_node or definition.alias_service),
        ("docker", script and definition.docker_container_id and regular),
        ("script", script),
    )
    return next((name for name, fits in kinds if fits), "")


# --- who may -------------------------------------------------------------------------


def service_rule(authorizer: Authorizer, request: RegisterRequest) -> bool:
    """Ask for write access to the service, and to what a proxy stands for.

    The service of the servers themselves is free: only servers know it. What hangs on
    the present state is asked by `vet`.
    """
    service = request.service
    if service is None:
        return True
    if service.service != CONSUL and not authorizer.allows(
        "service", "write", service.service
    ):
        return False
    return service.kind != CONNECT_PROXY or authorizer.allows(
        "service", "write", service.proxy.destination_service_name
    )


def vet(authorizer: Authorizer, store: Store, request: RegisterRequest) -> None:
    """Refuse a registration that the caller may not make in the present state.

    The node is asked for only where it would change, so that a service can be
    registered by who owns the service alone.

    Raises:
        PermissionDenied: where the token does not allow it.
    """
    if changes_node(find_node(store, request.node), request):
        _ask(authorizer, "node", request.node)
    service = request.service
    if service is not None:
        former = find_service(store, request.node, service.id)
        if former is not None:
            _ask(authorizer, "service", former.service)
    for check in request.checks or ():
        if not check.service_id:
            _ask(authorizer, "node", request.node)
        elif service is None or service.id != check.service_id:
            _ask_owner(authorizer, store, request.node, check.service_id)


def vet_removal(
    authorizer: Authorizer, store: Store, request: DeregisterRequest
) -> None:
    """Refuse a removal that the caller may not make.

    Who may write the node may remove all that is on it.

    Raises:
        PermissionDenied: where the token does not allow it.
    """
    if authorizer.allows("node", "write", request.node):
        return
    if request.service_id:
        _ask_owner(authorizer, store, request.node, request.service_id)
        return
    raise PermissionDenied


def _ask_owner(
    authorizer: Authorizer, store: Store, node: str, service_id: str
) -> None:
    owner = find_service(store, node, service_id)
    if owner is not None:
        _ask(authorizer, "service", owner.service)


def _ask(authorizer: Authorizer, resource: str, name: str) -> None:
    if not authorizer.allows(resource, "write", name):
        raise PermissionDenied
