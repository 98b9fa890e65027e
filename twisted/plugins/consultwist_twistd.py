"""The commands that twistd gets."""

from twisted.application.service import ServiceMaker

consul_server = ServiceMaker(
    "consul-server",
    "consultwist.tap.consul_server",
    "A Consul server agent.",
    "consul-server",
)

consul_client = ServiceMaker(
    "consul-client",
    "consultwist.tap.consul_client",
    "A Consul client agent.",
    "consul-client",
)
