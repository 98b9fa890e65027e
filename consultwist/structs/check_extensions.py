"""What check definitions may say beyond Consul 1.8.7.

The first group came with later releases of Consul and means what it means there. The
second is ours. None of them is shown where nobody uses it, so that definitions look as
they do in 1.8.7.
"""

from typing import Annotated

from consultwist.wire.struct import Field, Nanoseconds, Struct


class CheckExtensions(Struct):
    """Fields that `CheckType` and `CheckDefinition` share.

    Attributes:
        tcp_use_tls: a TCP check makes a TLS handshake (Consul 1.16).
        tls_server_name: what the server's certificate must bear (1.10).
        disable_redirects: an HTTP check takes a redirect for the answer (1.10).
        udp: ``host:port`` that a datagram is sent to (1.12).
        h2ping: ``host:port`` that is pinged over HTTP/2 (1.10).
        h2ping_use_tls: whether it is pinged over TLS (1.10).
        os_service: the name of a Windows service (1.14).
        failures_before_warning: failures in a row that make a check warn (1.11).
        expected_status: status codes of HTTP with which the check passes, such as
            ``200`` or ``200-299``; any other is critical. Ours.
        body_match: a regular expression (RE2) that must be found in the body. Ours.
        body_json: by path, such as ``$.db[0].state``, the value that must stand there
            in the body. Ours.
        certificate_expiry_warning: the check warns so long before the server's
            certificate expires. Ours.
        latency_warning: the check warns where a run takes longer. Ours.
    """

    tcp_use_tls: Annotated[bool, Field(snake=True)] = False
    tls_server_name: Annotated[str, Field(snake=True)] = ""
    disable_redirects: Annotated[bool, Field(snake=True)] = False
    udp: Annotated[str, Field(name="UDP")] = ""
    h2ping: Annotated[str, Field(name="H2PING")] = ""
    h2ping_use_tls: Annotated[bool, Field(name="H2PingUseTLS", snake=True)] = True
    os_service: Annotated[str, Field(name="OSService")] = ""
    failures_before_warning: int = 0
    expected_status: Annotated[list[str] | None, Field(snake=True)] = None
    body_match: Annotated[str, Field(snake=True)] = ""
    body_json: Annotated[dict[str, str] | None, Field(snake=True)] = None
    certificate_expiry_warning: Annotated[Nanoseconds, Field(snake=True)] = 0
    latency_warning: Annotated[Nanoseconds, Field(snake=True)] = 0


_UNUSED = CheckExtensions()


def is_unused(record: Struct, attribute: str) -> bool:
    """Tell whether a field is one of these and says nothing."""
    return (
        isinstance(record, CheckExtensions)
        and attribute in CheckExtensions.__struct_fields__
        and getattr(record, attribute) in (getattr(_UNUSED, attribute), [], {})
    )
