"""What a service instance must look like."""

import pytest

from consultwist.structs.catalog import (
    ConnectProxyConfig,
    ExposeConfig,
    ExposePath,
    NodeService,
    ServiceConnect,
    ServiceDefinition,
    Upstream,
)
from consultwist.structs.service_rules import (
    error_list,
    meta_problem,
    service_problems,
)


def proxy(**fields):
    fields.setdefault("destination_service_name", "web")
    return NodeService(
        kind="connect-proxy",
        service="p",
        port=1,
        proxy=ConnectProxyConfig(**fields),
    )


def upstream(name="db", port=1, **fields):
    return Upstream(destination_name=name, local_bind_port=port, **fields)


def path(where="/a", port=1, **fields):
    return ExposePath(path=where, listener_port=port, **fields)


def exposed(*paths):
    return proxy(expose=ExposeConfig(paths=list(paths)))


@pytest.mark.parametrize(
    "service",
    [
        NodeService(service="web"),
        proxy(),
        proxy(upstreams=[upstream(port=1), upstream("cache", port=2)]),
        proxy(upstreams=[upstream(port=1), upstream(port=2, datacenter="dc2")]),
        exposed(path(), path("/b", 2, protocol="HTTP2")),
        NodeService(service="g", kind="ingress-gateway"),
        NodeService(service="g", kind="mesh-gateway", port=1),
        NodeService(service="x", kind="something-else"),
    ],
)
def test_what_is_well_has_no_problems(service):
    """Typical services, proxies and gateways as they should be."""
    assert service_problems(service) == []


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        (proxy(destination_service_name=" "), "must be non-empty"),
        (proxy(upstreams=[upstream("")]), "destination name cannot be empty"),
        (proxy(upstreams=[upstream(port=0)]), "local bind port cannot be zero"),
        (
            proxy(upstreams=[upstream(port=1), upstream(port=2)]),
            "duplicates of service:db",
        ),
        (
            proxy(
                upstreams=[
                    upstream(),
                    upstream("b", local_bind_address="127.0.0.1"),
                ]
            ),
            '"127.0.0.1:1" is specified more than once',
        ),
        (
            proxy(
                upstreams=[
                    upstream(local_bind_address="::1"),
                    upstream("b", local_bind_address="::1"),
                ]
            ),
            '"[::1]:1" is specified more than once',
        ),
        (exposed(path("")), "empty path exposed"),
        (exposed(path(), path(port=2)), "duplicate paths exposed"),
        (exposed(path(), path("/b")), "duplicate listener ports exposed"),
        (exposed(path(port=0)), "invalid listener port: 0"),
        (exposed(path(protocol="tcp")), "protocol 'tcp' not supported for path: /a"),
        (
            NodeService(service="g", kind="terminating-gateway"),
            "Port must be non-zero for a terminating-gateway",
        ),
        (
            NodeService(
                service="g",
                kind="ingress-gateway",
                proxy=ConnectProxyConfig(local_service_port=1),
            ),
            "The Proxy.LocalServicePort configuration is invalid",
        ),
        (
            NodeService(
                service="w",
                connect=ServiceConnect(sidecar_service=ServiceDefinition(id="x")),
            ),
            "cannot specify an ID",
        ),
    ],
)
def test_each_mistake_is_named(service, problem):
    """One mistake gives one problem, in Consul's words."""
    (found,) = service_problems(service)
    assert problem in found


def test_several_mistakes_are_listed_as_consul_lists_them():
    """A bare proxy has no destination and no port."""
    service = NodeService(kind="connect-proxy", service="p")
    assert error_list(service_problems(service)) == (
        "2 errors occurred:\n"
        "\t* Proxy.DestinationServiceName must be non-empty for Connect proxy "
        "services\n"
        "\t* Port must be set for a Connect proxy\n\n"
    )


def test_a_nested_sidecar_is_two_mistakes_with_an_id():
    """A sidecar of a sidecar is refused."""
    inner = ServiceDefinition(
        id="x", connect=ServiceConnect(sidecar_service=ServiceDefinition())
    )
    service = NodeService(service="w", connect=ServiceConnect(sidecar_service=inner))
    assert len(service_problems(service)) == 2


def test_metadata_at_its_limits_is_well():
    """64 pairs, keys of 128 and values of 512."""
    meta = {f"{n:0128d}": "v" * 512 for n in range(64)}
    assert meta_problem(meta) == ""
    assert meta_problem(None) == ""


def test_the_length_of_a_value_is_counted_in_bytes():
    """As Go counts."""
    assert "Value is too long" in meta_problem({"k": "é" * 257})


def test_a_problem_names_the_pair():
    """The text shows key and value."""
    assert meta_problem({"a b": "v"}) == (
        "Couldn't load metadata pair ('a b', 'v'): Key contains invalid characters"
    )


@pytest.mark.parametrize(("kind", "fine"), [("mesh-gateway", True), ("", False)])
def test_one_reserved_key_is_for_mesh_gateways(kind, fine):
    """Others may not set it."""
    problem = meta_problem({"consul-wan-federation": "1"}, kind)
    assert (problem == "") is fine
