"""The check types that come with consultwist."""

from consultwist.checks.alias import AliasCheck
from consultwist.checks.docker import DockerCheck
from consultwist.checks.grpc import GRPCCheck
from consultwist.checks.h2ping import H2PingCheck
from consultwist.checks.http import HTTPCheck
from consultwist.checks.os_service import OSServiceCheck
from consultwist.checks.script import ScriptCheck
from consultwist.checks.tcp import TCPCheck
from consultwist.checks.ttl import TTLCheck
from consultwist.checks.udp import UDPCheck

http, tcp, script, ttl, alias = (
    HTTPCheck(),
    TCPCheck(),
    ScriptCheck(),
    TTLCheck(),
    AliasCheck(),
)
grpc, h2ping, udp, docker, os_service = (
    GRPCCheck(),
    H2PingCheck(),
    UDPCheck(),
    DockerCheck(),
    OSServiceCheck(),
)
