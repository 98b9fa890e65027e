"""TLS between agents: who is trusted, what names are asked for, and with what.

The rules are those of ``verify_incoming``, ``verify_outgoing`` and
``verify_server_hostname``. Contexts are made once; after a reload new connections use
new ones, and those that are open keep theirs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname
from service_identity.exceptions import CertificateError, VerificationError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from zope.interface import implementer

from consultwist.config.openssl import restrict
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import ConfigError, ConsultwistError
from consultwist.rpc.first_byte import ALPN_NAMES

_REQUIRE_PEER: Final = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


class UntrustedServer(ConsultwistError):
    """A server's certificate is not that of a server of the datacenter."""


class TLSLayers:
    """Puts TLS between a connection and a protocol, as one configuration says.

    Attributes:
        is_mutual: whether there are authorities and a certificate, so that both ends
            of a connection can prove who they are.
    """

    def __init__(self, config: RuntimeConfig, reactor: Any) -> None:
        """Read the files.

        Raises:
            ConfigError: where one of them is no use.
        """
        self._config = config
        self._reactor = reactor
        self._authorities = _read_authorities(config)
        self._has_certificate = bool(config.cert_file and config.key_file)
        self.is_mutual = bool(self._authorities) and self._has_certificate
        self._server: dict[str, SSL.Context] = {}
        if self._has_certificate:
            verify = config.verify_incoming or config.verify_incoming_rpc
            self._server["byte"] = self._server_context(verify=verify)
            self._server["insecure"] = self._server_context(verify=False)
        if self.is_mutual:
            native = self._server_context(verify=True)
            native.set_alpn_select_callback(_choose_name)
            self._server["native"] = native
        self._client_context = self._make_client_context()

    # --- the two ends ----------------------------------------------------------------

    def server(self, inner: IProtocol, kind: str) -> IProtocol | None:
        """Return what speaks TLS with a client; None where that cannot be.

        Args:
            inner: gets what was decrypted.
            kind: ``byte``, ``insecure`` (no client certificate wanted) or ``native``
                (always one, and ALPN).
        """
        context = self._server.get(kind)
        if context is None:
            return None
        return self._layer(inner, _ServerConnections(context), is_client=False)

    def client(self, inner: IProtocol, datacenter: str) -> IProtocol:
        """Return what speaks TLS with a server of a datacenter."""
        creator = _ClientConnections(self._client_context, self._name(datacenter))
        return self._layer(inner, creator, is_client=True)

    def verify_server(self, transport: Any, datacenter: str) -> None:
        """Check the name in a server's certificate, where that is wanted.

        To be called when the handshake is done and before anything is sent.

        Raises:
            UntrustedServer: where it is no server of the datacenter.
        """
        name = self._name(datacenter)
        if not name:
            return
        certificate = transport.getPeerCertificate()
        if certificate is None:
            raise UntrustedServer("the server has no certificate")
        try:
            verify_certificate_hostname(certificate.to_cryptography(), name)
        except (VerificationError, CertificateError) as error:
            raise UntrustedServer(
                f"x509: the server's certificate is not valid for {name}"
            ) from error

    def _name(self, datacenter: str) -> str:
        """Return what servers of a datacenter must be called; empty for anything."""
        if not self._config.verify_server_hostname:
            return ""
        return f"server.{datacenter}.{self._config.dns_domain.rstrip('.')}"

    def _layer(self, inner: IProtocol, creator: Any, *, is_client: bool) -> IProtocol:
        factory = TLSMemoryBIOFactory(
            creator, is_client, _Only(inner), clock=self._reactor
        )
        factory.protocol = _Layer
        layer: IProtocol = factory.buildProtocol(None)
        return layer

    # --- contexts --------------------------------------------------------------------

    def _server_context(self, *, verify: bool) -> SSL.Context:
        context = self._context(SSL.TLS_SERVER_METHOD)
        context.set_session_id(b"consultwist-rpc")
        if verify:
            if not self._authorities:
                raise ConfigError("VerifyIncoming set, and no CA certificate provided!")
            context.set_verify(_REQUIRE_PEER, _take_verdict)
        return context

    def _make_client_context(self) -> SSL.Context:
        context = self._context(SSL.TLS_CLIENT_METHOD)
        if self._authorities:
            context.set_verify(SSL.VERIFY_PEER, _take_verdict)
        return context

    def _context(self, method: int) -> SSL.Context:
        config = self._config
        context = SSL.Context(method)
        if self._has_certificate:
            try:
                context.use_certificate_chain_file(config.cert_file)
                context.use_privatekey_file(config.key_file)
                context.check_privatekey()
            except SSL.Error as error:
                raise ConfigError(f"Failed to load cert/key pair: {error}") from error
        store = context.get_cert_store()
        assert store is not None
        for certificate in self._authorities:
            store.add_cert(certificate)
        restrict(context, config)
        return context


