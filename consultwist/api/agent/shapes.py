"""How this agent's services and checks look in JSON.

The agent endpoints show services and checks as Consul's API package declares them,
which is not quite as the catalog does.
"""

from typing import Any, Final

from consultwist import durations
from consultwist.structs.catalog import (
    ConnectProxyConfig,
    HealthCheck,
    NodeService,
    Weights,
)

#: Kinds whose proxy configuration is shown.
_PROXY_KINDS: Final = (
    "connect-proxy",
    "mesh-gateway",
    "terminating-gateway",
    "ingress-gateway",
)
_DEFAULT_WEIGHTS: Final = Weights(passing=1, warning=1)


def agent_service(service: NodeService) -> dict[str, Any]:
    """Return the JSON value of a service of this agent."""
    shape: dict[str, Any] = {}
    if service.kind:
        shape["Kind"] = service.kind
    shape |= {
        "ID": service.id,
        "Service": service.service,
        "Tags": service.tags or [],
        "Meta": service.meta or {},
        "Port": service.port,
        "Address": service.address,
    }
    if service.tagged_addresses:
        shape["TaggedAddresses"] = {
            name: address.to_plain()
            for name, address in sorted(service.tagged_addresses.items())
        }
    shape["Weights"] = (service.weights or _DEFAULT_WEIGHTS).to_plain()
    shape["EnableTagOverride"] = service.enable_tag_override
    if service.kind in _PROXY_KINDS:
        shape["Proxy"] = _proxy(service.proxy)
    if service.connect.native:
        shape["Connect"] = service.connect.to_plain()
    return shape


def _proxy(proxy: ConnectProxyConfig) -> dict[str, Any]:
    shape = proxy.to_plain()
    for upstream in shape.get("Upstreams", ()):
        # Here, other than in the catalog, Consul leaves out what is not set.
        for name in ("Config", "Datacenter"):
            if not upstream[name]:
                del upstream[name]
    return shape


def agent_check(check: HealthCheck) -> dict[str, Any]:
    """Return the JSON value of a check of this agent."""
    shape = check.to_plain()
    shape["ServiceTags"] = check.service_tags or []
    return shape


def full_check(check: HealthCheck) -> dict[str, Any]:
    """Return the JSON value of a check as the local health endpoints show it.

    Those pass through another type of Consul's, which loses the check's type and shows
    the definition with all its fields.
    """
    definition = check.definition
    shape = check.to_plain()
    shape["Type"] = ""
    shape["Definition"] = {
        "Interval": durations.render(definition.interval),
        "Timeout": durations.render(definition.timeout),
        "DeregisterCriticalServiceAfter": durations.render(
            definition.deregister_critical_service_after
        ),
        "HTTP": definition.http,
        "Header": definition.header,
        "Method": definition.method,
        "Body": definition.body,
        "TLSSkipVerify": definition.tls_skip_verify,
        "TCP": definition.tcp,
    }
    return shape
