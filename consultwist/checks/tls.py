"""TLS for checks: who is trusted, and what users are told when nobody is.

Either the system's authorities count and the name in the URL must match, or, with
``enable_agent_tls_for_checks``, the agent's authorities, certificate and server name.
"""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from consultwist.checks.dial import is_ip_address
from consultwist.clock import Clock
from consultwist.config.runtime import RuntimeConfig

#: Names of the configuration to versions.
_VERSIONS = {
    "tls10": SSL.TLS1_VERSION,
    "tls11": SSL.TLS1_1_VERSION,
    "tls12": SSL.TLS1_2_VERSION,
    "tls13": SSL.TLS1_3_VERSION,
}

#: Go's words for alerts (RFC 8446, section 6), where they differ from OpenSSL's.
_ALERTS = {
    "protocol version": "protocol version not supported",
    "unknown ca": "unknown certificate authority",
    "certificate unknown": "unknown certificate",
    "certificate revoked": "revoked certificate",
    "certificate expired": "expired certificate",
    "decode error": "error decoding message",
    "decrypt error": "error decrypting message",
}
_ALERT = re.compile(r"alert (.+)\Z")

#: The first byte of a TLS record of the handshake or an alert (RFC 8446, 5.1).
_RECORD_TYPES = (20, 21, 22, 23)

_UNKNOWN_AUTHORITY = "x509: certificate signed by unknown authority"


class UntrustedCertificate(Exception):
    """The server's certificate does not satisfy; the text is Go's."""


def make_context(
    config: RuntimeConfig, *, skip_verify: bool, protocols: Sequence[bytes] = ()
) -> SSL.Context:
    """Make the context that the connections of a check share.

    Args:
        config: says whether the agent's certificates are used.
        skip_verify: whether any certificate will do.
        protocols: what is offered to speak (ALPN, RFC 7301).

    Raises:
        SSL.Error: where the agent's certificate files cannot be read.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    if not config.enable_agent_tls_for_checks:
        context.set_default_verify_paths()
    else:
        _load_agent_files(context, config)
    if protocols:
        context.set_alpn_protos(list(protocols))
    if not skip_verify:
        context.set_verify(SSL.VERIFY_PEER, _judge)
        context.set_info_callback(_handshake_moved)
    return context


def _load_agent_files(context: SSL.Context, config: RuntimeConfig) -> None:
    if config.ca_file or config.ca_path:
        context.load_verify_locations(config.ca_file or None, config.ca_path or None)
    else:
        context.set_default_verify_paths()
    if config.cert_file and config.key_file:
        context.use_certificate_chain_file(config.cert_file)
        context.use_privatekey_file(config.key_file)
    if config.tls_min_version in _VERSIONS:
        context.set_min_proto_version(_VERSIONS[config.tls_min_version])


def server_name(config: RuntimeConfig, host: str, wanted: str = "") -> str:
    """Return what the server's certificate must bear: the host of the URL.

    Where checks use the agent's TLS, it is the agent's own server name or node name.
    What the definition wants goes before both.
    """
    if wanted:
        return wanted
    if config.enable_agent_tls_for_checks:
        return config.server_name or config.node_name
    return host


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS:
    """The TLS of one connection.

    Args:
        context: from `make_context`.
        name: what the certificate must bear: a host name or an IP address.
        clock: tells whether the certificate has expired.
    """

    def __init__(self, context: SSL.Context, name: str, clock: Clock) -> None:
        self._context = context
        self._name = name
        self._clock = clock
        self._connection: _Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> "SSL.Connection":  # noqa: N803
        """Make the connection of Twisted's TLS protocol."""
        connection = _Connection(self._context, self._name, self._clock, tlsProtocol)
        if self._name.isascii() and not is_ip_address(self._name):
            connection.set_tlsext_host_name(self._name.encode())
        connection.set_connect_state()
        self._connection = connection
        return connection

    def wrap(
        self, endpoint: IStreamClientEndpoint, reactor: Any
    ) -> IStreamClientEndpoint:
        """Return an endpoint whose connection uses this TLS."""
        wrapped: IStreamClientEndpoint = wrapClientTLS(self, endpoint, reactor)
        return wrapped

    @property
    def verdict(self) -> str:
        """Why the server's certificate does not satisfy; nothing where it does."""
        return self._connection.verdict if self._connection is not None else ""

    @property
    def certificate_end(self) -> float | None:
        """When the server's certificate expires; None before there is one."""
        connection = self._connection
        certificate = connection and connection.get_peer_certificate()
        if not certificate:
            return None
        return certificate.to_cryptography().not_valid_after_utc.timestamp()

    def fault(self, reason: BaseException) -> str:
        """Return, in Go's words, why TLS failed; nothing where it did not."""
        if self.verdict:
            return self.verdict
        connection = self._connection
        if isinstance(reason, SSL.Error):
            return _reason(reason, connection.first_bytes if connection else b"")
        return ""