@implementer(IHalfCloseableProtocol)
class _Layer(BufferingTLSTransport):
    """TLS over a connection of which either direction may end before the other."""

    def readConnectionLost(self) -> None:
        """The peer has ended its direction, with or without a word in TLS."""
        inner: Any = self.wrappedProtocol
        if IHalfCloseableProtocol.providedBy(inner):
            inner.readConnectionLost()
        else:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """We have ended ours."""


class _Connection(SSL.Connection):
    """A connection that goes on when the peer has said that it sends no more.

    Twisted takes that as the end of both directions (snapshots end one alone).
    """

    def __init__(self, context: SSL.Context, layer: Any) -> None:
        super().__init__(context, None)
        self._layer = layer
        self._is_told = False

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """Return what came; the end of the peer's direction is told once."""
        try:
            return super().recv(bufsiz, flags)
        except SSL.ZeroReturnError:
            if self._is_told or self._layer.disconnecting:
                raise
            self._is_told = True
            self._layer.readConnectionLost()
            raise SSL.WantReadError from None


class _Only(Factory):
    """Gives out one protocol, which was there before."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._only: Any = protocol

    def buildProtocol(self, addr: Any) -> Any:  # noqa: ARG002 - there is only one
        return self._only


@implementer(IOpenSSLServerConnectionCreator)
class _ServerConnections:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802
        """Make the connection of Twisted's TLS protocol."""
        return _Connection(self._context, protocol)


@implementer(IOpenSSLClientConnectionCreator)
class _ClientConnections:
    def __init__(self, context: SSL.Context, name: str) -> None:
        self._context = context
        self._name = name

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        """Make the connection of Twisted's TLS protocol."""
        connection = _Connection(self._context, tlsProtocol)
        if self._name:
            connection.set_tlsext_host_name(self._name.encode())
        return connection


def _read_authorities(config: RuntimeConfig) -> list[crypto.X509]:
    """Return the certificates of ``ca_file``, or of all files in ``ca_path``."""
    paths: Sequence[Path] = ()
    try:
        if config.ca_file:
            paths = [Path(config.ca_file)]
        elif config.ca_path:
            paths = sorted(p for p in Path(config.ca_path).iterdir() if p.is_file())
        found = [
            certificate
            for path in paths
            for certificate in x509.load_pem_x509_certificates(path.read_bytes())
        ]
    except (OSError, ValueError) as error:
        raise ConfigError(f"Error loading CA File: {error}") from error
    return [crypto.X509.from_cryptography(certificate) for certificate in found]


def _take_verdict(
    _connection: SSL.Connection,
    _certificate: crypto.X509,
    _error: int,
    _depth: int,
    ok: int,
) -> bool:
    """Leave it to OpenSSL whether a certificate is good."""
    return bool(ok)


def _choose_name(_connection: SSL.Connection, offered: list[bytes]) -> Any:
    """Take the client's ALPN name where it is one of ours."""
    for name in offered:
        if name in ALPN_NAMES:
            return name
    return SSL.NO_OVERLAPPING_PROTOCOLS
