"""Which services a gateway serves, as far as the catalog changes that.

The mappings are derived: config entries of gateways write them, and a gateway that
serves ``*`` gets one for every service that comes and loses it when the last instance
goes. Config entries reach the table by its name, through the transaction.
"""

import msgspec.structs

from consultwist.api.catalog.rows import CONSUL, GATEWAY_SERVICES, mapping_key
from consultwist.state.transaction import Transaction
from consultwist.structs.catalog import GatewayService, NodeService, ServiceName
from consultwist.structs.service_rules import WILDCARD


def map_to_wildcards(txn: Transaction, service: NodeService) -> None:
    """Map a service that is registered to every gateway that serves all services.

    An explicit mapping of the same gateway, service and port is overwritten, as Consul
    1.8.7 does.
    """
    if service.kind or service.service == CONSUL:
        return
    for wildcard in txn.table(GATEWAY_SERVICES).by("service", WILDCARD):
        put_mapping(
            txn,
            msgspec.structs.replace(
                wildcard,
                service=ServiceName(name=service.service),
                from_wildcard=True,
            ),
        )


def unmap_from_wildcards(txn: Transaction, service_name: str) -> None:
    """Take a service whose last instance went off the gateways that serve all."""
    for mapping in txn.table(GATEWAY_SERVICES).by("service", service_name.lower()):
        if mapping.from_wildcard:
            txn.delete(GATEWAY_SERVICES, mapping_key(mapping))
            txn.max_index(GATEWAY_SERVICES)


def put_mapping(txn: Transaction, mapping: GatewayService) -> None:
    """Store a mapping; an equal one stays as it is, indexes too."""
    existing = txn.table(GATEWAY_SERVICES).get(mapping_key(mapping))
    created = txn.index
    if existing is not None:
        created = existing.create_index
        same = msgspec.structs.replace(
            mapping, create_index=created, modify_index=existing.modify_index
        )
        if same == existing:
            return
    stored = msgspec.structs.replace(
        mapping, create_index=created, modify_index=txn.index
    )
    txn.put(GATEWAY_SERVICES, stored)
    txn.max_index(GATEWAY_SERVICES)