class _Connection(SSL.Connection):
    """A connection that remembers what its callbacks need and found."""

    def __init__(
        self, context: SSL.Context, name: str, clock: Clock, protocol: Any
    ) -> None:
        super().__init__(context, None)
        self.name = name
        self.clock = clock
        self.protocol = protocol
        self.verdict = ""
        self.first_bytes = b""

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        """Take bytes from the network."""
        if len(self.first_bytes) < 5:
            self.first_bytes += bytes(buf[:5])
        return super().bio_write(buf)


def _judge(
    connection: SSL.Connection, cert: crypto.X509, _number: int, depth: int, ok: int
) -> bool:
    """Turn OpenSSL's opinion about one certificate of the chain into a verdict."""
    assert isinstance(connection, _Connection)
    if ok:
        return True
    if not connection.verdict:
        # Go looks at the dates and names of the leaf before it looks for authorities.
        leaf_fault = ""
        if depth == 0:
            leaf = cert.to_cryptography()
            leaf_fault = _leaf_fault(leaf, connection.name, connection.clock)
        connection.verdict = leaf_fault or _UNKNOWN_AUTHORITY
    return False


def _handshake_moved(connection: SSL.Connection, where: int, _code: int) -> None:
    """Check the name when the handshake is done, before anything is sent."""
    assert isinstance(connection, _Connection)
    if not where & SSL.SSL_CB_HANDSHAKE_DONE:
        return
    certificate = connection.get_peer_certificate()
    assert certificate is not None
    leaf = certificate.to_cryptography()
    connection.verdict = _leaf_fault(leaf, connection.name, connection.clock)
    if connection.verdict:
        fault = UntrustedCertificate(connection.verdict)
        connection.protocol.failVerification(Failure(fault))


def _leaf_fault(leaf: x509.Certificate, name: str, clock: Clock) -> str:
    return _date_fault(leaf, clock.wall()) or _name_fault(leaf, name)


def _date_fault(leaf: x509.Certificate, now_wall: float) -> str:
    now = datetime.fromtimestamp(now_wall, UTC)
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if begin <= now <= end:
        return ""
    relation, bound = ("before", begin) if now < begin else ("after", end)
    return (
        "x509: certificate has expired or is not yet valid: current time "
        f"{now:%Y-%m-%dT%H:%M:%SZ} is {relation} {bound:%Y-%m-%dT%H:%M:%SZ}"
    )


def _name_fault(leaf: x509.Certificate, name: str) -> str:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        dns = names.value.get_values_for_type(x509.DNSName)
        addresses = names.value.get_values_for_type(x509.IPAddress)
    except (x509.ExtensionNotFound, ValueError):
        dns, addresses = [], []
    if is_ip_address(name):
        if not addresses:
            return (
                f"x509: cannot validate certificate for {name} "
                "because it doesn't contain any IP SANs"
            )
        if ipaddress.ip_address(name) in addresses:
            return ""
        shown = ", ".join(str(address) for address in addresses)
    else:
        if any(_name_matches(pattern, name) for pattern in dns):
            return ""
        if not dns:
            return (
                "x509: certificate is not valid for any names, "
                f"but wanted to match {name}"
            )
        shown = ", ".join(dns)
    return f"x509: certificate is valid for {shown}, not {name}"


def _name_matches(pattern: str, name: str) -> bool:
    """Match a name; a star stands for the whole first label (RFC 6125, 6.4.3)."""
    wanted = name.lower().rstrip(".").split(".")
    given = pattern.lower().rstrip(".").split(".")
    if len(wanted) != len(given):
        return False
    first = given[0] == wanted[0] or (given[0] == "*" and len(given) > 1)
    return first and given[1:] == wanted[1:]


def _reason(error: SSL.Error, first_bytes: bytes) -> str:
    if first_bytes == b"HTTP/":
        return "http: server gave HTTP response to HTTPS client"
    if first_bytes and first_bytes[0] not in _RECORD_TYPES:
        return "tls: first record does not look like a TLS handshake"
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    text = reasons[-1][-1] if reasons else "EOF"
    alert = _ALERT.search(text)
    if alert:
        words = alert.group(1)
        return f"remote error: tls: {_ALERTS.get(words, words)}"
    return "EOF" if "eof" in text.lower() else f"tls: {text}"
